/**
 * `train` as a user meets it: started as a process, killed, out of space and stopped by a key, and started again; judged by
 * exit code, output and files.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { openCheckpoint, openFolder } from "@medvlm/core";
import { diskFolder, openAdapter } from "@medvlm/core/checkpoint";
import { HostDevice } from "@medvlm/core/device";
import { medplib } from "@medvlm/medplib";
import { denseConfig, type MedplibConfig } from "@medvlm/medplib/parts";

const main = new URL("../zoo/main.ts", import.meta.url).pathname;
const decoder = new TextDecoder();

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Small enough for a step within a second on the CPU. */
function smallConfig(): MedplibConfig {
  const tiny = denseConfig(medplib.presets.tiny as MedplibConfig);
  const heads = { layers: 2, heads: 2, keyHeads: 2 };
  return {
    ...tiny,
    llama: { ...tiny.llama, hiddenSize: 32, intermediateSize: 64, ...heads },
    clip: {
      ...tiny.clip,
      hiddenSize: 24,
      intermediateSize: 48,
      layers: 2,
      heads: 2,
      imageSize: 56,
    },
    sam: {
      ...tiny.sam,
      imageSize: 64,
      patchSize: 8,
      width: 32,
      depth: 2,
      heads: 2,
      window: 4,
      globalBlocks: [1],
      outputWidth: 32,
    },
    samDecoder: { ...tiny.samDecoder, width: 32, mlpWidth: 64, iouWidth: 32 },
  };
}

/** A folder with a small model and a handful of phantoms, in which the command line is started. */
class Workplace implements AsyncDisposable {
  readonly folder: string = Deno.makeTempDirSync();

  command(args: readonly string[], blocks?: number): Deno.Command {
    const lock = Deno.env.get("JSR_URL") ? ["--no-lock"] : [];
    const own = ["run", "-A", "--quiet", "--no-check", ...lock, main, ...args];
    const options = {
      cwd: this.folder,
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1", XDG_RUNTIME_DIR: this.folder },
    } as const;
    if (blocks === undefined) return new Deno.Command(Deno.execPath(), { args: own, ...options });
    // Files may not grow beyond so many blocks, as on a disk that is full.
    const limited = `trap '' XFSZ; ulimit -f ${blocks}; exec "$@"`;
    const args_ = ["-c", limited, "sh", Deno.execPath(), ...own];
    return new Deno.Command("sh", { args: args_, ...options });
  }

  async start(args: readonly string[], blocks?: number): Promise<Ended> {
    const { code, stdout, stderr } = await this.command(args, blocks).output();
    return { code, out: decoder.decode(stdout), error: decoder.decode(stderr) };
  }

  async prepare(): Promise<void> {
    const { code, error } = await this.start(
      ["zoo", "phantoms", "--format=medplib", "--count=4", "--size=64", "--seed=3", "--out=data"],
    );
    assertEquals(code, 0, error);
    await using model = await medplib.init(smallConfig(), { device: new HostDevice(), seed: 1 });
    await Deno.mkdir(`${this.folder}/start/clip-vision`, { recursive: true });
    await model.save(diskFolder(`${this.folder}/start`));
  }

  read(name: string): Promise<Uint8Array> {
    return Deno.readFile(`${this.folder}/${name}`);
  }

