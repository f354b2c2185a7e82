/**
 * Several adapters on one model: which act, what they drop in training, merging and unmerging.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { philox4x32, seedWords } from "../kernels/random.ts";
import type { LoraTerm } from "../tensor/linear.ts";
import { addLora } from "../tensor/lora.ts";
import { dropout } from "../tensor/random.ts";
import { shapeText } from "../tensor/tensor.ts";
import type { Weight } from "../tensor/weight.ts";
import type { Adapter } from "./adapter.ts";
import { nameHash } from "./initialise.ts";
import type { Parameters } from "./parameters.ts";

interface Member {
  readonly adapter: Adapter;
  active: boolean;
  merged: boolean;
}

/**
 * The adapters of a model. As long as it lives, the model's matrices have the updates of all adapters that are active and not
 * merged (see `Parameters.adaptersOf`).
 */
export class AdapterSet implements Disposable {
  readonly #parameters: Parameters;
  readonly #seed: number;
  readonly #members = new Map<string, Member>();
  /** Seed of what is dropped at the moment; undefined for nothing. */
  #dropping: number | undefined;

  /**
   * A set without adapters.
   *
   * @param seed Of the dropout, 0 to 2^53 - 1.
   */
  constructor(parameters: Parameters, seed = 0) {
    this.#parameters = parameters;
    this.#seed = seed;
    parameters.adaptersOf = (name) => this.#termsOf(name);
  }

  /**
   * Adds an adapter, which the set owns from then on and which is active.
   *
   * @throws {InputError} code `ADAPTER_MISMATCH` naming every module that the model does not have in that shape, or when there
   * is an adapter of this name.
   */
  add(name: string, adapter: Adapter): void {
    const fail = (what: string): never => {
      throw new InputError("ADAPTER_MISMATCH", `Cannot add adapter "${name}": ${what}`);
    };
    if (this.#members.has(name)) fail("the model has one of this name");
    const problems = [...adapter.modules].flatMap(([module, { a, b }]) => {
      const matrix = `${module}.weight`;
      const value = this.#parameters.has(matrix) ? this.#parameters.value(matrix) : undefined;
      if (value === undefined || !("parts" in value)) {
        return [`${module} is no matrix of the model`];
      }
      const fits = b.shape[0] === value.rows && a.shape[1] === value.columns;
      return fits ? [] : [
        `${module} is ${shapeText([value.rows, value.columns])}, the adapter is for ${
          shapeText([b.shape[0]!, a.shape[1]!])
        }`,
      ];
    });
    if (problems.length > 0) fail(problems.join("; "));
    this.#members.set(name, { adapter, active: true, merged: false });
  }

  /** Names of the adapters. */
  get names(): string[] {
    return [...this.#members.keys()];
  }

  /** An adapter. @throws {TypeError} when there is none of this name. */
  get(name: string): Adapter {
    return this.#member(name).adapter;
  }

  #member(name: string): Member {
    const member = this.#members.get(name);
    if (member === undefined) throw new TypeError(`The model has no adapter "${name}"`);
    return member;
  }

  /**
   * Lets exactly these adapters act, also none.
   *
   * @throws {TypeError} when there is none of a name, or an adapter is merged: it acts until it is taken out.
   */
  activate(names: readonly string[]): void {
    const wanted = new Set(names.map((name) => this.#member(name)));
    for (const [name, member] of this.#members) {
      if (member.merged && !wanted.has(member)) {
        throw new TypeError(`Cannot switch adapter "${name}" off while it is merged`);
      }
    }
    for (const member of this.#members.values()) member.active = wanted.has(member);
  }

  /**
   * Lets the adapters drop some of their inputs from now on, as their configurations say. The draws depend on the seed of the
   * set, these two numbers, the adapter's and the module's name alone; a module that is used twice drops at the same places.
   *
   * @param step Training step.
   * @param part Batch within the step.
   */
  dropFor(step: number, part = 0): void {
    this.#dropping = drawSeed(this.#seed, step, part);
  }

  /** Lets the adapters drop nothing from now on, as in the beginning: for answers and evaluation. */
  dropNothing(): void {
    this.#dropping = undefined;
  }

  /** The updates of a matrix, as `Parameters.adaptersOf` has them. */
  #termsOf(matrix: string): LoraTerm[] {
    if (!matrix.endsWith(".weight")) return [];
    const module = matrix.slice(0, -".weight".length);
    const terms: LoraTerm[] = [];
    for (const [name, { adapter, active, merged }] of this.#members) {
      const found = active && !merged ? adapter.modules.get(module) : undefined;
      if (found === undefined) continue;
      const rate = adapter.config.loraDropout, seed = this.#dropping;
      terms.push(
        seed === undefined || rate === 0 || found.embedding ? found : {
          ...found,
          dropout: (x) => dropout(x, rate, seed, nameHash(`${name} ${module}`)),
        },
      );
    }
    return terms;
  }

  /**
   * Adds the updates of the active adapters to the weights in place, so that layers cost what they cost without adapters.
   *
   * @throws {InputError} code `NOT_MERGEABLE` when a weight is kept in a narrow dtype; then nothing was merged.
   */
  merge(): void {
    const waiting = [...this.#members].filter(([, { active, merged }]) => active && !merged);
    for (const [name, { adapter }] of waiting) {
      for (const module of adapter.modules.keys()) {
        const { dtype } = this.#weight(module);
        if (dtype !== "f32") {
          throw new InputError(
            "NOT_MERGEABLE",
            `Cannot merge adapter "${name}": "${module}" is kept as ${dtype}; load the model with --dtype f32`,
          );
        }
      }
    }
    for (const [, member] of waiting) {
      for (const [module, term] of member.adapter.modules) addLora(this.#weight(module), [term]);
      member.merged = true;
    }
  }

  /** Takes every merged adapter out of the weights again, up to rounding. */
  unmerge(): void {
    for (const member of this.#members.values()) {
      if (!member.merged) continue;
      for (const [module, term] of member.adapter.modules) {
        addLora(this.#weight(module), [term], -1);
      }
      member.merged = false;
    }
  }

  #weight(module: string): Weight {
    return this.#parameters.weight(`${module}.weight`);
  }

  /** Releases the adapters; the model has none from then on, except what is merged, which stays. */
  [Symbol.dispose](): void {
    for (const { adapter } of this.#members.values()) adapter[Symbol.dispose]();
    this.#members.clear();
    this.#parameters.adaptersOf = () => [];
  }
}

/** A seed of 53 bits for one batch. */
function drawSeed(seed: number, step: number, part: number): number {
  const [low, high] = philox4x32(
    [step >>> 0, Math.floor(step / 2 ** 32), part, 0],
    seedWords(seed),
  );
  return low + 2 ** 32 * (high & 0x1fffff);
}
