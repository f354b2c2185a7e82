/**
 * Autoregressive generation that never waits for a token before starting the next: each step samples on the device and
 * feeds its token back there; tokens are read a few steps late, and steps past the stop token are thrown away.
 *
 * @module
 */
import type { Device, Recording } from "../device/mod.ts";
import { gatherRows } from "../tensor/gather.ts";
import { linear } from "../tensor/linear.ts";
import { appendRows } from "../tensor/append.ts";
import { ConstraintState, type TokenConstraint } from "../tensor/constraint.ts";
import { slice } from "../tensor/movement.ts";
import { penaliseRepetition, type SamplerState, sampleToken } from "../tensor/sampling.ts";
import { empty, type Tensor, tensor } from "../tensor/tensor.ts";
import type { Weight } from "../tensor/weight.ts";
import { KeyValueCache, llama, type LlamaConfig, type LlamaPass } from "./llama.ts";
import type { ParameterScope } from "./parameters.ts";
import { type Trace, traceAt } from "./trace.ts";

/** The language model and how it is used. */
export interface GenerateSetup {
  /** Device of the parameters, the cache and the sampler. */
  readonly device: Device;
  /** Sizes of the decoder. */
  readonly config: LlamaConfig;
  /** Parameters below `model.`. */
  readonly model: ParameterScope;
  /** Token table [vocabulary, hiddenSize], read row by row. */
  readonly embedding: Weight;
  /** Output projection [vocabulary, hiddenSize] from hidden state to logits. */
  readonly head: Weight;
  /** MLP of every layer, as {@linkcode LlamaPass} has it. */
  readonly feedForward: LlamaPass["feedForward"];
}

/** How tokens are chosen. */
export interface SamplingOptions {
  /** Most tokens to generate, at least 1; prompt and answer together fit the decoder's positions. */
  readonly maxNewTokens: number;
  /** Divides the logits; 0 takes the most probable token. */
  readonly temperature: number;
  /** Keeps the most probable tokens that together reach this mass, in (0, 1]; 1 keeps all. */
  readonly topP: number;
  /** Seed of the random numbers; each step draws its own from seed and step. */
  readonly seed: number;
  /** Makes tokens of the answer less likely to occur again, see `penaliseRepetition`; the prompt does not count. Default 1: not. */
  readonly repetitionPenalty?: number | undefined;
  /** A token that counts as having occurred, for the penalty. Default none. */
  readonly occurred?: number | undefined;
  /** Answers that are allowed, over as many tokens as the head has rows; forbidden tokens are never chosen. Default: all. */
  readonly constraint?: TokenConstraint | undefined;
  /** Generation ends after this token. */
  readonly stopToken: number;
  /** Ends generation after the token that is read next. */
  readonly signal?: AbortSignal | undefined;
  /** Gets every intermediate of the prompt and of each step; steps then run one at a time. */
  readonly trace?: Trace | undefined;
}

/** Reads in flight on a device whose waits overlap; on the host there is nothing to wait for. */
const readsInFlight = 8;

/** One answer in the making: its cache, its sampler state, and the hidden state that predicted every token. */
export class Generation implements Disposable {
  readonly #setup: GenerateSetup;
  readonly #options: SamplingOptions;
  readonly #cache: KeyValueCache;
  readonly #state: SamplerState;
  readonly #promptLength: number;
  /** Row s is the final hidden state that predicted token s. */
  readonly hidden: Tensor;
  /** The final hidden state of the last prompt row but one, [1, H]. */
  readonly beforeLast: Tensor;
  #recording: Recording | undefined;
  readonly #constraint: ConstraintState | undefined;

