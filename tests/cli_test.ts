/**
 * The command line as a user meets it: started as a process, judged by exit code, output and files.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { iou, maskCounts, maskDice } from "@medvlm/core/eval";
import { maskOf } from "../zoo/data/mask_runs.ts";
import { maskBox } from "../zoo/phantoms/field.ts";
import { chestPhantom, splitIndex } from "../zoo/phantoms/mod.ts";

const golden = new URL("./golden/", import.meta.url).pathname;
const main = new URL("../zoo/main.ts", import.meta.url).pathname;
const parity = new URL("./parity/main.ts", import.meta.url).pathname;
const picture = new URL("../zoo/demo/chest_xray.jpg", import.meta.url).pathname;
const release = `${golden}medplib/tiny-release`;

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** A temporary folder in which the command line is started; removed at the end. */
class Workplace implements AsyncDisposable {
  readonly folder: string = Deno.makeTempDirSync();

  command(
    program: string,
    args: readonly string[],
    env: Record<string, string> = {},
  ): Deno.Command {
    const lock = Deno.env.get("JSR_URL") ? ["--no-lock"] : [];
    return new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", ...lock, program, ...args],
      cwd: this.folder,
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1", XDG_RUNTIME_DIR: this.folder, ...env },
    });
  }

  start(program: string, ...args: string[]): Promise<Ended> {
    return this.startWith({}, program, ...args);
  }

  async startWith(
    env: Record<string, string>,
    program: string,
    ...args: string[]
  ): Promise<Ended> {
    const { code, stdout, stderr } = await this.command(program, args, env).output();
    const text = new TextDecoder();
    return { code, out: text.decode(stdout), error: text.decode(stderr) };
  }

  /** `run --plugin medplib` on the CPU with a few tokens. */
  run(...args: string[]): Promise<Ended> {
    return this.start(
      main,
      "run",
      "--plugin=medplib",
      ...args.some((arg) => arg.startsWith("--device")) ? [] : ["--device=wasm"],
      "--max-new-tokens=4",
      ...args,
    );
  }

  async write(name: string, bytes: Uint8Array | string): Promise<string> {
    const path = `${this.folder}/${name}`;
    await Deno.mkdir(path.replace(/[^/]*$/, ""), { recursive: true });
    if (typeof bytes === "string") await Deno.writeTextFile(path, bytes);
    else await Deno.writeFile(path, bytes);
    return path;
  }

  async json(name: string): Promise<Record<string, unknown>> {
    return JSON.parse(await Deno.readTextFile(`${this.folder}/${name}`));
  }

  /** Names of all entries at the top, sorted. */
  entries(): string[] {
    return [...Deno.readDirSync(this.folder)].map(({ name }) => name).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Each start must fail as wrong usage, with one sentence that holds the given words, and leave no file behind. */
async function refused(
  place: Workplace,
  starts: readonly (readonly [start: () => Promise<Ended>, words: string])[],
): Promise<void> {
  const before = place.entries();
  for (let i = 0; i < starts.length; i += 2) {
    await Promise.all(
      starts.slice(i, i + 2).map(async ([start, words]) => {
        const { code, error, out } = await start();
        const line = error.split("\n").find((one) => one.startsWith("Error: ")) ?? "";
        assertStringIncludes(line, words);
        assertEquals(code, 2, `${line} ${out}`);
        assert(!line.endsWith("."), line);
        assert(!/\n\s+at /.test(error), `a stack trace without --debug: ${error}`);
      }),
    );
  }
  assertEquals(place.entries(), before);
}

/** A PNG file that is only a header and claims this size. */
function claim(width: number, height: number): Uint8Array {
  const bytes = new Uint8Array(33 + 12);
  bytes.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52]);
  const view = new DataView(bytes.buffer);
  view.setUint32(16, width);
  view.setUint32(20, height);
  bytes.set([8, 2, 0, 0, 0], 24);
  view.setUint32(29, crc(bytes.subarray(12, 29)));
  return bytes;
}

function crc(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return ~sum >>> 0;
}

