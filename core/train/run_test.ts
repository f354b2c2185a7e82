import { assertEquals, assertRejects } from "@std/assert";
import { HostDevice } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import { multiply } from "../tensor/elementwise.ts";
import { sumRows } from "../tensor/reduction.ts";
import { tensor } from "../tensor/tensor.ts";
import { lossPlot } from "./loss_plot.ts";
import { isStep, runFiles, type RunOptions, trainInFolder } from "./run.ts";
import { Trainer } from "./trainer.ts";

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** x goes to 0; batches differ by step. */
function bowl(device: HostDevice) {
  const x = tensor(device, [3, -2]);
  const trainer = new Trainer(device, {
    parameters: [{ parameters: [{ name: "x", value: x }] }],
    batches: (step) => Promise.resolve([Float32Array.of(1 + step % 3, 1)]),
    loss: (batch) => ({
      total: sumRows(multiply(multiply(x, x), tensor(device, batch)).reshape(-1, 1)),
    }),
  }, { steps: 20, rate: () => 0.1 });
  return { x, trainer };
}

const options = (folder: string): RunOptions => ({
  folder,
  steps: 20,
  saveEvery: 6,
  evaluateEvery: 8,
  evaluate: (after) => Promise.resolve({ after }),
});

Deno.test("a run that is interrupted and taken up again leaves the files of one that was not", async () => {
  await using device = new HostDevice();
  await inFolder(async (straight) => {
    const whole = bowl(device);
    const { complete, log } = await trainInFolder(whole.trainer, options(straight));
    assertEquals(complete, true);
    assertEquals(
      log.filter(isStep).map(({ step }) => step),
      Array.from({ length: 20 }, (_, n) => n),
    );
    assertEquals(log.flatMap((line) => isStep(line) ? [] : [line.after]), [8, 16, 20]);
    const expected = await Deno.readFile(`${straight}/${runFiles.checkpoint}`);
    assertEquals(
      (await Deno.readTextFile(`${straight}/${runFiles.plot}`)).startsWith("<svg"),
      true,
    );

    await inFolder(async (interrupted) => {
      const abort = new AbortController();
      const first = await trainInFolder(bowl(device).trainer, {
        ...options(interrupted),
        progress: (line) => {
          if (isStep(line) && line.step === 8) abort.abort();
        },
        signal: abort.signal,
      });
      assertEquals(first.complete, false);
      // A crash: what came after the last checkpoint is in the log of nobody.
      await Deno.writeTextFile(
        `${interrupted}/${runFiles.log}`,
        `${JSON.stringify({ step: 19, loss: 1, terms: {} })}\n`,
        { append: true },
      );
      const second = await trainInFolder(bowl(device).trainer, options(interrupted));
      assertEquals(second.complete, true);
      assertEquals(
        second.log.filter(isStep).map(({ step, loss }) => [step, loss]),
        log.filter(isStep).map(({ step, loss }) => [step, loss]),
      );
      assertEquals(await Deno.readFile(`${interrupted}/${runFiles.checkpoint}`), expected);
    });
  });
});

Deno.test("a checkpoint that cannot be written ends the run and keeps the old one", async () => {
  await using device = new HostDevice();
  await inFolder(async (folder) => {
    await trainInFolder(bowl(device).trainer, { ...options(folder), steps: 6 });
    const before = await Deno.readFile(`${folder}/${runFiles.checkpoint}`);
    const { trainer } = bowl(device);
    // No space for anything larger than what is there: as a full disk answers.
    const save = trainer.save.bind(trainer);
    trainer.save = async (path) => {
      await save(`${folder}/missing/${path.length}`);
    };
    const error = await assertRejects(
      () => trainInFolder(trainer, options(folder)),
      InputError,
      "Cannot write",
    );
    assertEquals(error.code, "NOT_WRITABLE");
    assertEquals(await Deno.readFile(`${folder}/${runFiles.checkpoint}`), before);
    assertEquals(
      (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort(),
      Object.values(runFiles).sort(),
    );
  });
});

Deno.test("the plot takes any number of steps", () => {
  for (const count of [0, 1, 2, 500]) {
    const log = Array.from({ length: count }, (_, step) => ({
      step,
      loss: 3 / (1 + step),
      terms: {},
      rate: 1,
      gradientNorm: 1,
      tokens: 0,
      milliseconds: 1,
    }));
    const svg = lossPlot(log);
    assertEquals(/NaN|Infinity/.test(svg), false);
    assertEquals(svg.trimEnd().endsWith("</svg>"), true);
  }
});
