/** Numbers that papers print, from predictions that have the printed values per class. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { roundHalfEven } from "@medvlm/core/eval";
import { boxesInText } from "./text_boxes.ts";
import { type Line, scoresOf, valuesOf } from "./scoring_testing.ts";

const classes = ["Pna", "Ptx", "Cons", "Atel", "Edema", "Cardio", "Opac", "Eff"];
/** Examples of MS-CXR per class. */
const counts = [182, 245, 117, 61, 46, 333, 82, 96];

/** As many predictions per class as there are examples, each with the class's mean overlap. */
function grounding(overlaps: readonly (number | undefined)[]): Line[] {
  return overlaps.flatMap((overlap, index) =>
    Array.from({ length: counts[index] }, (_, number): Line => ({
      id: `${classes[index]}${number}`,
      task: "ground-box",
      // A part of the right box, as wide as the overlap says.
      boxes: overlap === undefined ? [] : [[0, 0, 1000 * overlap, 1000]],
      reference: { boxes: [{ label: classes[index], box: [0, 0, 1000, 1000] }] },
    }))
  );
}

Deno.test("PFMVG's tables 1 to 3: mean and weighted mean of the classes", async () => {
  const rows: [values: (number | undefined)[], mean: number, weighted?: number][] = [
    [[.425, .106, .386, .388, .294, .33, .325, .368], .328, .308],
    [[.297, .091, .265, .323, .327, .395, .197, .216], .264, .267],
    [[.328, .137, .297, .275, .213, .406, .188, .224], .259, .281],
    [[.29, .116, .304, .303, .201, .408, .197, .33], .269, .282],
    // The weights of its own rows are those of a division that is not published.
    [[.446, .303, .343, .395, .286, .592, .28, .374], .377],
    [[.049, undefined, undefined, undefined, undefined, 0, undefined, 0], .006],
  ];
  for (const [values, mean, weighted] of rows) {
    const { metrics, groups } = await scoresOf(grounding(values), { resamples: 1 });
    assertEquals(roundHalfEven(metrics.class_mean_box_iou.value, 3), mean);
    if (weighted !== undefined) assertEquals(roundHalfEven(metrics.box_iou.value, 3), weighted);
    for (const [index, name] of classes.entries()) {
      assertEquals(roundHalfEven(groups.class![name].box_iou.value, 3), values[index] ?? 0);
    }
    const answered = values.reduce<number>(
      (sum, value, index) => sum + (value ? counts[index] : 0),
      0,
    );
    assertEquals(roundHalfEven(metrics.box_answered.value * 1162), answered);
  }
});

Deno.test("PFMVG's table 2: Dice", async () => {
  const rows: [values: number[], mean: number, weighted: number | undefined][] = [
    [[.576, .163, .538, .538, .433, .485, .468, .525], .466, .44],
    [[.443, .151, .401, .476, .476, .559, .307, .344], .395, .396],
    [[.472, .217, .433, .405, .326, .56, .294, .352], .382, .408],
    [[.584, .43, .489, .543, .401, .736, .405, .519], .513, undefined],
  ];
  for (const [values, mean, weighted] of rows) {
    const overlaps = values.map((dice) => dice / (2 - dice));
    const { metrics } = await scoresOf(grounding(overlaps), { resamples: 1 });
    assertEquals(roundHalfEven(metrics.class_mean_box_dice.value, 3), mean);
    if (weighted !== undefined) assertEquals(roundHalfEven(metrics.box_dice.value, 3), weighted);
  }
});

Deno.test("PFMVG's figure 2: the answers are the printed boxes", async () => {
  const figures: [answer: string, width: number, height: number, box: number[]][] = [
    ["{<56><12><82><31>}", 2544, 3056, [1425, 367, 2086, 947]],
    ["{<22><12><46><24>}", 2754, 2538, [606, 305, 1267, 609]],
  ];
  for (const [answer, width, height, box] of figures) {
    const found = boxesInText(answer, width, height);
    assertEquals(found.map((one) => one.box.map((side) => roundHalfEven(side))), [box]);
    const line = { id: "a", task: "ground-box", answer, width, height };
    const { metrics } = await scoresOf([{ ...line, reference: { boxes: [box] } }]);
    assert(metrics.box_iou.value > 0.99);
  }
});

