import { assertEquals } from "@std/assert";
import type { Terminal } from "../terminal.ts";
import { TrainingProgress } from "./progress.ts";

function recorder(redraws: boolean): Terminal & { notes: string[]; time: number } {
  const notes: string[] = [];
  return {
    notes,
    time: 0,
    redraws,
    out: () => {},
    note: (text) => notes.push(text),
    now() {
      return this.time;
    },
  };
}

const step = (n: number) => ({
  step: n,
  loss: 2.34567,
  terms: {},
  rate: 3e-4,
  gradientNorm: 1,
  tokens: 150,
  milliseconds: 500,
});

Deno.test("lines come now and then, the first and the last always, and measurements stay", () => {
  const terminal = recorder(false), progress = new TrainingProgress(terminal, 30);
  for (let n = 0; n < 30; n++) {
    terminal.time += 1000;
    progress.show(step(n), 1000 * (29 - n));
  }
  progress.show({ after: 30, metrics: { "mask_dice": 0.5, loss: 1 } }, 0);
  progress.end();
  assertEquals(
    terminal.notes[0],
    "Step 1 of 30: loss 2.346, rate 0.00030, 300 tokens/s, 29.00 s left\n",
  );
  assertEquals(terminal.notes.map((note) => note.match(/^Step \d+/)?.[0]), [
    "Step 1",
    "Step 11",
    "Step 21",
    "Step 30",
    undefined,
  ]);
  assertEquals(terminal.notes.at(-1), "After 30 steps, held out: mask dice 0.500, loss 1.000\n");
});

Deno.test("a terminal has one line that is redrawn", () => {
  const terminal = recorder(true), progress = new TrainingProgress(terminal, 2);
  progress.show(step(0), 500);
  progress.show(step(1), 0);
  progress.end();
  assertEquals(terminal.notes.map((note) => note.startsWith("\r\x1b[KStep")), [true, true, false]);
  assertEquals(terminal.notes.at(-1), "\n");
});
