/**
 * Held-out figures of a small MedPLIB, by greedy generation as a user would get them, beside trivial baselines.
 *
 * @module
 */
import type { GroundedAnswer, Mask, Request } from "@medvlm/core";
import { maskCounts, maskDice } from "@medvlm/core/eval";
import { type MedplibModel, regionGrid, regionMask } from "@medvlm/medplib/parts";
import {
  chestExamples,
  type ChestPhantom,
  chestPhantom,
  type Example,
  splitIndex,
} from "../phantoms/mod.ts";
import { union } from "../phantoms/thing_examples.ts";
import { type Figure, figure, majority, plain } from "./figures.ts";
import type { PhantomSource } from "./pool.ts";

/** What was measured. */
export interface MedplibReport {
  /** Share of right answers: closed, open and region questions. */
  readonly accuracy: Readonly<Record<string, Figure>>;
  /** Dice of masks, over all and by what is segmented. */
  readonly dice: Readonly<Record<string, Figure>>;
  /** Share of answers that are of the expected form: yes or no, a known name, a mask. */
  readonly parsed: number;
  /** Questions about regions so small that no cell of the vision tower's grid lies in them: they were not asked. */
  readonly unseen: number;
}

/** Answers of one kind. */
interface Tally {
  readonly right: number[];
  readonly truths: string[];
}

/** Masks of one thing. */
interface Masks {
  readonly dice: number[];
  readonly truths: Mask[];
}

function slot<T>(map: Map<string, T>, key: string, make: () => T): T {
  let found = map.get(key);
  if (found === undefined) map.set(key, found = make());
  return found;
}

async function answerOf(
  model: MedplibModel,
  phantom: ChestPhantom,
  { prompt, regions = [], task }: Example,
): Promise<GroundedAnswer> {
  const request: Request = {
    image: phantom.image,
    prompt,
    task: task === "ground-instances" ? "ground-mask" : task,
    regions: regions.flatMap((region) => region.kind === "mask-file" ? [] : [region]),
  };
  for await (const event of model.answer(request, { maxNewTokens: 24 })) {
    if (event.type === "done") return event.answer;
  }
  throw new TypeError("The model ended without an answer");
}

/** Mean Dice of the mask that is most of the time right, pixel by pixel. */
function meanMaskDice(truths: readonly Mask[]): number {
  const sums = new Float64Array(truths[0]!.data.length);
  for (const { data } of truths) data.forEach((value, i) => sums[i]! += value);
  // The threshold that fits these masks best: the baseline is allowed to know them.
  const dices = [0.1, 0.2, 0.3, 0.4, 0.5].map((share) => {
    const mask = Uint8Array.from(sums, (sum) => sum > share * truths.length ? 1 : 0);
    return truths.reduce((sum, { data }) => sum + maskDice(maskCounts(mask, data)), 0) /
      truths.length;
  });
  return Math.max(...dices);
}

/**
 * Asks everything about held-out phantoms: closed, open and region questions, and masks of structures and findings.
 *
 * @param source Its part should be `test`.
 * @param progress Called after every picture.
 */
export async function measureMedplib(
  model: MedplibModel,
  source: PhantomSource,
  progress?: (done: number, total: number) => void,
): Promise<MedplibReport> {
  const tallies = new Map<string, Tally>(), masks = new Map<string, Masks>();
  const names = new Set<string>();
  const { imageSize, patchSize } = model.config.clip;
  const isSeen = (example: Example, { image: { width, height } }: ChestPhantom) =>
    (example.regions ?? []).every((region) =>
      region.kind === "mask-file" ||
      regionGrid(regionMask(region, width, height), imageSize, patchSize).data.includes(1)
    );
  let parsed = 0, asked = 0, unseen = 0;
  for (let n = 0; n < source.count; n++) {
    const { size, seed, split = "test" } = source;
    const phantom = chestPhantom({ size, seed, index: splitIndex(split, n) });
    for (const example of chestExamples(phantom)) {
      const { task, answerType, findings = [] } = example;
      const kind = task === "vqa" ? answerType : task === "region-vqa" ? "region" : undefined;
      if (!isSeen(example, phantom)) {
        unseen++;
        continue;
      }
      if (kind !== undefined) {
        const { text } = await answerOf(model, phantom, example);
        const tally = slot(tallies, kind, () => ({ right: [], truths: [] }));
        tally.right.push(plain(text) === plain(example.answer) ? 1 : 0);
        tally.truths.push(example.answer);
        names.add(plain(example.answer));
        asked++;
        if (kind === "closed" ? /^(yes|no)$/.test(plain(text)) : plain(text) !== "") parsed++;
      } else if (task === "ground-mask" || task === "ground-instances") {
        const truth = union(findings.flatMap((finding) => [...finding.masks ?? []]));
        const { phrases } = await answerOf(model, phantom, example);
        const mask = phrases[0]?.masks[0];
        asked++;
        if (mask !== undefined) parsed++;
        const dice = mask === undefined ? 0 : maskDice(maskCounts(mask.data, truth.data));
        const own = slot(masks, findings[0]!.label, () => ({ dice: [], truths: [] }));
        own.dice.push(dice);
        own.truths.push(truth);
      }
    }
    progress?.(n + 1, source.count);
  }
  const { seed } = source;
  const byThing = [...masks].map(([name, { dice, truths }]) =>
    [name, figure(dice, meanMaskDice(truths), seed)] as const
  );
  const all = [...masks.values()].flatMap(({ dice }) => dice);
  const baseline = byThing.reduce((sum, [, { n, baseline }]) => sum + n * baseline, 0) /
    Math.max(1, all.length);
  return {
    accuracy: Object.fromEntries(
      [...tallies].map(([kind, { right, truths }]) => [
        kind,
        figure(right, majority(truths), seed),
      ]),
    ),
    dice: { all: figure(all, baseline, seed), ...Object.fromEntries(byThing) },
    parsed: parsed / Math.max(1, asked),
    unseen,
  };
}
