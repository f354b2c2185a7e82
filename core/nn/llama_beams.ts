/**
 * The LLaMA decoder following several beams: each has a key-value cache of its own, which is copied where two beams come from one.
 *
 * @module
 */
import { ConstraintState, type TokenConstraint } from "../tensor/constraint.ts";
import { gatherRows } from "../tensor/gather.ts";
import { linear } from "../tensor/linear.ts";
import { slice } from "../tensor/movement.ts";
import { topK } from "../tensor/sampling.ts";
import { softmax } from "../tensor/softmax.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import type { BeamCandidates, BeamModel } from "./beam_search.ts";
import type { GenerateSetup } from "./generate.ts";
import { KeyValueCache, llama } from "./llama.ts";

/** The most candidates that one beam can give. */
const mostCandidates = 256;

/** Copies the first rows of all layers. */
function copyCache(from: KeyValueCache, to: KeyValueCache, rows: number): void {
  for (const kind of ["keys", "values"] as const) {
    from[kind].forEach((source, layer) => {
      const bytes = 4 * rows * source.shape[1]!;
      source.device.copy(source.range, to[kind][layer]!.range, bytes);
    });
  }
}

/** What waits to be read of a beam. */
interface PendingCandidates {
  /** Most probable allowed tokens, and their logits. */
  readonly tokens: Tensor;
  readonly logits: Tensor;
  /** The largest of all logits and its probability: their difference of logarithms is the logarithm of the sum. */
  readonly peak: Tensor;
  readonly share: Tensor;
}

/** Beams on a device, for `beamSearch`. */
export class LlamaBeams implements BeamModel, Disposable {
  readonly #setup: GenerateSetup;
  readonly #prompt: Tensor;
  readonly #caches: (KeyValueCache | undefined)[];
  readonly #capacity: number;
  readonly #constraint: TokenConstraint | undefined;
  readonly #automaton: ConstraintState | undefined;
  /** The automaton's state of each beam. */
  #states: number[];
  #length = 0;

  /**
   * Nothing is computed yet.
   *
   * @param prompt Embedded rows [P, H], P >= 1; it stays the caller's and is needed until the search has started.
   * @param beams As many as the search follows.
   * @param maxNewTokens Of the search; prompt and answer together fit the decoder's positions.
   * @param constraint Answers that are allowed. Default: all.
   */
  constructor(
    setup: GenerateSetup,
    prompt: Tensor,
    beams: number,
    maxNewTokens: number,
    constraint?: TokenConstraint,
  ) {
    this.#setup = setup;
    this.#prompt = prompt;
    this.#capacity = prompt.shape[0]! + maxNewTokens;
    this.#caches = Array.from({ length: beams }, () => undefined);
    this.#constraint = constraint;
    this.#automaton = constraint && new ConstraintState(setup.device, constraint);
    this.#states = [constraint?.start ?? 0];
  }

  #cache(beam: number): KeyValueCache {
    const { device, config } = this.#setup;
    return this.#caches[beam] ??= new KeyValueCache(device, config, this.#capacity);
  }

  async start(count: number): Promise<BeamCandidates> {
    const { device, config, model, feedForward } = this.#setup;
    const length = this.#prompt.shape[0]!;
    this.#length = length;
    const positions = tensor(device, Uint32Array.from({ length }, (_, i) => i));
    const store = this.#cache(0);
    let pending: PendingCandidates;
    {
      using scope = device.scope();
      const final = llama(model, this.#prompt, config, {
        batch: 1,
        positions,
        cache: { store, before: 0 },
        feedForward,
      });
      pending = this.#choose(slice(final, 0, length - 1, 1), 0, count);
      for (const one of Object.values(pending) as Tensor[]) scope.keep(one);
    }
    positions.dispose();
    return (await readCandidates([pending]))[0]!;
  }

  async advance(
    parents: readonly number[],
    tokens: readonly number[],
    count: number,
  ): Promise<readonly BeamCandidates[]> {
    this.#follow(parents);
    this.#states = parents.map((parent, i) => this.#after(this.#states[parent]!, tokens[i]!));
    const position = tensor(this.#setup.device, Uint32Array.of(this.#length));
    const length = tensor(this.#setup.device, Uint32Array.of(++this.#length));
    const pending = tokens.map((token, beam) => this.#step(token, beam, position, length, count));
    position.dispose();
    length.dispose();
    return await readCandidates(pending);
  }

  /** Gives every beam the cache of its parent: the first child takes it over, the others get copies. */
  #follow(parents: readonly number[]): void {
    const old = [...this.#caches];
    const spare = old.map((_, beam) => beam).filter((beam) => !parents.includes(beam));
    const taken = new Set<number>();
    parents.forEach((parent, beam) => {
      if (!taken.has(parent)) {
        taken.add(parent);
        this.#caches[beam] = old[parent];
        return;
      }
      const from = spare.shift()!;
      const store = old[from] ??
        new KeyValueCache(this.#setup.device, this.#setup.config, this.#capacity);
      copyCache(old[parent]!, store, this.#length);
      this.#caches[beam] = store;
    });
    // Caches that nobody follows wait at the places behind.
    for (let beam = parents.length; beam < old.length; beam++) {
      const from = spare.shift();
      this.#caches[beam] = from === undefined ? undefined : old[from];
    }
  }

  #after(state: number, token: number): number {
    if (this.#constraint === undefined) return state;
    const { classes, classOf, next } = this.#constraint;
    return next[state * classes + classOf[token]!]!;
  }

  #step(
    token: number,
    beam: number,
    position: Tensor,
    length: Tensor,
    count: number,
  ): PendingCandidates {
    const { device, config, model, embedding, feedForward } = this.#setup;
    const index = tensor(device, Uint32Array.of(token));
    using scope = device.scope();
    const final = llama(model, gatherRows(embedding, index), config, {
      batch: 1,
      positions: position,
      cache: { store: this.#cache(beam), length },
      feedForward,
    });
    const pending = this.#choose(final, beam, count);
    index.dispose();
    for (const one of Object.values(pending) as Tensor[]) scope.keep(one);
    return pending;
  }

  #choose(final: Tensor, beam: number, count: number): PendingCandidates {
    const logits = linear(final, this.#setup.head);
    const { values: peak } = topK(logits, 1);
    const { values: share } = topK(softmax(logits), 1);
    if (this.#automaton !== undefined) {
      this.#automaton.moveTo(this.#states[beam]!);
      this.#automaton.constrain(logits);
    }
    const most = Math.min(count, logits.shape.at(-1)!, mostCandidates);
    const { values, indices } = topK(logits, most);
    return { tokens: indices, logits: values, peak, share };
  }

  /** Releases caches and tables. */
  [Symbol.dispose](): void {
    for (const cache of this.#caches) cache?.dispose();
    this.#automaton?.[Symbol.dispose]();
  }
}

/** Logits as log probabilities. */
async function readCandidates(pending: readonly PendingCandidates[]): Promise<BeamCandidates[]> {
  const read = await Promise.all(pending.map(async (one) => {
    const [tokens, logits, peak, share] = await Promise.all([
      one.tokens.read(),
      one.logits.readFloats(),
      one.peak.readFloats(),
      one.share.readFloats(),
    ]);
    return { tokens, logits, sum: peak[0]! - Math.log(share[0]!) };
  }));
  for (const one of pending) for (const part of Object.values(one) as Tensor[]) part.dispose();
  return read.map(({ tokens, logits, sum }) => ({
    tokens,
    // Forbidden logits are finite and far below all others.
    scores: Array.from(logits, (logit) => logit <= -1e38 ? -Infinity : logit - sum),
  }));
}