  entries(folder: string): string[] {
    return [...Deno.readDirSync(`${this.folder}/${folder}`)].map(({ name }) => name).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

const common = ["train", "--plugin=medplib", "--data=data", "--device=wasm"];
const grounding = [...common, "--stage=grounding", "--checkpoint=start"];
const run = [...grounding, "--steps=6", "--batch=2", "--accumulation=2", "--save-every=1"];

/** Starts the run, and sends a signal when it has written a checkpoint other than `before`. */
async function interrupted(
  place: Workplace,
  out: string,
  signal: "SIGKILL" | "SIGINT",
  before?: Uint8Array,
): Promise<Ended> {
  const child = place.command([...run, `--out=${out}`]).spawn();
  let ended = false;
  const output = child.output().finally(() => ended = true);
  for (;;) {
    const bytes = await place.read(`${out}/checkpoint.safetensors`).catch(() => undefined);
    if (ended || bytes !== undefined && String(bytes) !== String(before)) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert(!ended, "the run ended before it could be interrupted");
  child.kill(signal);
  const { code, stdout, stderr } = await output;
  return { code, out: decoder.decode(stdout), error: decoder.decode(stderr) };
}

Deno.test({
  name: "a run that is killed, out of space and stopped ends with the bytes of one that was not",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using place = new Workplace();
    await place.prepare();
    const [straight, killed] = await Promise.all([
      place.start([...run, "--out=straight"]),
      interrupted(place, "cut", "SIGKILL"),
    ]);
    assertEquals(straight.code, 0, straight.error);
    assertEquals(killed.code, 137);
    assertEquals(place.entries("straight"), [
      "adapter",
      "checkpoint.safetensors",
      "log.jsonl",
      "loss.svg",
      "model",
      "summary.json",
    ]);
    assertMatch(straight.error, /^Step 1 of 6: loss [\d.]+, rate [\d.]+, \d+ tokens\/s, .+ left$/m);

    // A file of 100 blocks, 512 or 1024 bytes each, does not hold the checkpoint.
    const kept = await place.read("cut/checkpoint.safetensors");
    const full = await place.start([...run, "--out=cut"], 100);
    assertEquals(full.code, 2, full.error);
    assertMatch(full.error, /^Error: Cannot write "cut\/checkpoint.safetensors": .+free space$/m);
    assert(!/\n\s+at /.test(full.error), full.error);
    assertEquals(await place.read("cut/checkpoint.safetensors"), kept);
    assertEquals(place.entries("cut").filter((name) => name.endsWith(".part")), []);

    const stopped = await interrupted(place, "cut", "SIGINT", kept);
    assertEquals(stopped.code, 1);
    assertStringIncludes(stopped.out, "Going on: cut/checkpoint.safetensors");
    assertMatch(stopped.error, /^Error: Stopped after \d of 6 steps: .+the same command goes on/m);

    const last = await place.start([...run, "--out=cut"]);
    assertEquals(last.code, 0, last.error);
    for (
      const name of [
        "checkpoint.safetensors",
        "model/pytorch_model.bin",
        "adapter/adapter_model.safetensors",
      ]
    ) {
      assertEquals(await place.read(`cut/${name}`), await place.read(`straight/${name}`), name);
    }
    const steps = (text: string) =>
      text.trimEnd().split("\n").map((line) => JSON.parse(line))
        .map(({ step, loss, rate }) => [step, loss, rate]);
    const logs = await Promise.all(
      ["cut", "straight"].map(async (folder) =>
        steps(decoder.decode(await place.read(`${folder}/log.jsonl`)))
      ),
    );
    assertEquals(logs[1]!.length, 6);
    // A kill between a checkpoint and its log costs lines, never numbers.
    for (const line of logs[0]!) assertEquals(line, logs[1]![line[0]]);

    const other = await place.start([...run, "--rate=0.1", "--out=cut"]);
    assertEquals(other.code, 2);
    assertStringIncludes(other.error, "it belongs to a run with other settings");
  },
});

Deno.test("a stage starts from what another wrote, whatever the frozen matrices are kept as", async () => {
  await using place = new Workplace();
  await place.prepare();
  const short = ["--steps=1", "--batch=2", "--recompute"];
  const recognition = await place.start([
    ...common,
    "--stage=recognition",
    "--checkpoint=start",
    ...short,
    "--out=recognition",
    "--evaluate-every=1",
    "--json",
  ]);
  assertEquals(recognition.code, 0, recognition.error);
  const summary = JSON.parse(recognition.out);
  assertEquals(summary, JSON.parse(decoder.decode(await place.read("recognition/summary.json"))));
  assertEquals([summary.stage, summary.settings.steps, summary.measures.length], [
    "recognition",
    1,
    1,
  ]);
  assert(summary.examples.held > 0 && summary.measures[0].answer_loss > 0);
  const narrow = await place.start([...grounding, ...short, "--dtype=q4", "--out=grounding"]);
  assertEquals(narrow.code, 0, narrow.error);

  // Frozen weights are those of the start, bit by bit, though q4 on the device; adapted ones have moved.
  using before = await openCheckpoint(`${place.folder}/start`);
  using after = await openCheckpoint(`${place.folder}/grounding/model`);
  assertEquals(after.names().sort(), before.names().sort());
  const adapter = await openAdapter(await openFolder(`${place.folder}/grounding/adapter`));
  const adapted = new Set(adapter.modules.map(({ module }) => `${module}.weight`));
  assertEquals(adapted.size, 6);
  const changed: string[] = [];
  for (const tensor of before.entries()) {
    const own = await tensor.read(), other = await after.get(tensor.name)!.read();
    if (own.some((byte, i) => byte !== other[i])) changed.push(tensor.name);
  }
  const may = (name: string) => adapted.has(name) || /mask_decoder|text_hidden_fcs/.test(name);
  assertEquals(changed.filter((name) => !may(name)), []);
  assert([...adapted].every((name) => changed.includes(name)), changed.join());

  const experts = await place.start([
    ...common,
    "--stage=experts",
    "--recognition=recognition/model",
    "--grounding=grounding/model",
    ...short,
    "--dtype=q8",
    "--out=experts",
  ]);
  assertEquals(experts.code, 0, experts.error);
  using tensors = await openCheckpoint(`${place.folder}/experts/model`);
  const config = await medplib.readConfig({
    folder: await openFolder(`${place.folder}/experts/model`),
    tensors,
  }) as MedplibConfig;
  assertEquals(config.moe.experts, [2, 2]);
});

Deno.test("starts and data that do not fit are refused in one sentence", async () => {
  await using place = new Workplace();
  await Deno.mkdir(`${place.folder}/data`);
  await Deno.mkdir(`${place.folder}/texts`);
  await Deno.writeTextFile(
    `${place.folder}/texts/trainset.json`,
    JSON.stringify([{ qid: 1, "image_name": "a.png", question: "Is it?", answer: "yes" }]),
  );
  await Deno.writeFile(`${place.folder}/texts/a.png`, new Uint8Array(1));
  const base = ["train", "--plugin=medplib", "--stage=grounding"];
  const cases: [string[], string][] = [
    [["train", "--plugin=medplib"], "alignment, recognition, grounding, experts"],
    [[...base, "--data=data", "--out=x"], "without a model to start from"],
    [[...base, "--preset=tiny", "--sam=x", "--data=data", "--out=x"], "starts from one of them"],
    [[...base, "--preset=tiny", "--steps=1", "--epochs=1"], "choose one of them"],
    [[...base, "--preset=tiny", "--data=data"], "add --out DIR"],
    [[...base, "--preset=tiny", "--out=x"], "add --data DIR"],
    [[...base, "--preset=tiny", "--data=data", "--out=x"], "it holds none of MeCoVQA"],
    [[...base, "--preset=tiny", "--data=data", "--out=x", "--dataset=vqarad"], "vqa_rad"],
    [
      [...base, "--preset=tiny", "--data=texts", "--out=x", "--dataset=vqa_rad"],
      "none of its 1 example has a task that the stage learns (ground-mask)",
    ],
  ];
  for (let i = 0; i < cases.length; i += 2) {
    await Promise.all(
      cases.slice(i, i + 2).map(async ([args, words]) => {
        const { code, error } = await place.start(args);
        const line = error.split("\n").find((one) => one.startsWith("Error: ")) ?? "";
        assertStringIncludes(line, words);
        assertEquals(code, 2, line);
      }),
    );
  }
  assertEquals(place.entries("."), ["data", "texts"]);
});
