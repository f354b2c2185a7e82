/**
 * Ranking values and choosing tokens without leaving the device.
 *
 * @module
 */
import { argmaxProgram } from "../kernels/argmax.ts";
import { seedWords } from "../kernels/random.ts";
import { repetitionProgram } from "../kernels/repetition.ts";
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import { greedyProgram, sampleProgram } from "../kernels/sampling.ts";
import { shortRow, topKLimit, topKProgram } from "../kernels/top_k.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** What a decode step reads and moves on; all u32, on one device, each in memory of its own. */
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
  /** Divides the logits, 0 to 100; below 1e-4 the most probable token is taken. */
  readonly temperature: number;
  /** Mass of the most probable tokens that are kept, in (0, 1]. */
  readonly topP: number;
  /** How many of the most probable tokens are kept before topP; 0 or absent for all. */
  readonly topK?: number;
  /** Whole number from 0 to 2^53 - 1. */
  readonly seed: number;
}

/** Below this temperature sampling is greedy (LLaVA's demo server). */
const greedyTemperature = 1e-4;

/** Loop iterations per value of the kernels that search thresholds, their walks being unrolled (see `ordering.ts`). */
const searchWalks = 7, drawWalks = 3;

/** Rows and columns of x, and how to dispatch on them. */
function asRows(operation: string, x: Tensor): { rows: number; columns: number } {
  const columns = x.shape.at(-1);
  if (columns === undefined || columns === 0 || x.dtype !== "f32") {
    throw new RangeError(
      `Cannot ${operation} a ${x.dtype} tensor of shape ${
        shapeText(x.shape)
      }: expected f32 [..., C] with at least one column`,
    );
  }
  return { rows: x.size / columns, columns };
}

/**
 * Index of the largest value of every row, the lowest among equals; values that are no numbers lose to all others.
 *
 * @param x f32 [R, C] (or any leading axes), C >= 1.
 * @returns u32 [R].
 * @throws {RangeError} for other shapes and dtypes.
 */
export function argmax(x: Tensor): Tensor {
  const { device } = x;
  const { rows, columns } = asRows("argmax", x);
  const index = empty(device, x.shape.slice(0, -1), "u32", "argmax");
  const team = rowTeam(device.capabilities, columns, { few: 64 });
  device.dispatch(
    argmaxProgram(team),
    { input: x.range, output: index.range },
    { rows, columns },
    [teamGroups(team, rows)],
    { bytes: 4 * x.size + 4 * rows },
  );
  return index;
}

/** The largest values of rows, in falling order. */
export interface TopK {
  /** f32 [R, k]. */
  readonly values: Tensor;
  /** Their columns, u32 [R, k]; of equal values the lower column comes first. */
  readonly indices: Tensor;
}

/**
 * The `k` largest values of every row; values that are no numbers come last.
 *
 * @param x f32 [R, C] (or any leading axes).
 * @param k 1 to 256, at most C.
 * @throws {RangeError} for other shapes, dtypes and k.
 */
export function topK(x: Tensor, k: number): TopK {
  const { device } = x;
  const { rows, columns } = asRows("topK", x);
  if (!Number.isInteger(k) || k < 1 || k > Math.min(topKLimit, columns)) {
    throw new RangeError(
      `Cannot take the top ${k} of ${shapeText(x.shape)}: expected 1 to ${
        Math.min(topKLimit, columns)
      }`,
    );
  }
  const shape = x.shape.with(-1, k);
  const values = empty(device, shape, "f32", "top values");
  const indices = empty(device, shape, "u32", "top indices");
  const few = k <= shortRow.k ? shortRow.columns : 0;
  const team = rowTeam(device.capabilities, columns, { few, walks: searchWalks });
  device.dispatch(
    topKProgram(team),
    { input: x.range, values: values.range, indices: indices.range },
    { rows, columns, k },
    [teamGroups(team, rows)],
    { bytes: 4 * x.size + 8 * values.size },
  );
  return { values, indices };
}

