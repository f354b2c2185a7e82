/**
 * Constrained decoding on the device: an automaton over token ids forbids what would leave its grammar.
 *
 * @module
 */
import type { Device } from "../device/mod.ts";
import { advanceProgram, constrainProgram } from "../kernels/constraint.ts";
import { shapeText, type Tensor, tensor } from "./tensor.ts";

/** The tables of an automaton, as `tokenAutomaton` of the text room makes them. */
export interface TokenConstraint {
  /** Number of states. */
  readonly states: number;
  /** Number of classes of tokens. */
  readonly classes: number;
  /** Where every answer starts. */
  readonly start: number;
  /** Class of every token id. */
  readonly classOf: Uint32Array;
  /** The state after a token of class c in state s at `classes` s + c; 0xffffffff where the token is not allowed. */
  readonly next: Uint32Array;
}

/** An automaton on a device, in one state. Everything that changes lies on the device, so its steps may be recorded. */
export class ConstraintState implements Disposable {
  readonly #classOf: Tensor;
  readonly #next: Tensor;
  readonly #state: Tensor;
  readonly #classes: number;

  /**
   * Puts the tables on a device.
   *
   * @param state Where to begin. Default: the automaton's start.
   */
  constructor(device: Device, constraint: TokenConstraint, state: number = constraint.start) {
    const copy = (words: Uint32Array) => tensor(device, new Uint32Array(words));
    this.#classOf = copy(constraint.classOf);
    this.#next = copy(constraint.next);
    this.#state = copy(Uint32Array.of(state));
    this.#classes = constraint.classes;
  }

  #arrays() {
    return {
      classOf: this.#classOf.range,
      next: this.#next.range,
      state: this.#state.range,
    };
  }

  /**
   * Makes logits of tokens that are not allowed -3e38, in place.
   *
   * @param logits f32 [1, V], V as many as the automaton knows tokens.
   * @throws {RangeError} for other shapes and dtypes.
   */
  constrain(logits: Tensor): void {
    const columns = this.#classOf.size;
    if (logits.dtype !== "f32" || logits.size !== columns) {
      throw new RangeError(
        `Cannot constrain ${logits.dtype} ${
          shapeText(logits.shape)
        }: the automaton knows ${columns} tokens`,
      );
    }
    logits.device.dispatch(
      constrainProgram(),
      { ...this.#arrays(), logits: logits.range },
      { columns, classes: this.#classes },
      [Math.ceil(columns / 64)],
      { bytes: 8 * columns },
    );
  }

  /** Moves on by a chosen token, u32 [1]; the state stays where the token is not allowed. */
  advance(token: Tensor): void {
    token.device.dispatch(
      advanceProgram(),
      { ...this.#arrays(), token: token.range },
      { columns: this.#classOf.size, classes: this.#classes },
      [1],
      { bytes: 16 },
    );
  }

  /** Puts the automaton into a state, ordered after all work queued so far; not inside a recording. */
  moveTo(state: number): void {
    this.#state.write(Uint32Array.of(state));
  }

  /** Releases the tables. */
  [Symbol.dispose](): void {
    for (const one of [this.#classOf, this.#next, this.#state]) one.dispose();
  }
}
