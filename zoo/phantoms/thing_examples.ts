/**
 * Questions about regions and requests for masks, the same for radiographs and slices of CT.
 *
 * @module
 */
import type { Box, Example, Finding, Mask, Region } from "@medvlm/core";
import { maskBox } from "./field.ts";
import type { Random } from "./random.ts";
import { capital } from "./wording.ts";

/** A structure or finding that a picture shows. */
export interface Thing {
  /** As one says it, such as `right lung` or `pleural effusion`. */
  readonly name: string;
  /** Name of its class. */
  readonly label: string;
  /** Its pixels. */
  readonly mask: Mask;
  /** Tight box of the mask. */
  readonly box: Box;
}

/** A thing with its box; none when the mask is empty. */
export function thingOf(name: string, label: string, mask: Mask): Thing[] {
  const box = maskBox(mask);
  return box === undefined ? [] : [{ name, label, mask, box }];
}

/** Pixels of any of the masks, which are of one size and at least one. */
export function union(masks: readonly Mask[]): Mask {
  const [first, ...others] = masks;
  const data = first.data.slice();
  for (const { data: other } of others) {
    for (let i = 0; i < data.length; i++) data[i] |= other[i];
  }
  return { ...first, data };
}

/** What the examples of one picture share. */
export type Common = Pick<Example, "image" | "patient" | "attributes">;

/** One label with all its boxes and masks. */
export function grounded(
  label: string,
  instances: readonly Pick<Thing, "box" | "mask">[],
  span?: readonly [number, number],
): Finding {
  return {
    label,
    ...(span ? { span } : {}),
    boxes: instances.map(({ box }) => box),
    masks: instances.map(({ mask }) => mask),
  };
}

/** Asks of every thing what it is; the region is a box as often as a mask. */
export function regionExamples(
  id: string,
  things: readonly Thing[],
  common: Common,
  random: Random,
): Example[] {
  return things.map(({ name, mask, box }, number): Example => {
    const region: Region = random.chance(0.5) ? { kind: "box", box } : { kind: "mask", mask };
    return {
      ...common,
      id: `${id}/region/${number}`,
      task: "region-vqa",
      prompt: random.pick([
        "What is the region <region></region> in this image?",
        "What does <region></region> show?",
        "Name what is seen at <region></region>.",
      ]),
      answer: name,
      regions: [region],
      category: "region",
    };
  });
}

/** Asks for the mask of every thing; several of the same name are asked for together. @param picture Such as `CT slice`. */
export function segmentationExamples(
  id: string,
  things: readonly Thing[],
  common: Common,
  random: Random,
  picture: string,
): Example[] {
  const groups = [...Map.groupBy(things, ({ name }) => name)];
  return groups.map(([name, instances], number): Example => {
    const many = instances.length > 1;
    const what = many ? `every ${name}` : `the ${name}`;
    const verb = random.pick(["Segment", "Mark", "Outline"]);
    return {
      ...common,
      id: `${id}/segment/${number}`,
      task: many ? "ground-instances" : "ground-mask",
      prompt: `${verb} ${what} in this ${picture}.`,
      answer: `${capital(what)}.`,
      findings: [grounded(instances[0].label, instances, [0, what.length])],
      category: "segmentation",
    };
  });
}
