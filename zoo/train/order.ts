/**
 * In which order examples are trained on, and which are held out.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { Random } from "../phantoms/random.ts";

/** Marks the draws of orders, and those of what is held out. */
const ORDER_DRAWS = 0x6f726465, HELD_DRAWS = 0x68656c64;

/** The numbers 0 to count - 1 in random order; the same for the same seed and epoch. */
export function epochOrder(count: number, seed: number, epoch: number): number[] {
  return new Random(seed, epoch, ORDER_DRAWS).shuffled(Array.from({ length: count }, (_, n) => n));
}

/**
 * Which examples a place of the training has. Every epoch goes through all examples in an order of its own; its last step is
 * filled up from the beginning of that order, as a distributed sampler does.
 */
export class Order {
  readonly #count: number;
  readonly #batch: number;
  readonly #seed: number;
  #epoch = -1;
  #order: readonly number[] = [];

  /**
   * @param count Examples, at least 1.
   * @param batch Examples per step.
   */
  constructor(count: number, batch: number, seed: number) {
    this.#count = count;
    this.#batch = batch;
    this.#seed = seed;
  }

  /** Steps that go through all examples once. */
  get stepsPerEpoch(): number {
    return Math.ceil(this.#count / this.#batch);
  }

  /** Number of the example at place `i` of a step, and of those that stand in for it, one after the other. */
  *candidates(step: number, i: number): Generator<number> {
    const epoch = Math.floor(step / this.stepsPerEpoch);
    if (epoch !== this.#epoch) {
      this.#order = epochOrder(this.#count, this.#seed, epoch);
      this.#epoch = epoch;
    }
    const order = this.#order;
    const first = step % this.stepsPerEpoch * this.#batch + i;
    for (let tries = 0; tries < this.#count; tries++) yield order[(first + tries) % this.#count];
  }
}

/** What keeps examples together: those of a patient, or of a picture, are all held out or none. */
function groupOf({ patient, image }: Example): string {
  return patient ?? image;
}

/**
 * Divides examples by their patients (pictures where the dataset names none).
 *
 * @param share Of the patients to hold out, 0 to below 1; at least one is held out when it is above 0, and one is not.
 */
export function holdOut(
  examples: readonly Example[],
  share: number,
  seed: number,
): { readonly taught: Example[]; readonly held: Example[] } {
  const groups = [...new Set(examples.map(groupOf))].sort();
  const wanted = share === 0
    ? 0
    : Math.min(groups.length - 1, Math.max(1, Math.round(share * groups.length)));
  const chosen = new Set(new Random(seed, 0, HELD_DRAWS).shuffled(groups).slice(0, wanted));
  return {
    taught: examples.filter((example) => !chosen.has(groupOf(example))),
    held: examples.filter((example) => chosen.has(groupOf(example))),
  };
}
