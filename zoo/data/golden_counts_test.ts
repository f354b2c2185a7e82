/** All readers on all samples: what each makes of them in one table, so that a change in any reader shows. */
import { assertEquals } from "@std/assert";
import type { Example } from "@medvlm/core";
import { datasets } from "./mod.ts";
import { goldenFolder, readAllExamples } from "./readers_testing.ts";

/** Reader, sample, and where its pictures are when not in the sample. */
type Sample = readonly [reader: string, folder: string, images?: string];

/** Examples per part and per task; boxes, masks and outlines of all findings; examples whose picture is there. */
interface Counts {
  readonly parts: Readonly<Record<string, number>>;
  readonly tasks: Readonly<Record<string, number>>;
  readonly places?: readonly [boxes: number, masks: number, outlines: number];
  readonly pictures: number;
  /** Records left out although missing pictures are kept; 0 where it does not stand. */
  readonly malformed?: number;
}

const table: readonly (readonly [Sample, Counts])[] = [
  [["chestx_det", "chestx_det"], {
    parts: { unknown: 40 },
    tasks: { "ground-box": 40 },
    places: [106, 0, 106],
    pictures: 0,
  }],
  [["coco", "pneumocystis"], {
    parts: { unknown: 5 },
    tasks: { "ground-mask": 5 },
    places: [6, 5, 0],
    pictures: 0,
  }],
  [["ct_rate", "ct_rate"], { parts: { train: 1 }, tasks: { report: 1 }, pictures: 0 }],
  [["indiana", "openi"], { parts: { unknown: 7 }, tasks: { report: 7 }, pictures: 0 }],
  [["iu_xray", "iu_xray_r2gen"], {
    parts: { train: 3, validate: 2, test: 2 },
    tasks: { report: 7 },
    pictures: 0,
  }],
  [["mask_pairs", "montgomery_lungs"], {
    parts: { unknown: 3 },
    tasks: { "ground-mask": 3 },
    places: [0, 3, 0],
    pictures: 3,
  }],
  [["mecovqa", "mecovqa", "sa_med2d_20m"], {
    parts: { unknown: 32 },
    tasks: { vqa: 6, "ground-mask": 13, "region-vqa": 13 },
    places: [0, 13, 0],
    pictures: 32,
  }],
  [["mimic_cxr", "mimic_cxr"], { parts: { unknown: 4 }, tasks: { report: 4 }, pictures: 0 }],
  [["ms_cxr", "ms_cxr"], {
    parts: { train: 2 },
    tasks: { "ground-box": 2 },
    places: [2, 0, 0],
    pictures: 0,
  }],
  [["nih14", "nih14"], { parts: { unknown: 8 }, tasks: { classify: 8 }, pictures: 0 }],
  [["nih14_boxes", "nih14"], {
    parts: { test: 880 },
    tasks: { "ground-box": 880 },
    places: [984, 0, 0],
    pictures: 6,
  }],
  [["nih14_boxes", "nih64_boxes", "nih14"], {
    parts: { test: 6 },
    tasks: { "ground-box": 6 },
    places: [6, 0, 0],
    pictures: 6,
  }],
  [["omnimedvqa", "omnimedvqa", "sa_med2d_20m"], {
    parts: { test: 6 },
    tasks: { vqa: 6 },
    pictures: 6,
  }],
  [["openi", "openi"], { parts: { unknown: 3 }, tasks: { report: 3 }, pictures: 0 }],
  [["path_vqa", "path_vqa"], { parts: { test: 60 }, tasks: { vqa: 60 }, pictures: 0 }],
  [["roco", "roco"], { parts: { unknown: 60 }, tasks: { caption: 60 }, pictures: 0 }],
  [["sa_med2d_20m", "sa_med2d_20m"], {
    parts: { unknown: 3 },
    tasks: { "ground-mask": 3 },
    places: [0, 22, 0],
    pictures: 3,
  }],
  [["sam_med2d", "sam_med2d"], {
    parts: { train: 3, test: 22 },
    tasks: { "ground-mask": 25 },
    places: [0, 44, 0],
    pictures: 0,
  }],
  [["slake", "slake"], { parts: { validate: 25, test: 46 }, tasks: { vqa: 71 }, pictures: 0 }],
  [["slake_objects", "slake_layout"], {
    parts: { unknown: 1 },
    tasks: { "ground-box": 1 },
    places: [15, 0, 0],
    pictures: 1,
  }],
  [["vindr_cxr", "vindr_cxr"], {
    parts: { train: 8 },
    tasks: { "ground-box": 4, classify: 4 },
    places: [8, 0, 0],
    pictures: 8,
  }],
  [["vqa_med", "vqa_med"], {
    parts: { train: 6, validate: 5, test: 125 },
    tasks: { vqa: 136 },
    pictures: 3,
  }],
  [["vqa_rad", "vqa_rad"], { parts: { train: 322, test: 137 }, tasks: { vqa: 459 }, pictures: 35 }],
];

/** Readers of whose datasets no sample may be passed on; their layouts are tested on files made up. */
const withoutSample = ["llava_med", "pmc_vqa", "report_lists", "total_segmentator"];

function tally(examples: readonly Example[], value: (example: Example) => string) {
  return Object.fromEntries(
    [...Map.groupBy(examples, value)].map(([key, members]) => [key, members.length]),
  );
}

async function countsOf([reader, folder, images]: Sample): Promise<Counts> {
  const where = images === undefined ? {} : { images: await goldenFolder(images) };
  const options = { ...where, missingImages: "keep" } as const;
  const { examples, problems } = await readAllExamples(reader, goldenFolder(folder), options);
  const there = await readAllExamples(reader, goldenFolder(folder), where);
  const findings = examples.flatMap(({ findings = [] }) => findings);
  const sum = (count: (finding: typeof findings[number]) => number) =>
    findings.reduce((total, finding) => total + count(finding), 0);
  const places = [
    sum(({ boxes }) => boxes.length),
    sum(({ masks = [], maskFiles = [] }) => masks.length + maskFiles.length),
    sum(({ polygons = [] }) => polygons.length),
  ] as const;
  return {
    parts: tally(examples, ({ split = "unknown" }) => split),
    tasks: tally(examples, ({ task }) => task),
    ...(findings.length === 0 ? {} : { places }),
    pictures: there.examples.length,
    ...(problems.length === 0 ? {} : { malformed: problems.length }),
  };
}

Deno.test("every reader has a sample or is known to have none", () => {
  const read = table.map(([[reader]]) => reader);
  assertEquals(Object.keys(datasets), [...new Set([...read, ...withoutSample])].sort());
});

for (const [sample, counts] of table) {
  Deno.test(`${sample[0]} on ${sample[1]}`, async () => {
    assertEquals(await countsOf(sample), counts);
  });
}
