/**
 * What every kind of reference case shares: a report that compares values and remembers the largest errors.
 *
 * @module
 */

/** One compared value of a case. */
export interface Comparison {
  name: string;
  /** Largest absolute difference; 0 for exact comparisons that hold. */
  maxAbs: number;
  /** Largest difference relative to the expected value, over elements whose expected value is not 0. */
  maxRel: number;
  /** The rule, as text: `exact`, `atol 1e-5 rtol 1e-4`, … */
  rule: string;
  ok: boolean;
  /** What differs, when something does. */
  detail?: string;
}

/** Tolerances of a comparison: |actual - expected| <= atol + rtol * |expected|. */
export interface Tolerance {
  atol?: number;
  rtol?: number;
}

/** Collects the comparisons of one case. */
export class Report {
  readonly comparisons: Comparison[] = [];

  /** Whether everything compared so far agrees; a case that compared nothing does not pass. */
  get ok(): boolean {
    return this.comparisons.length > 0 && this.comparisons.every((one) => one.ok);
  }

  /** Compares numbers element by element. NaN never agrees with anything but NaN. */
  close(
    name: string,
    actual: ArrayLike<number>,
    expected: ArrayLike<number>,
    { atol = 0, rtol = 0 }: Tolerance,
  ): void {
    const rule = atol === 0 && rtol === 0 ? "exact" : `atol ${atol} rtol ${rtol}`;
    if (actual.length !== expected.length) {
      this.#add(
        name,
        rule,
        false,
        Infinity,
        Infinity,
        `${actual.length} values, expected ${expected.length}`,
      );
      return;
    }
    let maxAbs = 0, maxRel = 0, worst = -1, worstExcess = 0;
    for (let i = 0; i < expected.length; i++) {
      const a = actual[i]!, e = expected[i]!;
      if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
      const difference = Number.isFinite(a - e) ? Math.abs(a - e) : Infinity;
      maxAbs = Math.max(maxAbs, difference);
      if (e !== 0) maxRel = Math.max(maxRel, difference / Math.abs(e));
      const excess = difference - (atol + rtol * Math.abs(e));
      if (excess > worstExcess || (excess > 0 && worst < 0)) {
        worst = i;
        worstExcess = excess;
      }
    }
    const detail = worst < 0
      ? undefined
      : `[${worst}] is ${actual[worst]}, expected ${expected[worst]}`;
    this.#add(name, rule, worst < 0, maxAbs, maxRel, detail);
  }

  /** Compares any JSON-like values for equality. */
  exact(name: string, actual: unknown, expected: unknown): void {
    const a = JSON.stringify(actual), e = JSON.stringify(expected);
    const detail = a === e ? undefined : `${clip(a)}, expected ${clip(e)}`;
    this.#add(name, "exact", a === e, a === e ? 0 : Infinity, a === e ? 0 : Infinity, detail);
  }

  /** Records a fact that holds or does not. */
  holds(name: string, ok: boolean, detail: string): void {
    this.#add(name, "holds", ok, 0, 0, ok ? undefined : detail);
  }

  #add(name: string, rule: string, ok: boolean, maxAbs: number, maxRel: number, detail?: string) {
    this.comparisons.push({
      name,
      rule,
      ok,
      maxAbs,
      maxRel,
      ...(detail === undefined ? {} : { detail }),
    });
  }
}

function clip(text: string | undefined): string {
  if (text === undefined) return "undefined";
  return text.length > 160 ? `${text.slice(0, 157)}...` : text;
}

/** Compares one case. Throwing counts as a failure of the case, with the message as detail. */
export type RunCase = (report: Report) => Promise<void> | void;

/** A case found on disk: what is printed in its line, and how to run it. */
export interface FoundCase {
  /** Path under the folder searched, such as `containers/torch-zip/dtypes.pth`. */
  name: string;
  /** Needs a device (webgpu or wasm) to run; the others are run once. */
  run: RunCase;
}
