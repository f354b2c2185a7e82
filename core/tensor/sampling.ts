/**
 * Choosing tokens without leaving the device.
 *
 * @module
 */
import { argmaxProgram, greedyProgram, sampleProgram } from "../kernels/sampling.ts";
import { seedWords } from "../kernels/random.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** What a decode step reads and moves on; all u32, all on the device. */
export interface SamplerState {
  /** The chosen token, input of the next step, [1]. */
  readonly token: Tensor;
  /** Position of the next step's token, [1]. */
  readonly position: Tensor;
  /** Keys in the cache at the next step, [1]. */
  readonly length: Tensor;
  /** Tokens chosen so far, [1]. */
  readonly step: Tensor;
  /** Token of step s at s modulo its length. */
  readonly ring: Tensor;
}

/** How a token is chosen. */
export interface SampleOptions {
  /** Below 1e-4 the most probable token is taken. */
  readonly temperature: number;
  /** Mass of the most probable tokens that are kept, in (0, 1]. */
  readonly topP: number;
  /** Whole number from 0 to 2^53 - 1. */
  readonly seed: number;
}

/** Below this temperature sampling is greedy (MedPLIB's and LLaVA's demo servers). */
const greedyTemperature = 1e-4;

/** Lowest index of the largest value of every row of [R, C]: u32 [R]. */
export function argmax(x: Tensor): Tensor {
  const columns = x.shape.at(-1)!;
  const rows = x.size / Math.max(1, columns);
  const index = empty(x.device, [rows], "u32", "argmax");
  x.device.dispatch(
    argmaxProgram(),
    { x: x.range, index: index.range },
    { rows, columns },
    [rows],
    { bytes: 4 * x.size },
  );
  return index;
}

/**
 * Chooses the next token and moves the state on: token, ring, step, position and length. May be recorded and replayed.
 *
 * @param logits f32 [1, V].
 * @throws {RangeError} for a temperature or topP out of range.
 */
export function sampleToken(
  logits: Tensor,
  state: SamplerState,
  { temperature, topP, seed }: SampleOptions,
): void {
  if (!(temperature >= 0 && temperature <= 100) || !(topP > 0 && topP <= 1)) {
    throw new RangeError(
      `Cannot sample with temperature ${temperature} and topP ${topP}: expected 0 to 100 and (0, 1]`,
    );
  }
  const columns = logits.size;
  if (logits.shape.at(-1) !== columns) {
    throw new RangeError(`Cannot sample from logits ${shapeText(logits.shape)}: expected [1, V]`);
  }
  const ranges = {
    logits: logits.range,
    token: state.token.range,
    position: state.position.range,
    length: state.length.range,
    step: state.step.range,
    ring: state.ring.range,
  };
  const capacity = state.ring.size;
  if (temperature < greedyTemperature) {
    logits.device.dispatch(greedyProgram(), ranges, { columns, capacity }, [1], {
      bytes: 4 * columns,
    });
    return;
  }
  const [seedLow, seedHigh] = seedWords(seed);
  logits.device.dispatch(
    sampleProgram(),
    ranges,
    { columns, capacity, inverse: 1 / temperature, topP, seedLow, seedHigh },
    [1],
    { bytes: 4 * columns },
  );
}
