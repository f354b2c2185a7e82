/**
 * Radiology reports about chest phantoms: worded in many ways, true in each, with the phrases that speak of findings.
 *
 * @module
 */
import type { ChestInstance, ChestPhantom } from "./chest.ts";
import type { ChestLabel } from "./chest_findings.ts";
import type { Random } from "./random.ts";
import {
  capital,
  type GroundedText,
  joinTexts,
  listed,
  numberWord,
  sentence,
  withArticle,
} from "./wording.ts";

/** A report with findings and impression. */
export interface ChestReport {
  readonly findings: GroundedText<ChestInstance>;
  readonly impression: GroundedText<ChestInstance>;
}

type Text = GroundedText<ChestInstance>;

/** How a finding is called within a sentence. */
export const findingNames: Readonly<Record<ChestLabel, string>> = {
  "Cardiomegaly": "cardiomegaly",
  "Aortic enlargement": "aortic enlargement",
  "Pleural effusion": "pleural effusion",
  "Pneumothorax": "pneumothorax",
  "Consolidation": "consolidation",
  "Nodule/Mass": "nodule",
  "Atelectasis": "atelectasis",
};

/** How far a finding goes, in the words of its kind: sizes for most, degrees for heart and aorta. */
export function severityWord({ label, severity }: ChestInstance): string {
  if (label !== "Cardiomegaly" && label !== "Aortic enlargement") return severity;
  return { small: "mild", moderate: "moderate", large: "marked" }[severity];
}

/** The findings of a kind. */
export function ofLabel(
  { findings }: Pick<ChestPhantom, "findings">,
  label: ChestLabel,
): ChestInstance[] {
  return findings.filter((finding) => finding.label === label);
}

/** Where a finding lies, as in `left upper zone`. */
export function zoneName({ side, zone }: ChestInstance): string {
  return `${side} ${zone} zone`;
}

function heartText(phantom: ChestPhantom, random: Random): Text {
  const [heart] = ofLabel(phantom, "Cardiomegaly");
  if (heart === undefined) {
    return sentence(random.pick([
      "the heart is normal in size.",
      "the cardiac silhouette is within normal limits.",
      "heart size is normal.",
      "there is no cardiomegaly.",
    ]));
  }
  const word = severityWord(heart), targets = [heart];
  return random.pick([
    () => sentence({ text: `the heart is ${word}ly enlarged`, targets }, "."),
    () => sentence("there is ", { text: `${word} cardiomegaly`, targets }, "."),
    () => sentence({ text: `${word} enlargement of the cardiac silhouette`, targets }, "."),
  ])();
}

function aortaText(phantom: ChestPhantom, random: Random): Text {
  const [aorta] = ofLabel(phantom, "Aortic enlargement");
  if (aorta === undefined) {
    return sentence(random.pick([
      "the aortic contour is normal.",
      "no aortic enlargement.",
      "the aorta is not widened.",
    ]));
  }
  const word = severityWord(aorta), targets = [aorta];
  return random.pick([
    () => sentence("there is ", { text: `${word} aortic enlargement`, targets }, "."),
    () => sentence({ text: `the aortic knob is ${word}ly enlarged`, targets }, "."),
  ])();
}

/** One sentence per side, or one for both where they are alike. */
function bySide(
  instances: readonly ChestInstance[],
  one: (instance: ChestInstance) => Text,
  both: (instances: readonly ChestInstance[]) => Text,
): Text[] {
  const [first, second] = instances;
  const alike = instances.length === 2 && first.severity === second.severity;
  return alike ? [both(instances)] : instances.map(one);
}

function effusionTexts(phantom: ChestPhantom, random: Random): Text[] {
  return bySide(
    ofLabel(phantom, "Pleural effusion"),
    (finding) => {
      const { side, severity } = finding, targets = [finding];
      return random.pick([
        () =>
          sentence("there is a ", { text: `${severity} ${side} pleural effusion`, targets }, "."),
        () => sentence({ text: `${severity} ${side}-sided pleural effusion`, targets }, "."),
        () =>
          sentence({ text: `a ${severity} pleural effusion`, targets }, ` is seen on the ${side}.`),
      ])();
    },
    (targets) =>
      sentence(random.pick(["there are ", "presence of "]), {
        text: `${targets[0].severity} bilateral pleural effusions`,
        targets,
      }, "."),
  );
}

function pneumothoraxTexts(phantom: ChestPhantom, random: Random): Text[] {
  return ofLabel(phantom, "Pneumothorax").map((finding) => {
    const { side, severity } = finding, targets = [finding];
    return random.pick([
      () => sentence("there is a ", { text: `${severity} ${side} pneumothorax`, targets }, "."),
      () =>
        sentence(
          { text: `${severity} ${side}-sided pneumothorax`, targets },
          " with a visible pleural line.",
        ),
    ])();
  });
}

function consolidationTexts(phantom: ChestPhantom, random: Random): Text[] {
  return ofLabel(phantom, "Consolidation").map((finding) => {
    const { severity } = finding, at = zoneName(finding), targets = [finding];
    return random.pick([
      () =>
        sentence(
          { text: `${withArticle(severity)} area of consolidation`, targets },
          ` is present in the ${at}.`,
        ),
      () => sentence("there is ", { text: `${severity} consolidation in the ${at}`, targets }, "."),
      () =>
        sentence({ text: `${severity} airspace consolidation`, targets }, ` involves the ${at}.`),
    ])();
  });
}