Deno.test("wrong usage is refused with the nearest known word", async () => {
  await using place = new Workplace();
  const system = (name: string, ...args: string[]) =>
    place.start(main, "run", `--plugin=${name}`, ...args);
  await refused(place, [
    [() => place.start(main), "no command was given"],
    [() => place.start(main, "rnu"), "did you mean run"],
    [() => place.start(main, "run"), "add --plugin medplib"],
    [() => place.start(main, "run", "--plugin", "medlib"), "did you mean medplib"],
    [() => place.start(main, "run", "--plugin", "vividmed"), "not available yet"],
    [() => place.start(main, "train"), "without a system"],
    [
      () => place.start(main, "train", "--plugin=medplib", "--stage=recogntion"),
      "did you mean recognition",
    ],
    [() => place.start(main, "eval", "--data", "x"), "without --dataset"],
    [() => place.start(main, "zoo", "list"), "not available yet"],
    [() => place.run("--imge", "x"), "did you mean --image"],
    [() => place.run("--image"), "needs a value"],
    [() => place.run("--device", "gpu"), "auto, webgpu, wasm"],
    [() => place.run("--temperature", "-1"), "from 0 to 100"],
    [() => place.run("--dtype=q3"), "did you mean q8"],
    [() => place.run("--preset", "tinny"), "did you mean tiny"],
    [() => place.run("--task", "report"), "medplib does"],
    [() => place.run("--preset=tiny", "--checkpoint=x"), "leave one of them out"],
    [() => place.run("--beams=2"), "Cannot use --beams with medplib"],
    [() => place.run("--consensus=4"), "Cannot use --consensus with medplib"],
    [() => place.run("--constrained"), "Cannot use --constrained with medplib"],
    [() => system("pefomed", "--constrained"), "--length-penalty and --consensus only"],
    [() => system("pefomed", "--length-penalty=2"), "add --beams N"],
    [() => system("pfmvg", "--beams=2", "--consensus=4"), "leave one of them out"],
    [() => system("pfmvg", "--beams=2", "--temperature=1"), "leave one of them out"],
    [() => place.run("x.png"), "takes flags only"],
    [() => place.start(parity, "nowhere"), "no such folder"],
  ]);
});

Deno.test("unusable pictures, regions and prompts are refused", async () => {
  await using place = new Workplace();
  const jpeg = await Deno.readFile(picture);
  await place.write("truncated.jpg", jpeg.subarray(0, 5000));
  await place.write("empty.png", "");
  await place.write("text.png", "not a picture");
  await place.write("huge.png", claim(100000, 100000));
  await place.write("mask.png", await Deno.readFile(`${golden}odd/grey8.png`));
  await refused(place, [
    [() => place.run("--image=truncated.jpg"), "truncated.jpg"],
    [() => place.run("--image=empty.png"), "the file is empty"],
    [() => place.run("--image=text.png"), "not a known picture format"],
    [() => place.run("--image=huge.png"), "100000x100000"],
    [() => place.run("--image=none.png"), "no such file"],
    [() => place.run("--image=."), "not a regular file"],
    [() => place.run("--region=box:0,0,5000,10"), "not inside the image of 384x384"],
    [() => place.run("--region=box:9,9,5,5"), "the box is empty"],
    [() => place.run("--region=box:1,2,3"), "expected 4 numbers"],
    [() => place.run("--region=point:384,0"), "not inside the image"],
    [() => place.run("--region=circle:1"), "expected box:"],
    [() => place.run("--region=mask:mask.png"), "the mask has 150x131 pixels"],
    [() => place.run("--prompt="), "empty prompt"],
    [() => place.run("--prompt", "lung ".repeat(3000)), "shorten the prompt"],
    [() => place.run("--out=text.png"), "text.png"],
  ]);
});

