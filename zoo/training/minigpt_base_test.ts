import { assertEquals } from "@std/assert";
import { openDevice } from "@medvlm/core/device";
import { madeFiles, madeTokenizer, minigptParameters, tiny } from "@medvlm/core/minigpt";
import { initialParameters } from "@medvlm/core/nn";
import { Trainer } from "@medvlm/core/train";
import { Random } from "../phantoms/random.ts";
import { initialisedForWidth } from "./decoder_init.ts";
import { BaseTraining } from "./minigpt_base.ts";
import { drawFamilyLessons, type FamilyMix, familyPictures } from "./minigpt_lessons.ts";

const config = {
  ...tiny,
  llama: { ...tiny.llama, hiddenSize: 32, intermediateSize: 64, layers: 1, heads: 2, keyHeads: 2 },
  vision: { ...tiny.vision, hiddenSize: 24, intermediateSize: 32, layers: 1, heads: 2 },
};
const tokenizer = await madeTokenizer(madeFiles(config));
const pool = familyPictures({
  ...{ size: 112, seed: 3, count: 6 },
  prevalence: { normal: 0, each: 0.7 },
});

Deno.test("lessons of all lengths become batches, whatever comes before their pictures", async () => {
  await using device = await openDevice();
  const parameters = await initialParameters(
    device,
    initialisedForWidth(minigptParameters(config)),
    1,
  );
  using base = new BaseTraining(parameters, config, tokenizer);
  const mixes: FamilyMix[] = [{ yesno: 1, identify: 1, open: 1 }, { thing: 1, phrase: 1 }];
  for (const mix of mixes) {
    for (let n = 0; n < 5; n++) {
      const lessons = drawFamilyLessons(pool, mix, { pictures: 4, each: 5 }, new Random(n, 0));
      const { batch, pointing } = base.batch(lessons);
      assertEquals(batch.size, lessons.length);
      // Every lesson that is about something points before its answer; boxes point before their digits, too.
      const about = lessons.filter(({ shows }) => shows !== undefined);
      const boxes = about.filter(({ task }) => task === "ground-box").length;
      const digits = (pointing?.rows.length ?? 0) - about.length;
      assertEquals([digits >= 4 * boxes, digits <= 12 * boxes], [true, true]);
    }
  }
  const reports = drawFamilyLessons(
    pool,
    { report: 1 },
    { pictures: 2, each: 1 },
    new Random(1, 0),
  );
  assertEquals(base.batch(reports).pointing, undefined);
  parameters.dispose();
});

Deno.test("answers and where to look are learned together", async () => {
  await using device = await openDevice();
  const parameters = await initialParameters(
    device,
    initialisedForWidth(minigptParameters(config)),
    1,
  );
  using base = new BaseTraining(parameters, config, tokenizer);
  const size = { pictures: 2, each: 3 };
  const draw = () => drawFamilyLessons(pool, { thing: 1 }, size, new Random(1, 0));
  using trainer = new Trainer(
    device,
    base.task({ draw, seed: 1, pointing: 1, looking: 1, naming: 1 }),
    {
      steps: 60,
      rate: () => 5e-3,
      optimiser: { betas: [0.9, 0.98], maxNorm: 1 },
      identity: "test",
    },
  );
  const seen: Record<string, number>[] = [];
  for await (const { terms } of trainer.run()) seen.push(terms);
  for (const name of ["answers", "pointed"]) {
    const [first, last] = [seen[0]![name]!, seen.at(-1)![name]!];
    assertEquals(last < first / 2, true, `${name}: ${first} to ${last}`);
  }
  const { answer_loss } = await base.measure(draw());
  assertEquals(answer_loss!.sum / answer_loss!.count < 1, true);
  parameters.dispose();
});