function atelectasisTexts(phantom: ChestPhantom, random: Random): Text[] {
  return ofLabel(phantom, "Atelectasis").map((finding) => {
    const { severity } = finding, at = zoneName(finding), targets = [finding];
    return random.pick([
      () => sentence({ text: `${severity} band of atelectasis`, targets }, ` in the ${at}.`),
      () =>
        sentence(
          "there is ",
          { text: `${severity} plate-like atelectasis`, targets },
          ` in the ${at}.`,
        ),
    ])();
  });
}

function noduleTexts(phantom: ChestPhantom, random: Random): Text[] {
  const nodules = ofLabel(phantom, "Nodule/Mass");
  if (nodules.length === 0) return [];
  if (nodules.length === 1) {
    const { severity } = nodules[0], at = zoneName(nodules[0]);
    return [
      random.pick([
        () =>
          sentence("there is ", {
            text: `${withArticle(severity)} nodule in the ${at}`,
            targets: nodules,
          }, "."),
        () =>
          sentence(
            { text: `${withArticle(severity)} pulmonary nodule`, targets: nodules },
            ` projects over the ${at}.`,
          ),
      ])(),
    ];
  }
  const total = numberWord(nodules.length);
  const zones = [...Map.groupBy(nodules, zoneName)].map(([at, members]) => ({
    text: `${numberWord(members.length)} in the ${at}`,
    targets: members,
  }));
  const rows = zones.flatMap((zone, index) => [
    index === 0 ? "" : index === zones.length - 1 ? " and " : ", ",
    zone,
  ]);
  return [
    sentence(
      random.pick(["there are ", ""]),
      {
        text: random.pick([`${total} nodules`, `${total} pulmonary nodules`]),
        targets: nodules,
      },
      random.pick([": ", ", "]),
      ...rows,
      ".",
    ),
  ];
}

/** One sentence about kinds that are absent; which of them it names is left to chance. */
function absentText(
  phantom: ChestPhantom,
  random: Random,
  labels: readonly ChestLabel[],
): Text[] {
  const absent = labels.filter((label) => ofLabel(phantom, label).length === 0);
  const named = random.shuffled(absent.map((label) => findingNames[label]));
  if (named.length === 0) return [];
  const names = listed(named.slice(0, random.whole(1, named.length)), "or");
  return [
    sentence(random.pick([`no ${names}.`, `there is no ${names}.`, `no evidence of ${names}.`])),
  ];
}

function impressionOf(phantom: ChestPhantom, random: Random): Text {
  if (phantom.findings.length === 0) {
    return sentence(random.pick([
      "no acute cardiopulmonary abnormality.",
      "normal chest radiograph.",
      "no abnormality of heart, lungs or pleura.",
    ]));
  }
  const groups = Map.groupBy(
    phantom.findings,
    ({ label, side }) => label === "Nodule/Mass" ? label : `${label} ${side ?? ""}`,
  );
  const items = [...groups.values()].map((targets): Text => {
    const [first] = targets, name = findingNames[first.label];
    if (targets.length > 1) {
      return sentence({ text: `${numberWord(targets.length)} ${name}s`, targets }, ".");
    }
    const words = first.side === undefined
      ? `${severityWord(first)} ${name}`
      : first.label === "Pleural effusion" || first.label === "Pneumothorax"
      ? `${first.severity} ${first.side} ${name}`
      : `${first.severity} ${name} in the ${zoneName(first)}`;
    return sentence({ text: words, targets }, ".");
  });
  if (items.length === 1 || random.chance(0.4)) return joinTexts(items, " ");
  return joinTexts(
    items.map(({ text, phrases }, index) =>
      joinTexts([{ text: `${index + 1}.`, phrases: [] }, { text, phrases }], " ")
    ),
    " ",
  );
}

/** Writes a report. Every finding is named; what is said to be absent is absent. */
export function chestReport(phantom: ChestPhantom, random: Random): ChestReport {
  const lungs = [
    ...consolidationTexts(phantom, random),
    ...atelectasisTexts(phantom, random),
    ...noduleTexts(phantom, random),
  ];
  const pleura = [...effusionTexts(phantom, random), ...pneumothoraxTexts(phantom, random)];
  const middle = [heartText(phantom, random), aortaText(phantom, random)];
  if (lungs.length === 0) {
    lungs.push(sentence(random.pick([
      "no focal lesion of the lungs.",
      "no focal opacity is seen in the lungs.",
      ...(pleura.length === 0 ? ["the lungs are clear."] : []),
    ])));
  } else {
    lungs.push(...absentText(phantom, random, ["Consolidation", "Atelectasis", "Nodule/Mass"]));
  }
  pleura.push(...absentText(phantom, random, ["Pleural effusion", "Pneumothorax"]));
  const order = random.chance(0.5) ? [middle, lungs, pleura] : [lungs, pleura, middle];
  return {
    findings: joinTexts(order.flat(), " "),
    impression: impressionOf(phantom, random),
  };
}

/** Findings and impression in one text, with headings. */
export function wholeReport({ findings, impression }: ChestReport): GroundedText<ChestInstance> {
  const headed = (name: string, { text, phrases }: Text) =>
    joinTexts([{ text: `${capital(name)}:`, phrases: [] }, { text, phrases }], " ");
  return joinTexts([headed("findings", findings), headed("impression", impression)], "\n");
}