Deno.test("unusable checkpoints are refused and every missing tensor is named", async () => {
  await using place = new Workplace();
  await Deno.mkdir(`${place.folder}/nothing`);
  const names = [...Deno.readDirSync(release)].filter(({ isFile }) => isFile).map((one) =>
    one.name
  );
  for (const name of names) {
    await place.write(`less/${name}`, await Deno.readFile(`${release}/${name}`));
  }
  const tower = "clip-vit-tiny-patch14-112";
  for (const { name } of Deno.readDirSync(`${release}/${tower}`)) {
    await place.write(`less/${tower}/${name}`, await Deno.readFile(`${release}/${tower}/${name}`));
  }
  const index = await place.json("less/pytorch_model.bin.index.json");
  const missing = ["lm_head.weight", "model.norm.weight"];
  const weights = index.weight_map as Record<string, string>;
  for (const name of missing) delete weights[name];
  await place.write("less/pytorch_model.bin.index.json", JSON.stringify(index));
  await refused(place, [
    [() => place.run("--checkpoint=nothing"), "Cannot find a checkpoint"],
    [() => place.run("--checkpoint=none"), "no such file"],
    [() => place.run("--checkpoint=less"), missing[0]],
    [() => place.run("--checkpoint=less"), missing[1]],
  ]);
});

Deno.test("run needs no flag but the plugin, and says what its answer is worth", async () => {
  await using place = new Workplace();
  const { code, out, error } = await place.run();
  assertEquals(code, 0, error);
  assertEquals(place.entries(), ["medvlm-out"]);
  assertEquals([...Deno.readDirSync(`${place.folder}/medvlm-out`)].map(({ name }) => name).sort(), [
    "answer.json",
    "overlay.png",
  ]);
  assertEquals(out.match(/not for clinical use/g)?.length, 1);
  assertStringIncludes(out, "drawn radiographs only");
  assertMatch(out, /right lung/i);
  assertMatch(out, /1 mask/);
  const answer = await place.json("medvlm-out/answer.json");
  assertEquals([answer.plugin, answer.task, answer.untrained], ["medplib", "ground-mask", false]);
  const { size, counts } =
    (answer.phrases as { masks: { size: number[]; counts: number[] }[] }[])[0].masks[0];
  assertEquals(size, [384, 384]);
  assertEquals(counts.reduce((sum, length) => sum + length, 0), 384 * 384);
  // The weights are trained: the mask is the lung that was asked for.
  const truth = chestPhantom({ size: 384, seed: 7, index: splitIndex("test", 0) });
  assert(
    maskDice(
      maskCounts(maskOf({ size: [384, 384], counts }).data, truth.structures["right lung"].data),
    ) > 0.8,
  );
});

Deno.test("the family's weights that ship find the heart, and answer questions with a word", async () => {
  await using place = new Workplace();
  const ask = async (plugin: string, ...more: string[]) => {
    const flags = [`--plugin=${plugin}`, "--device=wasm", "--json", "--max-new-tokens=24"];
    const { code, out, error } = await place.start(main, "run", ...flags, ...more);
    assertEquals(code, 0, error);
    const document = JSON.parse(out);
    assertEquals(document.untrained, false);
    return document;
  };
  const [found, effusion] = await Promise.all([ask("pfmvg"), ask("pefomed", "--out=first")]);
  const { structures, findings } = chestPhantom({
    size: 384,
    seed: 7,
    index: splitIndex("test", 0),
  });
  assertEquals([found.task, found.prompt], ["ground-box", "heart"]);
  assert(iou(found.phrases[0].boxes[0], maskBox(structures.heart)!) > 0.6);
  assertEquals(effusion.prompt, "Is there a pleural effusion?");
  const has = (wanted: string) => findings.some(({ label }) => label === wanted);
  assertEquals(effusion.text, has("Pleural effusion") ? "yes" : "no");
  const heart = await ask("pefomed", "--prompt=Is the heart of normal size?");
  assertEquals(heart.text, has("Cardiomegaly") ? "no" : "yes");
  const report = await ask("pefomed", "--task=report");
  assertStringIncludes(report.prompt, "Describe");
});

