/**
 * The main job: load a model, answer one question about one picture, write the answer.
 *
 * @module
 */
import {
  DeviceError,
  InputError,
  openDevice,
  type OpenDeviceOptions,
  type Plugin,
  type Region,
  type SearchOptions,
  type Task,
  type WeightStorage,
  writeAtomic,
} from "@medvlm/core";
import type { ProfileRow } from "@medvlm/core/device";
import { checkAnswerOptions, completeAnswer } from "./answering.ts";
import { checkWeights, defaultPreset, loadModel, withShippedWeights } from "./model_loading.ts";
import { chestXray, type Demo, drawnRadiograph } from "./demo.ts";
import { readPicture, readRegion } from "./run_inputs.ts";
import {
  answerDocument,
  notice,
  overlayPng,
  type RunRecord,
  shippedNotice,
  tokensPerSecond,
  untrainedNotice,
} from "./run_output.ts";
import { formatBytes, formatTable, formatTime, printable, type Terminal } from "./terminal.ts";

/** What to run; everything has a default. */
export interface RunOptions extends SearchOptions {
  /** Picture file. Default: the chest X-ray that ships with the zoo. */
  readonly image?: string | undefined;
  /** The question. Default: a segmentation request. */
  readonly prompt?: string | undefined;
  /** What is asked for. Default: decided by the plugin; for the demo a mask or a box. */
  readonly task?: Task | undefined;
  /** As typed, see `readRegion`. */
  readonly regions?: readonly string[];
  /** Folder of an official checkpoint. Default: the small one that ships, where there is one and no preset is named. */
  readonly checkpoint?: string | undefined;
  /** Sizes of the random weights. Default `tiny`. */
  readonly preset?: string | undefined;
  /** Where to compute. Default `auto`. */
  readonly device?: NonNullable<OpenDeviceOptions["device"]>;
  /** Storage of the large matrices. Default `f32`. */
  readonly dtype?: WeightStorage;
  /** Most tokens of the answer. Default: the plugin's. */
  readonly maxNewTokens?: number | undefined;
  /** 0, the default, takes the most probable token. */
  readonly temperature?: number;
  /** Keep the most probable tokens that reach this mass together, in (0, 1]. Default 1. */
  readonly topP?: number;
  /** Of the random weights and of sampling. Default 0. */
  readonly seed?: number;
  /** Folder for the files, created when missing. Default `./medvlm-out`. */
  readonly out?: string;
  /** Print one JSON document and nothing else to standard output. */
  readonly json?: boolean;
  /** Time every kernel and print the table. */
  readonly profile?: boolean;
  /** Check every kernel as it runs. */
  readonly debug?: boolean;
  /** Stops loading and answering; nothing is written then. */
  readonly signal?: AbortSignal;
}

const defaultOut = "./medvlm-out";

function checkUsage<C>(plugin: Plugin<C>, options: RunOptions): void {
  const { task, checkpoint, preset, prompt } = options;
  if (task !== undefined && !plugin.tasks.includes(task)) {
    throw new InputError(
      "UNSUPPORTED_TASK",
      `Cannot use --task ${task}: ${plugin.name} does ${plugin.tasks.join(", ")}`,
    );
  }
  checkAnswerOptions(plugin, options);
  checkWeights(plugin, checkpoint, preset);
  if (prompt !== undefined && prompt.trim() === "") {
    throw new InputError(
      "EMPTY_PROMPT",
      "Cannot answer an empty prompt: write a question after --prompt",
    );
  }
}

function promptKind(task: Task | undefined): keyof Demo["prompts"] {
  if (task === "report" || task === "caption") return "report";
  if (task === "ground-box") return "box";
  return task?.startsWith("ground") ? "mask" : "question";
}

/** What is asked, and as which task, when the user left one or both open. */
function question<C>(
  plugin: Plugin<C>,
  { prompt, task, regions = [] }: RunOptions,
  prompts: Demo["prompts"],
): { prompt: string; task: Task | undefined } {
  if (prompt !== undefined) return { prompt, task };
  if (regions.length > 0) return { prompt: prompts.region, task };
  const asked = task ?? plugin.tasks.find((one) => one === "ground-mask" || one === "ground-box");
  return { prompt: prompts[promptKind(asked)], task: asked };
}

/** Creates the output folder before the work starts. Returns how to undo that when the work fails. */
export async function makeFolder(path: string): Promise<() => Promise<void>> {
  try {
    if (await Deno.stat(path).then((stat) => stat.isDirectory, () => false)) {
      return () => Promise.resolve();
    }
    await Deno.mkdir(path, { recursive: true });
    return () => Deno.remove(path).catch(() => {});
  } catch (error) {
    throw new InputError(
      "NOT_WRITABLE",
      `Cannot create the folder "${path}" of --out: ${
        error instanceof Error ? error.message : error
      }; choose another`,
      { cause: error },
    );
  }
}

function throwIfStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new DeviceError("STOPPED", "Stopped before the answer was complete: nothing was written");
  }
}