  /**
   * Runs the prompt.
   *
   * @param prompt Embedded prompt rows [P, H], P >= 2.
   */
  constructor(setup: GenerateSetup, prompt: Tensor, options: SamplingOptions) {
    const { device, config } = setup;
    const length = prompt.shape[0]!;
    this.#setup = setup;
    this.#options = options;
    this.#promptLength = length;
    this.#cache = new KeyValueCache(device, config, length + options.maxNewTokens);
    this.#constraint = options.constraint && new ConstraintState(device, options.constraint);
    const word = (value: number) => tensor(device, Uint32Array.of(value));
    this.#state = {
      token: word(0),
      position: word(length - 1),
      length: word(length),
      step: word(0),
      ring: empty(device, [options.maxNewTokens], "u32", "tokens"),
    };
    this.hidden = empty(
      device,
      [options.maxNewTokens + 1, config.hiddenSize],
      "f32",
      "hidden states",
    );
    const positions = tensor(device, Uint32Array.from({ length }, (_, i) => i));
    using scope = device.scope();
    const final = llama(setup.model, prompt, config, {
      batch: 1,
      positions,
      cache: { store: this.#cache, before: 0 },
      feedForward: setup.feedForward,
      trace: traceAt(options.trace, "prompt."),
    });
    this.beforeLast = scope.keep(slice(final, 0, length - 2, 1));
    this.#choose(slice(final, 0, length - 1, 1), options.trace);
    positions.dispose();
  }

  /** From a final hidden state to the next token, on the device. */
  #choose(final: Tensor, trace?: Trace): void {
    const { device, head } = this.#setup;
    using _scope = device.scope();
    appendRows(this.hidden, final, this.#state.step);
    const logits = linear(final, head);
    trace?.("logits", logits);
    const { repetitionPenalty = 1, occurred } = this.#options;
    if (repetitionPenalty !== 1) {
      penaliseRepetition(logits, this.#state.ring, this.#state.step, repetitionPenalty, occurred);
    }
    this.#constraint?.constrain(logits);
    sampleToken(logits, this.#state, this.#options);
    this.#constraint?.advance(this.#state.token);
  }

  #step(trace?: Trace): void {
    const { device, config, model, embedding, feedForward } = this.#setup;
    using _scope = device.scope();
    const final = llama(model, gatherRows(embedding, this.#state.token), config, {
      batch: 1,
      positions: this.#state.position,
      cache: { store: this.#cache, length: this.#state.length },
      feedForward,
      trace,
    });
    this.#choose(final, trace);
  }

  /** Tokens as they become known; the stop token, if reached, is the last one. */
  async *tokens(): AsyncGenerator<number> {
    const { device } = this.#setup;
    const { maxNewTokens, stopToken, signal, trace } = this.#options;
    const ahead = trace !== undefined || device.kind !== "webgpu" ? 1 : readsInFlight;
    const reads: Promise<number>[] = [];
    const read = async (index: number) =>
      new Uint32Array(await device.read(this.#state.ring.buffer, 4 * index, 4))[0]!;
    try {
      reads.push(read(0));
      // The first token is waited for alone, so that the time of the prompt and of the steps can be told apart.
      for (let queued = 1, done = 0; done < queued;) {
        const token = await reads.shift()!;
        done++;
        yield token;
        if (token === stopToken || signal?.aborted) return;
        while (queued < maxNewTokens && reads.length < ahead) {
          this.#advance(trace === undefined ? undefined : traceAt(trace, `step${queued}.`));
          reads.push(read(queued++));
        }
      }
    } finally {
      await Promise.allSettled(reads);
    }
  }

  #advance(trace: Trace | undefined): void {
    if (trace !== undefined) return this.#step(trace);
    this.#recording ??= this.#setup.device.record(() => this.#step());
    this.#recording.replay();
  }

  /** Rows of the prompt. */
  get promptLength(): number {
    return this.#promptLength;
  }

  /** Releases cache, sampler state, hidden states and the recorded step. */
  [Symbol.dispose](): void {
    this.#recording?.[Symbol.dispose]();
    this.#cache.dispose();
    this.#constraint?.[Symbol.dispose]();
    for (const one of Object.values(this.#state) as Tensor[]) one.dispose();
    this.hidden.dispose();
    this.beforeLast.dispose();
  }
}
