/**
 * How a training run looks on a terminal.
 *
 * @module
 */
import { isStep, type LogLine, type StepRecord } from "@medvlm/core/train";
import { formatTime, type Terminal } from "../terminal.ts";

/** Milliseconds between lines where they cannot be redrawn. */
const lineInterval = 10_000;
/** Steps that the throughput is a mean of. */
const recentSteps = 20;

const short = (value: number) => value.toPrecision(value < 1e-3 ? 2 : 4);

/** A line for every step that is redrawn, or now and then one that stays; measurements always stay. */
export class TrainingProgress {
  readonly #terminal: Terminal;
  readonly #steps: number;
  #recent: StepRecord[] = [];
  #last = -Infinity;

  constructor(terminal: Terminal, steps: number) {
    this.#terminal = terminal;
    this.#steps = steps;
  }

  /** Shows a line of the log. @param remaining Milliseconds that the rest may take. */
  show(line: LogLine, remaining: number): void {
    const { redraws } = this.#terminal;
    const clear = redraws ? "\r\x1b[K" : "";
    if (!isStep(line)) {
      const measures = Object.entries(line.metrics).map(([name, value]) =>
        `${name.replaceAll("_", " ")} ${value.toFixed(3)}`
      );
      this.#terminal.note(
        `${clear}After ${line.after} steps, held out: ${measures.join(", ") || "nothing"}\n`,
      );
      return;
    }
    this.#recent = [...this.#recent, line].slice(-recentSteps);
    const now = this.#terminal.now();
    const first = line.step === 0, last = line.step + 1 === this.#steps;
    if (!redraws && !first && !last && now - this.#last < lineInterval) return;
    this.#last = now;
    const { step, loss, rate } = line;
    this.#terminal.note(
      `${clear}Step ${step + 1} of ${this.#steps}: loss ${short(loss)}, rate ${short(rate)}, ${
        Math.round(this.#tokensPerSecond)
      } tokens/s, ${formatTime(remaining)} left${redraws ? "" : "\n"}`,
    );
  }

  get #tokensPerSecond(): number {
    const sum = (value: (record: StepRecord) => number) =>
      this.#recent.reduce((total, record) => total + value(record), 0);
    return 1000 * sum(({ tokens }) => tokens) /
      Math.max(1e-3, sum((record) => record.milliseconds));
  }

  /** Ends the line. */
  end(): void {
    if (this.#terminal.redraws && this.#recent.length > 0) this.#terminal.note("\n");
  }
}
