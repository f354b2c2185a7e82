/**
 * What the command line prints, and progress that adapts to where it goes.
 *
 * @module
 */

/** Where a command prints: the answer goes out, everything else is a note. */
export interface Terminal {
  /** Writes to standard output. */
  out(text: string): void;
  /** Writes to standard error. */
  note(text: string): void;
  /** Standard error is a terminal: lines may be redrawn. */
  readonly redraws: boolean;
  /** Milliseconds, for timings and throttling. */
  now(): number;
}

function writeAll(stream: { writeSync(data: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let done = 0; done < bytes.length;) done += stream.writeSync(bytes.subarray(done));
  } catch (error) {
    // The reader of a pipe may leave early, as `head` does.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** The terminal the process was started from. */
export const processTerminal: Terminal = {
  out: (text) => writeAll(Deno.stdout, text),
  note: (text) => writeAll(Deno.stderr, text),
  get redraws() {
    return Deno.stderr.isTerminal();
  },
  now: () => performance.now(),
};

/** Text of a model with control characters replaced, so that it cannot steer a terminal. */
export function printable(text: string): string {
  const controls = /(?![\n\t])[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;
  return text.replace(controls, "\ufffd");
}

/** A size with a binary unit and three digits, such as `1.25 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return unit === 0 ? `${bytes} B` : `${bytes.toPrecision(bytes < 1000 ? 3 : 4)} ${units[unit]}`;
}

/** A duration in the unit a reader wants, such as `12.3 ms`, `4.56 s` or `3 min 20 s`. */
export function formatTime(milliseconds: number): string {
  if (milliseconds < 1000) return `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`;
  if (milliseconds < 120_000) return `${(milliseconds / 1000).toFixed(2)} s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Rows as aligned columns; numbers are given as text. The first column is left-aligned, the others right-aligned. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))
      .join("  ").trimEnd()
  ).join("\n") + "\n";
}

const barWidth = 30;
/** Work shorter than this shows no progress. */
const quietMilliseconds = 700;

/** How amounts of work read. */
export interface Amounts {
  /** An amount, such as `1.25 MiB`. */
  amount(count: number): string;
  /** How fast it goes, such as `10 MiB/s`. */
  rate(perSecond: number): string;
}

const byteAmounts: Amounts = {
  amount: formatBytes,
  rate: (perSecond) => `${formatBytes(Math.round(perSecond))}/s`,
};

/** Things that are counted one by one; their speed is the time of one. */
export const itemAmounts: Amounts = {
  amount: (count) => `${count}`,
  rate: (perSecond) => perSecond > 0 ? `${formatTime(1000 / perSecond)} each` : "not started",
};

/**
 * Progress of long work: a bar where lines can be redrawn, else a line every tenth of the work and at most one a second.
 * Nothing is shown for work that ends quickly.
 */
export class Progress {
  readonly #terminal: Terminal;
  readonly #what: string;
  readonly #amounts: Amounts;
  readonly #start: number;
  #last = -Infinity;
  #tenth = 0;
  #shown = false;

  constructor(terminal: Terminal, what: string, amounts: Amounts = byteAmounts) {
    this.#terminal = terminal;
    this.#what = what;
    this.#amounts = amounts;
    this.#start = terminal.now();
  }

  /** Reports how much is done and how much there is in all; bytes unless the amounts say otherwise. */
  update(done: number, total: number): void {
    const now = this.#terminal.now();
    if (total <= 0 || now - this.#start < quietMilliseconds) return;
    const share = Math.min(1, done / total);
    const rate = done / (now - this.#start) * 1000;
    const left = share > 0 ? (now - this.#start) * (1 - share) / share : 0;
    const { amount, rate: speed } = this.#amounts;
    const facts = `${amount(done)} of ${amount(total)}, ${speed(rate)}, ${formatTime(left)} left`;
    if (this.#terminal.redraws) {
      if (now - this.#last < 100 && share < 1) return;
      const filled = Math.round(share * barWidth);
      const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
      this.#terminal.note(`\r\x1b[K${this.#what} ${bar} ${facts}`);
    } else {
      const tenth = Math.floor(share * 10);
      if (tenth <= this.#tenth || now - this.#last < 1000) return;
      this.#tenth = tenth;
      this.#terminal.note(`${this.#what}: ${Math.floor(share * 100)} %, ${facts}\n`);
    }
    this.#last = now;
    this.#shown = true;
  }

  /** Ends the bar, whether the work succeeded or not. */
  end(): void {
    if (this.#shown && this.#terminal.redraws) this.#terminal.note("\r\x1b[K");
  }
}
