/**
 * `eval` as a user meets it: started as a process, killed and started again, judged by exit code, output and files.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

const main = new URL("../zoo/main.ts", import.meta.url).pathname;
const data = new URL("./golden/data/", import.meta.url).pathname;

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

function command(folder: string, args: readonly string[]): Deno.Command {
  const lock = Deno.env.get("JSR_URL") ? ["--no-lock"] : [];
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", ...lock, main, "eval", ...args],
    cwd: folder,
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: folder },
  });
}

async function start(folder: string, ...args: string[]): Promise<Ended> {
  const { code, stdout, stderr } = await command(folder, args).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), error: text.decode(stderr) };
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const entries = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
const json = async (path: string) => JSON.parse(await Deno.readTextFile(path));

/** Complete lines of a file that may not be there yet. */
async function linesOf(path: string): Promise<string[]> {
  const text = await Deno.readTextFile(path).catch(() => "");
  return text.split("\n").slice(0, -1);
}

/** Waits until the file has so many complete lines, or the process has ended. */
async function waitForLines(path: string, count: number, child: Deno.ChildProcess): Promise<void> {
  let ended = false;
  child.status.then(() => ended = true);
  while (!ended && (await linesOf(path)).length < count) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A line without what depends on the speed of the machine. */
function untimed(line: string): Record<string, unknown> {
  const { timings: _, ...rest } = JSON.parse(line);
  return rest;
}

Deno.test({
  name: "whatever ends a run, the same command goes on and ends with the same predictions",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const flags = (out: string) => [
        "--plugin=medplib",
        "--preset=tiny",
        "--dataset=mecovqa",
        `--data=${data}mecovqa`,
        `--images=${data}sa_med2d_20m`,
        "--limit=6",
        "--device=wasm",
        "--max-new-tokens=2",
        "--resamples=50",
        `--out=${out}`,
      ];
      const whole = start(folder, ...flags("whole"));

      const file = `${folder}/cut/predictions.jsonl`;
      const first = command(folder, flags("cut")).spawn();
      await waitForLines(file, 2, first);
      first.kill("SIGINT");
      const { code, stdout: _, stderr } = await first.output();
      assertEquals(code, 1);
      const said = new TextDecoder().decode(stderr);
      assertStringIncludes(said, "the same command goes on from there");
      assert(!said.includes("    at "), said);
      assert(!entries(`${folder}/cut`).includes("metrics.json"));

      const before = (await linesOf(file)).length;
      const second = command(folder, flags("cut")).spawn();
      await waitForLines(file, before + 2, second);
      second.kill("SIGKILL");
      await second.output();
      const lines = await linesOf(file);
      assert(lines.length >= before + 2);
      // The machine itself went down: half of the last line is missing.
      const bytes = await Deno.readFile(file);
      const last = new TextEncoder().encode(lines.at(-1)!).length;
      await Deno.truncate(file, bytes.length - Math.ceil(last / 2));

      const third = await start(folder, ...flags("cut"));
      assertEquals(third.code, 0, third.error);
      assertStringIncludes(third.out, `Going on: ${lines.length - 2} predictions`);

      const { code: wholeCode, error } = await whole;
      assertEquals(wholeCode, 0, error);
      const expected = await linesOf(`${folder}/whole/predictions.jsonl`);
      assertEquals(expected.length, 1 + 6);
      assertEquals((await linesOf(file)).map(untimed), expected.map(untimed));
      assertEquals(
        await Deno.readTextFile(`${folder}/cut/metrics.json`),
        await Deno.readTextFile(`${folder}/whole/metrics.json`),
      );
      assertEquals(entries(`${folder}/cut`), ["metrics.json", "predictions.jsonl", "report.html"]);

      // Other options in the same folder would mix two systems.
      const other = await start(folder, ...flags("cut"), "--seed=7");
      assertEquals(other.code, 2);
      assertStringIncludes(other.error, "seed was 0 and is 7");

      const again = await start(folder, "--predictions=cut/predictions.jsonl", "--resamples=50");
      assertEquals(again.code, 0, again.error);
      const scored = await json(`${folder}/medvlm-eval/predictions/metrics.json`);
      const { tasks } = await json(`${folder}/whole/metrics.json`);
      assertEquals(scored.tasks, tasks);
      assertEquals(scored.untrained, true);
    }),
});