/**
 * Penalises tokens that occurred, each once, however often: their logits are divided by the penalty where positive, multiplied by it
 * where negative. How many tokens there are is read on the device, so the call may be recorded and replayed.
 *
 * @param logits f32 [1, V], changed in place.
 * @param history u32 [capacity], the tokens so far in front, such as the ring of a sampler.
 * @param count u32 [1], how many they are.
 * @param penalty More than 0; above 1 makes repetition less likely.
 * @param also A token that counts as having occurred besides. Default none.
 * @throws {RangeError} for other shapes, dtypes and penalties.
 */
export function penaliseRepetition(
  logits: Tensor,
  history: Tensor,
  count: Tensor,
  penalty: number,
  also?: number,
): void {
  const { device } = logits;
  const { rows, columns } = asRows("penaliseRepetition in", logits);
  const fits = rows === 1 && history.dtype === "u32" && count.dtype === "u32" && count.size === 1;
  if (!fits || !(penalty > 0)) {
    throw new RangeError(
      `Cannot penaliseRepetition by ${penalty} in logits ${
        shapeText(logits.shape)
      } for ${history.dtype} ${shapeText(history.shape)}: expected [1, V], u32 and more than 0`,
    );
  }
  const capacity = history.size;
  device.dispatch(
    repetitionProgram(),
    { history: history.range, count: count.range, logits: logits.range },
    { columns, capacity, also: also ?? 0xffffffff, penalty },
    [Math.ceil((capacity + 1) / 64)],
    { bytes: 12 * capacity },
  );
}

/**
 * Chooses the next token and moves the state on: the token goes to `token` and to `ring[step mod capacity]`; then step, position and
 * length grow by one. Everything that changes from step to step is read from the state, so the call may be recorded and replayed.
 *
 * The same logits, seed and step give the same token on the same device, and on any device unless the drawn number falls within
 * float32 rounding of the border between two tokens.
 *
 * @param logits f32 [1, V].
 * @param state Moved on in place.
 * @throws {RangeError} for other shapes, or options out of range.
 */
export function sampleToken(logits: Tensor, state: SamplerState, options: SampleOptions): void {
  const { temperature, topP, topK = 0, seed } = options;
  const { device } = logits;
  const { rows, columns } = asRows("sampleToken from", logits);
  const badState = Object.entries({ ...state }).find(([name, { dtype, size }]) =>
    dtype !== "u32" || (name === "ring" ? size === 0 : size !== 1)
  );
  if (rows !== 1 || badState !== undefined) {
    throw new RangeError(
      rows !== 1
        ? `Cannot sampleToken from logits ${shapeText(logits.shape)}: expected [1, V]`
        : `Cannot sampleToken with ${badState![0]} ${badState![1].dtype} ${
          shapeText(badState![1].shape)
        }: expected u32 ${badState![0] === "ring" ? "[capacity]" : "[1]"}`,
    );
  }
  if (
    !(temperature >= 0 && temperature <= 100) || !(topP > 0 && topP <= 1) ||
    !Number.isSafeInteger(topK) || topK < 0
  ) {
    throw new RangeError(
      `Cannot sampleToken with temperature ${temperature}, topP ${topP} and topK ${topK}: expected 0 to 100, (0, 1] and a whole number`,
    );
  }
  const [seedLow, seedHigh] = seedWords(seed);
  const ranges = {
    input: logits.range,
    token: state.token.range,
    position: state.position.range,
    length: state.length.range,
    step: state.step.range,
    ring: state.ring.range,
  };
  const capacity = state.ring.size, cost = { bytes: 4 * columns };
  if (temperature < greedyTemperature) {
    const team = rowTeam(device.capabilities, columns);
    device.dispatch(greedyProgram(team), ranges, { rows, columns, capacity }, [1], cost);
    return;
  }
  using _scope = device.scope();
  const weights = empty(device, [4 * Math.ceil(columns / 4)], "f32", "token weights");
  const team = rowTeam(device.capabilities, columns, { few: 0, walks: drawWalks });
  device.dispatch(
    sampleProgram(team),
    { ...ranges, weights: weights.range },
    {
      rows,
      columns,
      capacity,
      inverseTemperature: 1 / temperature,
      topP,
      topK: topK < columns ? topK : 0,
      seedLow,
      seedHigh,
    },
    [1],
    cost,
  );
}
