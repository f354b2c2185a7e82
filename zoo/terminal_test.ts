import { assert, assertEquals } from "@std/assert";
import {
  formatBytes,
  formatTable,
  formatTime,
  printable,
  Progress,
  type Terminal,
} from "./terminal.ts";

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

Deno.test("sizes and times read well", () => {
  assertEquals(formatBytes(0), "0 B");
  assertEquals(formatBytes(1023), "1023 B");
  assertEquals(formatBytes(1024), "1.00 KiB");
  assertEquals(formatBytes(1010 * 2 ** 20), "1010 MiB");
  assertEquals(formatBytes(46.7 * 2 ** 30), "46.7 GiB");
  assertEquals(formatTime(1.234), "1.2 ms");
  assertEquals(formatTime(345.6), "346 ms");
  assertEquals(formatTime(4560), "4.56 s");
  assertEquals(formatTime(200_000), "3 min 20 s");
});

Deno.test("tables are aligned", () => {
  assertEquals(formatTable([["kernel", "n"], ["a", "10"]]), "kernel   n\na       10\n");
});

Deno.test("text of a model cannot steer the terminal", () => {
  assertEquals(printable("a\x1b[2Jb\nc\td\r\u009b"), "a\ufffd[2Jb\nc\td\ufffd\ufffd");
});

Deno.test("quick work shows nothing", () => {
  const terminal = recorder(true);
  const progress = new Progress(terminal, "Loading");
  for (let done = 0; done <= 10; done++) {
    terminal.time += 10;
    progress.update(done, 10);
  }
  progress.end();
  assertEquals(terminal.notes, []);
});

Deno.test("plain lines come at most once a tenth and once a second", () => {
  const terminal = recorder(false);
  const progress = new Progress(terminal, "Loading");
  for (let done = 0; done <= 1000; done++) {
    terminal.time += 5;
    progress.update(done, 1000);
  }
  progress.end();
  assert(terminal.notes.length >= 3 && terminal.notes.length <= 6, `${terminal.notes.length}`);
  assert(terminal.notes.every((line) => line.endsWith("\n") && !line.includes("\r")));
});

Deno.test("a terminal gets one redrawn line that is removed at the end", () => {
  const terminal = recorder(true);
  const progress = new Progress(terminal, "Loading");
  for (let done = 0; done <= 100; done++) {
    terminal.time += 50;
    progress.update(done, 100);
  }
  progress.end();
  assert(terminal.notes.every((text) => text.startsWith("\r") && !text.includes("\n")));
  assertEquals(terminal.notes.at(-1), "\r\x1b[K");
});