/** Global diagnoses and local findings of the test images, with how many have them. */
const supports: Readonly<Record<string, number>> = {
  "Aortic enlargement": 220,
  "Atelectasis": 86,
  "Calcification": 194,
  "Cardiomegaly": 309,
  "Clavicle fracture": 2,
  "Consolidation": 96,
  "Emphysema": 3,
  "Enlarged PA": 8,
  "ILD": 221,
  "Infiltration": 58,
  "Lung Opacity": 84,
  "Lung cavity": 9,
  "Lung cyst": 2,
  "Mediastinal shift": 20,
  "Nodule/Mass": 176,
  "Pleural effusion": 111,
  "Pleural thickening": 169,
  "Pneumothorax": 18,
  "Pulmonary fibrosis": 217,
  "Rib fracture": 11,
  "Other lesion": 94,
  "COPD": 2,
  "Lung tumor": 80,
  "Pneumonia": 246,
  "Tuberculosis": 164,
  "Other disease": 657,
  "No finding": 2051,
};
/** A system of LiteGPT: precision and recall of the labels that are not both 0, and what other tables print. */
const systems = [
  {
    // Tables 8 and 11.
    rows: {
      "Aortic enlargement": [0.35, 0.74],
      "Calcification": [0.5, 0.01],
      "Cardiomegaly": [0.56, 0.66],
      "Infiltration": [0.33, 0.02],
      "Lung Opacity": [0.12, 0.07],
      "Nodule/Mass": [0.31, 0.02],
      "Pleural effusion": [0.24, 0.57],
      "Pleural thickening": [0.28, 0.58],
      "Pulmonary fibrosis": [0.46, 0.29],
      "COPD": [0.33, 0.5],
      "Lung tumor": [0.23, 0.15],
      "Pneumonia": [0.56, 0.4],
      "Tuberculosis": [0.63, 0.18],
      "Other disease": [0.58, 0.59],
      "No finding": [0.83, 0.95],
    },
    micro: [0.76, 0.77, 0.76],
    macro: [0.53, 0.46, 0.47],
    weighted: [0.74, 0.77, 0.74],
    local: [0.36, 0.29, 0.32],
    finding: [0.84, 0.59, 0.7],
    all: 60,
  },
  {
    // Tables 9 and 12.
    rows: {
      "Aortic enlargement": [0.31, 0.59],
      "Atelectasis": [0.09, 0.01],
      "Cardiomegaly": [0.56, 0.58],
      "Consolidation": [0.17, 0.02],
      "ILD": [0.5, 0.02],
      "Infiltration": [0.67, 0.03],
      "Lung Opacity": [0.1, 0.04],
      "Pleural effusion": [0.23, 0.68],
      "Pleural thickening": [0.19, 0.51],
      "Pulmonary fibrosis": [0.38, 0.4],
      "Lung tumor": [0.35, 0.24],
      "Pneumonia": [0.59, 0.34],
      "Tuberculosis": [0.51, 0.23],
      "Other disease": [0.62, 0.54],
      "No finding": [0.82, 0.97],
    },
    micro: [0.76, 0.77, 0.77],
    macro: [0.48, 0.39, 0.42],
    weighted: [0.73, 0.77, 0.74],
    local: [0.31, 0.27, 0.29],
    finding: [0.88, 0.54, 0.67],
    all: 59,
  },
  {
    // Tables 10 and 13.
    rows: {
      "Aortic enlargement": [0.34, 0.39],
      "Atelectasis": [0.33, 0.01],
      "Cardiomegaly": [0.49, 0.52],
      "Lung Opacity": [0.04, 0.01],
      "Pleural effusion": [0.32, 0.12],
      "Pleural thickening": [0.2, 0.57],
      "Pulmonary fibrosis": [0.22, 0.16],
      "Other lesion": [0.36, 0.09],
      "Pneumonia": [0.37, 0.27],
      "Tuberculosis": [0.34, 0.2],
      "Other disease": [0.52, 0.51],
      "No finding": [0.8, 0.92],
    },
    micro: [0.7, 0.72, 0.71],
    macro: [0.34, 0.32, 0.32],
    weighted: [0.66, 0.72, 0.69],
    local: [0.3, 0.19, 0.23],
    finding: [0.73, 0.49, 0.59],
    all: 55,
  },
] as const;