Deno.test("pfmvg searches with beams or by consensus and keeps to the grammar of one box", async () => {
  await using place = new Workplace();
  const flags = ["--plugin=pfmvg", "--preset=tiny", "--device=wasm", "--json", "--constrained"];
  const search = (...more: string[]) => place.start(main, "run", ...flags, ...more);
  for (const way of ["--beams=2", "--consensus=3"]) {
    const { code, out, error } = await search(way, "--prompt=left effusion");
    assertEquals(code, 0, error);
    assertMatch(JSON.parse(out).text, /^\{<\d{1,3}><\d{1,3}><\d{1,3}><\d{1,3}>\}$/);
  }
  await refused(place, [[() => search("--task=caption"), "use --task ground-box"]]);
});

Deno.test("--json prints one document and nothing else; a misnamed picture and a region work", async () => {
  await using place = new Workplace();
  await place.write("photo.png", await Deno.readFile(`${golden}odd/exif_orientation_6.jpg`));
  const args = [
    "--json",
    "--profile",
    "--out=deep/er",
    "--checkpoint",
    release,
    "--image=photo.png",
  ];
  const { code, out, error } = await place.run(...args, "--region=box:5,5,60,70");
  assertEquals(code, 0, error);
  const document = JSON.parse(out);
  assertEquals(document.regions, ["box:5,5,60,70"]);
  assertEquals(document.untrained, false);
  assertEquals(document.image.format, "jpeg");
  assert(document.profile.length > 5 && document.timings.newTokens >= 1);
  assertEquals(await place.json("deep/er/answer.json"), document);
  // EXIF orientation 6: the picture lies on its side in the file.
  const stored = new DataView((await Deno.readFile(`${place.folder}/deep/er/overlay.png`)).buffer);
  assertEquals([stored.getUint32(16), stored.getUint32(20)], [
    document.image.width,
    document.image.height,
  ]);
  assertEquals(error, "");
});

Deno.test("the same seed gives the same answer", async () => {
  await using place = new Workplace();
  const answers = await Promise.all(
    ["a", "b"].map((out) =>
      place.run("--json", "--temperature=1", "--seed=7", "--prompt=Where is it?", `--out=${out}`)
    ),
  );
  const [first, second] = answers.map(({ out }) => JSON.parse(out));
  assertEquals(first.tokens, second.tokens);
  assertEquals(first.phrases, second.phrases);
});

Deno.test({
  name: "an interrupt stops without files",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using place = new Workplace();
    const child = place.command(main, [
      "run",
      "--plugin=medplib",
      "--device=wasm",
      "--max-new-tokens=800",
      "--out=never",
    ]).spawn();
    let out = "";
    const errors = new Response(child.stderr).text();
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      if (!out.includes("Question:") && chunk.includes("Question:")) child.kill("SIGINT");
      out += chunk;
    }
    assertEquals((await child.status).code, 1);
    assertStringIncludes(await errors, "Error: Stopped before the answer was complete");
    assertEquals(place.entries(), []);
  },
});

Deno.test("help comes from the tables, and doctor works with and without an adapter", async () => {
  await using place = new Workplace();
  // The Vulkan loader then finds no driver.
  const hidden = { VK_DRIVER_FILES: "none", VK_ICD_FILENAMES: "none" };
  const [overview, help, parityHelp, plain, json, bare] = await Promise.all([
    place.start(main, "--help"),
    place.start(main, "run", "--help"),
    place.start(parity, "--help"),
    place.start(main, "doctor"),
    place.start(main, "doctor", "--json"),
    place.startWith(hidden, main, "doctor", "--json"),
  ]);
  for (const { code, error } of [overview, help, parityHelp, plain, json, bare]) {
    assertEquals(code, 0, error);
  }
  for (const command of ["run", "doctor", "bench", "parity", "train"]) {
    assertStringIncludes(overview.out, command);
  }
  for (const flag of ["--plugin NAME", "--region REGION", "--top-p P", "--json"]) {
    assertStringIncludes(help.out, flag);
  }
  assertStringIncludes(parityHelp.out, "--strict");
  assertStringIncludes(plain.out, "Backend:");
  for (const { out } of [json, bare]) {
    const report = JSON.parse(out);
    assertEquals(report.adapter === null, report.backend === "wasm");
    assert(report.advice.length > 0);
    assert(report.presets.some(({ preset }: { preset: string }) => preset === "paper"));
  }
});
