/**
 * Reference cases of boxes, masks and detections.
 *
 * @module
 */
import {
  areaHausdorffDistance,
  areaSurfaceDice,
  areaWeightedDistance,
  averageSurfaceDistance,
  averageSymmetricSurfaceDistance,
  backgroundForeground,
  boxToPixels,
  centreSize,
  classMean,
  cleanBoxAnswer,
  cornersOf,
  detectionMeansMonai,
  detectionMetric,
  type DetectionScores,
  diceInclusive,
  giouMonai,
  giouTerms,
  hausdorffDistance,
  iouInclusive,
  iouMonai,
  maskCounts,
  maskDice,
  maskDiceMedplib,
  maskIou,
  maskIouMedplib,
  normalisedSurfaceDistance,
  pairwise,
  parseBoxAnswer,
  roundBox,
  surfaceDistances,
  surfaceElements,
  weightedClassMean,
} from "../../core/eval/mod.ts";
import { CaseTensors } from "./case_files.ts";
import {
  type CompareGroup,
  compareNumbers,
  isError,
  type JsonNumber,
  numberOf,
} from "./metrics_values.ts";

const pairs: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, pred, gt, expected } of cases) {
    compareNumbers(
      report,
      id,
      {
        "iou_plus1": iouInclusive(pred, gt),
        "dice_plus1": diceInclusive(pred, gt),
        "iou_plus1_litegpt": iouInclusive(pred, gt),
      },
      expected,
      tolerance,
    );
  }
};

const answers: CompareGroup = (cases, report, { tolerance }) => {
  for (const { answer, width, height, expected } of cases) {
    const name = `${answer} ${width}x${height}`;
    const box = parseBoxAnswer(answer);
    report.exact(name, [cleanBoxAnswer(answer), box !== undefined], [
      expected.cleaned,
      expected.valid,
    ]);
    const pixels = box === undefined ? null : boxToPixels(box, width, height);
    report.close(`${name} pixels`, pixels ?? [], expected.pixels_unrounded ?? [], tolerance);
    report.exact(
      `${name} rounded`,
      pixels === null ? null : roundBox(pixels),
      expected.pixels_rounded,
    );
  }
};

const aggregates: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, per_class: perClass, count, expected } of cases) {
    compareNumbers(
      report,
      id,
      {
        mean: classMean(perClass),
        weighted: weightedClassMean(perClass, count),
      },
      expected,
      tolerance,
    );
  }
};

function rows(values: ArrayLike<number>, width: number): number[][] {
  return Array.from(
    { length: values.length / width },
    (_, i) => Array.from({ length: width }, (_, j) => values[i * width + j]),
  );
}

const giouCases: CompareGroup = async (cases, report, { dir, stem, tolerance }) => {
  using tensors = await CaseTensors.open(`${dir}/${stem}.safetensors`);
  const names = tensors.names();
  for (const { id, spatial_dims: dims } of cases) {
    const [a, b] = [
      rows(await tensors.floats(`${id}.a`), 2 * dims),
      rows(await tensors.floats(`${id}.b`), 2 * dims),
    ];
    const centred = a.map(centreSize);
    const actual: Record<string, number[]> = {
      "pair_giou": a.map((box, i) => giouMonai(box, b[i])),
      "giou_matrix": pairwise(giouMonai, a, b).flat(),
      "iou_matrix": pairwise(iouMonai, a, b).flat(),
      "a_center_size": centred.flat(),
      "a_round_trip": centred.flatMap(cornersOf),
    };
    for (const name of names.filter((one) => one.startsWith(`${id}.`))) {
      const kind = name.slice(id.length + 1);
      if (kind === "a" || kind === "b") continue;
      // The tensor of the round trip has a longer name that may change.
      const values = actual[kind] ?? (/round|back|corner/.test(kind) ? actual.a_round_trip : []);
      report.close(name, values, await tensors.floats(name), tolerance);
    }
  }
};

/** The spacing that the reference uses for 2D and 3D masks, in the order of the axes. */
const anisotropic: Readonly<Record<number, readonly number[]>> = { 2: [1, 0.7], 3: [3, 1, 0.8] };