/**
 * Images whose labels have the printed precision and recall. Which labels share an image is not printed, so averages over
 * images are not comparable.
 */
function labelled(
  rows: Readonly<Record<string, readonly [precision: number, recall: number]>>,
  names: readonly string[],
): Line[] {
  const images = 3000;
  const truth = Array.from({ length: images }, (): string[] => []);
  const given = Array.from({ length: images }, (): string[] => []);
  for (const name of names) {
    const support = supports[name];
    const [precision, recall] = rows[name] ?? [0, 0];
    const right = Math.round(recall * support);
    const wrong = right === 0 ? 0 : Math.round(right / precision) - right;
    for (let i = 0; i < support; i++) truth[i].push(name);
    for (let i = 0; i < right; i++) given[i].push(name);
    for (let i = 0; i < wrong; i++) given[images - 1 - i].push(name);
  }
  return truth.map((labels, id) => ({
    id: `${id}`,
    task: "classify",
    labels: given[id],
    reference: { labels },
  }));
}

Deno.test("LiteGPT's tables 1, 2 and 8 to 13: averages, finding or none, F1 over all labels", async () => {
  const names = Object.keys(supports), isGlobal = names.indexOf("COPD");
  const near = (values: Record<string, number>, suffix: string, printed: readonly number[]) => {
    for (const [index, name] of ["precision", "recall", "f1"].entries()) {
      // Rows are rounded to two decimals, and so are averages.
      assertAlmostEquals(values[`${name}${suffix}`], printed[index], 0.0151, `${name}${suffix}`);
    }
  };
  for (const { rows, micro, macro, weighted, local, finding, all } of systems) {
    const of = (labels: readonly string[]) => scoresOf(labelled(rows, labels), { resamples: 1 });
    const { metrics, groups } = await of(names.slice(isGlobal));
    const values = valuesOf(metrics);
    near(values, "_micro", micro);
    near(values, "_macro", macro);
    near(values, "_weighted", weighted);
    near(valuesOf(groups.class!.Finding), "", finding);
    near(valuesOf((await of(names.slice(0, isGlobal))).metrics), "_micro", local);
    assertEquals(Math.round(100 * (await of(names)).metrics.f1_micro.value), all);
  }
});

Deno.test("LiteGPT's table 3: accuracy of boxes in texts at three overlaps", async () => {
  const text = (width: number) => `Local diseases are <p>Edema</p> {<0><0><${width - 1}><9>}.`;
  // Of 5000 boxes so many have an overlap above the threshold, counted in pixels that are inclusive.
  const found: [overlap: number, count: number][] = [[55, 406], [45, 525 - 406], [35, 627 - 525]];
  const widths = found.flatMap(([overlap, count]) => new Array<number>(count).fill(overlap));
  const lines = Array.from({ length: 5000 }, (_, id): Line => ({
    id: `${id}`,
    task: "ground-box",
    answer: text(widths[id] ?? 20),
    reference: { answer: text(100) },
  }));
  const values = valuesOf((await scoresOf(lines, { resamples: 1 })).metrics);
  assertEquals(
    [0.3, 0.4, 0.5].map((threshold) =>
      roundHalfEven(100 * values[`accuracy@${threshold}_litegpt`], 2)
    ),
    [12.54, 10.5, 8.12],
  );
});
