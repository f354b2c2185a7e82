/**
 * What every registered plugin must do, with no code per plugin.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type AnswerEvent,
  type GroundedAnswer,
  InputError,
  type Model,
  openDevice,
  type Plugin,
  type Raster,
} from "@medvlm/core";
import { memoryFolder, openCheckpoint } from "@medvlm/core/checkpoint";
import { HostDevice } from "@medvlm/core/device";
import { medplib } from "@medvlm/medplib";
import { pefomed } from "@medvlm/pefomed";
import { pfmvg } from "@medvlm/pfmvg";
import { datasets } from "../zoo/data/mod.ts";

// deno-lint-ignore no-explicit-any
const plugins: Plugin<any>[] = [medplib, pefomed, pfmvg];

/** A grey gradient with a bright disc, wider than high. */
function picture(width = 90, height = 70): Raster {
  const data = new Uint8Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) data[i] = Math.hypot(x - 30, y - 40) < 15 ? 230 : x + y;
  }
  return { width, height, channels: 1, data, bitDepth: 8 };
}

async function collect(
  events: AsyncIterable<AnswerEvent>,
): Promise<{ events: AnswerEvent[]; answer: GroundedAnswer }> {
  const all: AnswerEvent[] = [];
  for await (const event of events) all.push(event);
  const last = all.at(-1);
  assert(last?.type === "done");
  return { events: all, answer: last.answer };
}

for (const plugin of plugins) {
  const { tiny, paper } = plugin.presets;

  Deno.test(`${plugin.name}: presets, tasks and parameter tables are complete`, () => {
    assert(tiny !== undefined && paper !== undefined);
    assert(plugin.tasks.length > 0);
    for (const config of Object.values(plugin.presets)) {
      const specs = plugin.params(config);
      assertEquals(new Set(specs.map(({ name }) => name)).size, specs.length);
      for (const { name, shape } of specs) {
        assert(
          shape.every((extent) => Number.isSafeInteger(extent) && extent > 0),
          `${name} [${shape}]`,
        );
      }
    }
  });

  Deno.test(`${plugin.name}: published tables have a value per column, about data that can be read`, () => {
    for (const { title, dataset, columns, rows } of plugin.published ?? []) {
      assert(Object.hasOwn(datasets, dataset), dataset);
      for (const { name, values } of rows) {
        assertEquals(values.length, columns.length, `${title}, ${name}`);
      }
    }
  });

  Deno.test(`${plugin.name}: every stage starts from random weights of its own sizes`, async () => {
    assertEquals(new Set(plugin.stages.map(({ name }) => name)).size, plugin.stages.length);
    for (const { name } of plugin.stages) {
      const stage = await plugin.prepareStage({ config: tiny }, name, 1);
      assertEquals(stage.stage.name, name);
      const prompt = "Is there a disc?";
      const rows = stage.rows({ prompt, answer: "yes" });
      assert(rows > stage.rows({ prompt: "Is it?", answer: "yes" }));
      const load = { dtype: "f32", batch: 2, rows, recompute: true } as const;
      const memory = stage.memory(load), narrow = stage.memory({ ...load, dtype: "q4" });
      assert(narrow.frozen < memory.frozen && narrow.trained === memory.trained);
      assert(stage.memory({ ...load, recompute: false }).activations > memory.activations);
    }
  });

  Deno.test({
    name: `${plugin.name}: answers, streams, grounds and repeats itself`,
    sanitizeResources: false,
    sanitizeOps: false,
    fn: async () => {
      await using device = await openDevice();
      await using model: Model = await plugin.init(tiny, { device, seed: 3 });
      const image = picture();
      const request = {
        image,
        prompt: "Segment the disc.",
        task: plugin.tasks.find((task) => task.startsWith("ground")),
      };
      const options = { maxNewTokens: 12, temperature: 1, topP: 0.9, seed: 5 };
      const first = await collect(model.answer(request as never, options));
      const streamed = first.events.map((event) => event.type === "token" ? event.text : "").join(
        "",
      );
      assertEquals(streamed.trim(), first.answer.text);
      assert(first.answer.tokens.length >= 1 && first.answer.tokens.length <= 12);
      for (const { masks, boxes } of first.answer.phrases) {
        for (const mask of masks) {
          assertEquals([mask.width, mask.height, mask.data.length], [
            image.width,
            image.height,
            image.width * image.height,
          ]);
        }
        for (const box of boxes) {
          assert(box[0] >= 0 && box[2] <= image.width && box[1] >= 0 && box[3] <= image.height);
        }
      }
      const { created } = device.memory;
      const second = await collect(model.answer(request as never, options));
      assertEquals(second.answer.tokens, first.answer.tokens);
      assertEquals(
        second.answer.phrases[0]?.masks[0]?.data,
        first.answer.phrases[0]?.masks[0]?.data,
      );
      assertEquals(device.memory.created, created, "a second answer needs no new buffers");
      const { live } = device.memory;
      await collect(model.answer(request as never, options));
      assertEquals(device.memory.live, live, "an answer leaves nothing behind");
    },
  });

  Deno.test(`${plugin.name}: what is saved in the official layout loads again equal`, async () => {
    const device = new HostDevice();
    await using model: Model = await plugin.init(tiny, { device, seed: 4 });
    const folder = memoryFolder("saved");
    await model.save(folder);
    using tensors = await (plugin.openTensors ?? openCheckpoint)(folder);
    assertEquals(tensors.names().sort(), plugin.params(tiny).map(({ name }) => name).sort());
    assertEquals(await plugin.readConfig({ folder, tensors }), tiny);
    await using again: Model = await plugin.load({ folder, tensors }, { device });
    const copy = memoryFolder("copy");
    await again.save(copy);
    const towers = (await folder.list()).filter((name) => !name.includes("."));
    const files = [...await folder.list(), ...towers.map((name) => `${name}/config.json`)];
    for (const file of files) {
      if (!await folder.has(file)) continue;
      using before = await folder.open(file);
      using after = await copy.open(file);
      assertEquals(await after.read(0, after.size), await before.read(0, before.size), file);
    }
  });

  Deno.test(`${plugin.name}: bad requests give one sentence`, async () => {
    const device = new HostDevice();
    await using model: Model = await plugin.init(tiny, { device, seed: 4 });
    const image = picture();
    const refuse = (request: unknown, includes: string) =>
      assertRejects(
        () => collect(model.answer(request as never, { maxNewTokens: 1 })),
        InputError,
        includes,
      );
    const declared: readonly string[] = plugin.searchOptions;
    const searches = { beams: 2, lengthPenalty: 2, consensus: 2, constrained: true };
    for (const [name, value] of Object.entries(searches)) {
      if (declared.includes(name)) continue;
      const request = { image, prompt: "What is here?" };
      await assertRejects(
        () => collect(model.answer(request, { maxNewTokens: 1, [name]: value })),
        InputError,
        `with ${plugin.name}: it has`,
      );
    }
    await refuse({ image, prompt: "  " }, "empty prompt");
    await refuse({ image, prompt: "What? ".repeat(4000) }, "positions");
    await refuse({
      image,
      prompt: "What is here?",
      regions: [{ kind: "box", box: [10, 10, 500, 20] }],
    }, "90x70");
    await refuse(
      { image, prompt: "What is here?", regions: [{ kind: "point", x: -1, y: 3 }] },
      "90x70",
    );
  });
}