Deno.test("the example of the documentation gives the numbers of the documentation", () =>
  inFolder(async (folder) => {
    const text = await Deno.readTextFile(new URL("../docs/eval.md", import.meta.url));
    const example = /An example, `answers\.jsonl`:\n\n```json\n([^`]*)```/.exec(text)![1];
    await Deno.writeTextFile(`${folder}/answers.jsonl`, example);
    const { code, out, error } = await start(folder, "--predictions", "answers.jsonl", "--json");
    assertEquals(code, 0, error);
    const document = JSON.parse(out);
    assertEquals(document, await json(`${folder}/medvlm-eval/answers/metrics.json`));
    const rows = [...text.matchAll(/^\| ([\w-]+) \| ([\w@.]+) \| ([\d.]+) \|$/gm)];
    assertEquals(rows.length, 7);
    for (const [, task, metric, value] of rows) {
      const { value: found, low, high } = document.tasks[task].metrics[metric];
      assertEquals(found.toFixed(3), value, `${task} ${metric}`);
      assert(low <= found && found <= high);
    }
    assertEquals(document.leftOut.predictions, 0);
    const page = await Deno.readTextFile(`${folder}/medvlm-eval/answers/report.html`);
    assertStringIncludes(page, "Research software, not for clinical use.");
    // One picture: the mask, whose size is known.
    assertEquals(page.match(/src="data:image\/png;base64,/g)?.length, 1);
    assert(!/(?:src|href)="?(?:https?:|\/\/)/.test(page));
  }));

Deno.test("damaged lines are counted, or an error in strict mode; texts cannot break the page", () =>
  inFolder(async (folder) => {
    const good = { id: "1", task: "vqa", answer: "<script>alert(1)</script>", reference: "no" };
    const lines = [
      JSON.stringify(good),
      '{"id": "2", "task"',
      '{"id": "3", "task": "guess", "answer": "x"}',
      JSON.stringify(good),
      '{"id": "4", "task": "ground-mask", "masks": [{"size": [2, 2], "counts": [4]}], "reference": {"masks": [{"size": [1, 2], "counts": [2]}]}}',
    ];
    await Deno.writeTextFile(`${folder}/p.jsonl`, lines.join("\n"));
    const { code, out, error } = await start(folder, "--predictions=p.jsonl", "--out=o");
    assertEquals(code, 0, error);
    assertStringIncludes(out, "Left out: 4 predictions that cannot be used");
    assertStringIncludes(error, "p.jsonl:2: the line is not JSON");
    assertStringIncludes(error, '"task" is "guess"');
    assertStringIncludes(error, "occurs twice");
    const { leftOut, problems } = await json(`${folder}/o/metrics.json`);
    assertEquals(leftOut.predictions, 4);
    assertEquals(problems.map(({ line }: { line?: number }) => line), [2, 3, 4, undefined]);
    const page = await Deno.readTextFile(`${folder}/o/report.html`);
    assert(!page.includes("<script"));

    const strict = await start(folder, "--predictions=p.jsonl", "--out=s", "--strict");
    assertEquals(strict.code, 2);
    assertStringIncludes(strict.error, '"p.jsonl" line 2');
    assertEquals(entries(folder), ["o", "p.jsonl"]);
  }));

Deno.test("references of a dataset, answers of another system", () =>
  inFolder(async (folder) => {
    const answers = [
      { id: "1", answer: "yes" },
      { id: "2", split: "train", answer: "No." },
      { id: "no such example", answer: "yes" },
    ];
    const lines = answers.map((one) => `${JSON.stringify(one)}\n`).join("");
    await Deno.writeTextFile(`${folder}/theirs.jsonl`, lines);
    const { code, out, error } = await start(
      folder,
      "--predictions=theirs.jsonl",
      "--dataset=vqa_rad",
      `--data=${data}vqa_rad`,
      "--split=train",
      "--json",
    );
    assertEquals(code, 0, error);
    const { tasks, leftOut } = JSON.parse(out);
    assertEquals([tasks.vqa.n, tasks.vqa.metrics.accuracy.value], [2, 1]);
    assertEquals(leftOut, {
      records: 0,
      failed: 0,
      unsupported: 0,
      missing: 320,
      unknown: 1,
      predictions: 0,
    });
  }));

Deno.test("predictions on MS-CXR are printed beside the tables of the paper, others are not", () =>
  inFolder(async (folder) => {
    const line = {
      id: "1",
      task: "ground-box",
      answer: "{<10><10><20><20>}",
      width: 100,
      height: 100,
      reference: { boxes: [{ label: "Edema", box: [10, 10, 20, 20] }] },
    };
    const write = (name: string, dataset: string) =>
      Deno.writeTextFile(
        `${folder}/${name}.jsonl`,
        [{ predictions: 1, run: { plugin: "theirs", dataset } }, line]
          .map((one) => `${JSON.stringify(one)}\n`).join(""),
      );
    await Promise.all([write("fits", "ms_cxr"), write("other", "vindr_cxr")]);
    const fits = await start(folder, "--predictions=fits.jsonl");
    assertEquals(fits.code, 0, fits.error);
    assertMatch(fits.out, /^this evaluation .* 1\.000 .* 1\.000$/m);
    assertMatch(fits.out, /^PFMVG \(paper\) +0\.446 .* 0\.377 +0\.407$/m);
    const page = await Deno.readTextFile(`${folder}/medvlm-eval/fits/report.html`);
    assertStringIncludes(page, "<td>PFMVG (paper)</td>");
    assertStringIncludes(page, '<th class="number">Cardiomegaly</th>');
    const other = await start(folder, "--predictions=other.jsonl");
    assertEquals(other.code, 0, other.error);
    assert(!other.out.includes("(paper)"));
  }));

Deno.test("a dataset is listed without running anything", () =>
  inFolder(async (folder) => {
    const list = (...more: string[]) =>
      start(folder, "--list", "--dataset=vqa_rad", `--data=${data}vqa_rad`, ...more);
    const [plain, machine] = await Promise.all([list(), list("--json", "--split=test")]);
    assertEquals([plain.code, machine.code], [0, 0], plain.error + machine.error);
    assertStringIncludes(plain.out, "vqa_rad: 459 examples, 36 pictures or volumes");
    assertStringIncludes(plain.out, "train  322  322");
    const { examples, parts, answerTypes } = JSON.parse(machine.out);
    assertEquals([examples, parts], [137, [{ split: "test", task: "vqa", count: 137 }]]);
    assertEquals(answerTypes.open + answerTypes.closed, 137);
    assertEquals(entries(folder), []);
  }));

Deno.test("wrong usage is one sentence, exit code 2, and leaves nothing behind", () =>
  inFolder(async (folder) => {
    const dataset = ["--dataset=vqa_rad", `--data=${data}vqa_rad`];
    const starts: [args: string[], words: string][] = [
      [[], "add --plugin medplib"],
      [["--plugin=medplib"], "without a dataset"],
      [["--plugin=medplib", "--predictions=x", ...dataset], "choose one of them"],
      [["--list", "--dataset=vqa-rad", "--data=."], "did you mean vqa_rad"],
      [["--list", "--dataset=slake", `--data=${data}roco`], "holds none of"],
      [["--plugin=medplib", "--dataset=roco", "--data=nowhere"], "no such file"],
      [["--plugin=medplib", "--dataset=slake", `--data=${data}slake`], "records were left out"],
      [["--predictions=missing.jsonl"], "no such file"],
      [["--predictions=x", "--split=test"], "--dataset"],
      [["--predictions=x", "--checkpoint=c"], "without --plugin"],
      [["--predictions=x", "--constrained"], "Cannot use --constrained without --plugin"],
      [["--plugin=medplib", "--beams=2", ...dataset], "Cannot use --beams with medplib"],
      [["--predictions=x", "--judge-url=http://localhost"], "--judge-model"],
      [["--predictions=x", "--judge-url=nonsense", "--judge-model=m"], "no web address"],
      [["--predictions=x", "--limit=0"], "--limit"],
    ];
    for (let i = 0; i < starts.length; i += 2) {
      await Promise.all(
        starts.slice(i, i + 2).map(async ([args, words]) => {
          const { code, error, out } = await start(folder, ...args);
          const line = error.split("\n").find((one) => one.startsWith("Error: ")) ?? "";
          assertStringIncludes(line, words);
          assertEquals(code, 2, `${line} ${out}`);
          assert(!line.endsWith("."), line);
        }),
      );
    }
    assertEquals(entries(folder), []);
  }));