function profileText(rows: readonly ProfileRow[]): string {
  const rate = (amount: number, milliseconds: number) =>
    milliseconds > 0 && amount > 0 ? (amount / milliseconds / 1e6).toPrecision(3) : "-";
  return formatTable([
    ["kernel", "count", "ms", "GFLOPS", "GB/s"],
    ...rows.map(({ name, count, milliseconds, flops, bytes }) => [
      name,
      `${count}`,
      milliseconds.toFixed(2),
      rate(flops, milliseconds),
      rate(bytes, milliseconds),
    ]),
  ]);
}

function summary(record: RunRecord): string {
  const { answer: { timings, finish, phrases, ...answer }, device, files } = record;
  const speed = tokensPerSecond(record.answer);
  const masks = phrases.reduce((sum, phrase) => sum + phrase.masks.length, 0);
  const boxes = phrases.reduce((sum, phrase) => sum + phrase.boxes.length, 0);
  const lines = [
    answer.text === "" ? "(the answer has no text)" : "",
    finish === "length" ? "The answer was cut at the token limit (see --max-new-tokens)." : "",
    `Grounded: ${masks} mask${masks === 1 ? "" : "s"}, ${boxes} box${boxes === 1 ? "" : "es"}`,
    `Answer:   ${files.answer}`,
    `Overlay:  ${files.overlay}`,
    `Time:     load ${formatTime(record.loadMilliseconds)}, prefill ${
      formatTime(timings.prefill)
    } (${timings.promptTokens} tokens), decode ${
      formatTime(timings.decode)
    } (${timings.newTokens} tokens${
      speed === undefined ? "" : `, ${speed.toPrecision(3)} tokens/s`
    }), grounding ${formatTime(timings.ground)}`,
    record.profile
      ? `\n${profileText(record.profile)}Peak device memory: ${formatBytes(device.memory.peak)}`
      : "",
  ];
  return lines.filter((line) => line !== "").join("\n") + "\n";
}

/**
 * Answers one question and writes `answer.json` and `overlay.png`.
 *
 * @throws {InputError} for unusable input, before or after loading.
 * @throws {DeviceError} when the model does not fit or the device fails, and when the run is stopped.
 */
export async function run<C>(
  plugin: Plugin<C>,
  given: RunOptions,
  terminal: Terminal,
): Promise<void> {
  checkUsage(plugin, given);
  const options = await withShippedWeights(plugin.name, given);
  const { json = false, out = defaultOut, dtype = "f32", signal } = options;
  // The weights that ship were trained on drawn pictures.
  const shipped = options.checkpoint !== given.checkpoint;
  const demo = shipped ? drawnRadiograph : chestXray;
  const { image } = options;
  const { prompt, task } = question(plugin, options, demo.prompts);
  const { raster, format } = await (image === undefined ? demo.read() : readPicture(image));
  const regions: Region[] = [];
  for (const text of options.regions ?? []) regions.push(await readRegion(text, raster));
  throwIfStopped(signal);

  const say = json ? () => {} : (text: string) => terminal.out(text);
  const start = terminal.now();
  const folder = out.replace(/(?<=.)\/+$/, "");
  let streaming = false;
  const removeFolder = await makeFolder(folder);
  try {
    await using device = await openDevice({
      device: options.device ?? "auto",
      checked: options.debug ?? false,
    });
    say(`${plugin.name} on ${device.info.name} (${device.kind}), ${dtype}. ${notice}\n`);
    await using model = await loadModel(plugin, options, device, terminal);
    const loadMilliseconds = terminal.now() - start;
    if (model.untrained) say(`${untrainedNotice}\n`);
    if (shipped) say(`${shippedNotice}\n`);
    say(`Image:    ${image ?? demo.what}, ${raster.width}x${raster.height}\n`);
    say(`Question: ${printable(prompt.length > 200 ? `${prompt.slice(0, 200)}...` : prompt)}\n\n`);
    streaming = true;
    if (options.profile) device.profile(true);
    const answer = await completeAnswer(
      model,
      { image: raster, prompt, ...(task ? { task } : {}), regions },
      options,
      // Text that would steer a terminal is replaced.
      (text) => say(printable(text)),
    );
    streaming = false;
    throwIfStopped(signal);
    if (answer.finish === "aborted") throwIfStopped(AbortSignal.abort());
    const profile = options.profile ? await device.profileRows() : undefined;
    const record: RunRecord = {
      plugin: plugin.name,
      checkpoint: options.checkpoint,
      preset: options.checkpoint === undefined ? options.preset ?? defaultPreset : undefined,
      untrained: model.untrained,
      device,
      dtype,
      image: { file: image ?? demo.file, format, raster },
      prompt,
      task,
      regions: options.regions ?? [],
      answer,
      loadMilliseconds,
      weightBytes: model.weightBytes,
      profile,
      files: { answer: `${folder}/answer.json`, overlay: `${folder}/overlay.png` },
    };
    const document = JSON.stringify(answerDocument(record), null, 2) + "\n";
    const picture = overlayPng(raster, regions, answer);
    await writeAtomic(record.files.overlay, picture);
    await writeAtomic(record.files.answer, document);
    say(`${answer.text === "" ? "" : "\n\n"}${summary(record)}`);
    if (json) terminal.out(document);
  } catch (error) {
    if (streaming) say("\n");
    await removeFolder();
    throwIfStopped(signal);
    throw error;
  }
}