const segmentation: CompareGroup = async (cases, report, { dir, stem, tolerance }) => {
  using tensors = await CaseTensors.open(`${dir}/${stem}.safetensors`);
  // Distances up to a hundred voxels are float32: the tolerance is relative as well.
  const both = { atol: tolerance.atol, rtol: tolerance.atol };
  for (const { id, shape, expected } of cases) {
    const prediction = { shape, data: (await tensors.get(`${id}.pred`)).values };
    const truth = { shape, data: (await tensors.get(`${id}.gt`)).values };
    const counts = maskCounts(prediction.data, truth.data);
    const classes = backgroundForeground(counts);
    const actual: Record<string, number | number[]> = {
      "dice_monai_ignore_empty": maskDice(counts),
      "dice_monai_keep_empty": maskDice(counts, "compare"),
      "iou_monai_ignore_empty": maskIou(counts),
      "iou_medplib": maskIouMedplib(counts),
      "dice_medplib": maskDiceMedplib(counts),
      "intersection_bg_fg": classes.intersection,
      "union_bg_fg": classes.union,
      "giou_term_bg_fg": giouTerms(counts),
    };
    for (
      const [name, spacing] of [["unit", undefined], ["aniso", anisotropic[shape.length]]] as const
    ) {
      const distances = surfaceDistances(prediction, truth, spacing);
      actual[`asd_${name}`] = averageSurfaceDistance(distances);
      actual[`assd_${name}`] = averageSymmetricSurfaceDistance(distances);
      actual[`hd_${name}`] = hausdorffDistance(distances);
      actual[`hd95_${name}`] = hausdorffDistance(distances, 95);
      actual[`nsd_tol1_${name}`] = normalisedSurfaceDistance(distances, 1);
    }
    if (shape.length === 3) {
      const elements = surfaceElements(prediction, truth, [1, 1, 3]);
      actual["nsd_sat"] = areaSurfaceDice(elements, 1);
      actual["dice_sat"] = maskDice(counts, "compare");
      actual["hd95_deepmind_spacing_1_1_3"] = areaHausdorffDistance(elements);
      actual["avg_surface_distance_deepmind_1_1_3"] = [
        areaWeightedDistance(elements.truth),
        areaWeightedDistance(elements.prediction),
      ];
    }
    for (const [name, value] of Object.entries(expected)) {
      // Where the published function fails, the sample scores 0.
      const wanted = isError(value) ? [0] : [value].flat() as JsonNumber[];
      report.close(`${id} ${name}`, [actual[name]].flat(), wanted.map(numberOf), both);
    }
  }
};

const scoreKey = /^(?:(\d+)_)?(mAP|AP|mAR|AR)_IoU_([\d.]+)(?:_([\d.]+)_([\d.]+))?_MaxDet_(\d+)$/;

const detections: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, images, num_classes: count, expected } of cases) {
    const keys = Object.keys(expected).map((key) => ({ key, parts: scoreKey.exec(key)! }));
    const of = (kind: string, part: number) =>
      [
        ...new Set(
          keys.filter(({ parts }) => parts[2] === kind).map(({ parts }) => Number(parts[part])),
        ),
      ]
        .sort((a, b) => a - b);
    const [start, end, step] = [3, 4, 5].map((part) => of("mAP", part)[0]);
    const steps = Math.round((end - start) / step);
    const single = of("AP", 3), maxDetections = of("mAR", 6);
    const metric = detectionMetric({
      range: Array.from({ length: steps + 1 }, (_, i) => start + i * (end - start) / steps),
      single,
      maxDetections,
      labels: Array.from({ length: count }, (_, i) => String(i)),
    });
    for (const image of images) {
      metric.add({
        predictions: image.pred_boxes.map((box: number[], i: number) => ({
          box,
          label: String(image.pred_classes[i]),
          score: image.pred_scores[i],
        })),
        truths: image.gt_boxes.map((box: number[], i: number) => ({
          box,
          label: String(image.gt_classes[i]),
        })),
      });
    }
    const result = metric.result(), totals = detectionMeansMonai(result);
    const actual = keys.map(({ parts: [, label, kind, threshold, , , limit] }) => {
      const scores: DetectionScores = label === undefined ? totals : result.classes[label];
      const value = {
        mAP: scores.ap,
        AP: scores.apAt[single.indexOf(Number(threshold))],
        mAR: scores.arMonai[maxDetections.indexOf(Number(limit))],
        AR: scores.arAt[single.indexOf(Number(threshold))],
      }[kind]!;
      // MONAI marks classes without ground truth with -1.
      return Number.isNaN(value) ? -1 : value;
    });
    report.close(
      id,
      actual,
      keys.map(({ key }) => numberOf(expected[key])),
      tolerance,
    );
  }
};

/** Groups of boxes, masks and detections, by file and list. */
export const boxGroups: Readonly<Record<string, CompareGroup>> = {
  "boxes_iou_dice/cases": pairs,
  "boxes_iou_dice/parse_cases": answers,
  "boxes_iou_dice/aggregate_cases": aggregates,
  "giou_monai/cases": giouCases,
  "segmentation/cases": segmentation,
  "detection_map/cases": detections,
};
