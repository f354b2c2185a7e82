import { assertEquals } from "@std/assert";
import { importProblems, importsOf } from "./check_imports.ts";
import { decodeText, textProblems } from "./check_text.ts";

Deno.test("imports are found in every form, and not in comments or strings", () => {
  const source = `/**
 * import { a } from "./comment.ts";
 */
// import "./line.ts";
import { b } from "../b.ts";
import {
  c,
} from "./c.ts";
import type { D } from "@medvlm/core/nn";
import "./side_effect.ts";
export * from "./e.ts";
export type Kind = "./not.ts" | "./these.ts";
const later = await import("./later.ts");
const text = \`import "\${name}.ts"\`;
`;
  assertEquals(importsOf(source), [
    "../b.ts",
    "./c.ts",
    "@medvlm/core/nn",
    "./side_effect.ts",
    "./e.ts",
    "./later.ts",
  ]);
});

const count = (path: string, source: string) => importProblems(path, source).length;

Deno.test("rooms import only what the table allows", () => {
  const cases: [string, string, number][] = [
    ["core/tensor/a.ts", 'import "../kernels/b.ts";', 0],
    ["core/kernels/a.ts", 'import "../tensor/b.ts";', 1],
    ["core/kernels/a_test.ts", 'import "../tensor/b.ts";', 0],
    ["core/checkpoint/a.ts", 'import "../kernels/quantise.ts";', 0],
    ["core/checkpoint/a.ts", 'import "../kernels/matmul.ts";', 1],
    ["core/text/a.ts", 'import "../device/mod.ts";', 1],
    ["core/attic/a.ts", 'import "../device/mod.ts";', 1],
    ["core/mod.ts", 'export * from "./nn/mod.ts";', 0],
    ["core/nn/a.ts", 'import "../../zoo/run.ts";', 1],
    ["core/nn/a.ts", 'import "@medvlm/medplib";', 1],
  ];
  for (const [path, source, problems] of cases) assertEquals(count(path, source), problems, path);
});

Deno.test("plugins import core by name, zoo imports no tests, only one file uses the host", () => {
  assertEquals(count("plugins/a/mod.ts", 'import "@medvlm/core/nn"; '), 0);
  assertEquals(count("plugins/a/mod.ts", 'import "../../core/nn/mod.ts";'), 1);
  assertEquals(count("plugins/a/mod.ts", 'import "@medvlm/b";'), 1);
  assertEquals(count("zoo/run.ts", 'import "../tests/parity/main.ts";'), 1);
  assertEquals(count("core/nn/a.ts", "const x = Deno.args;"), 1);
  assertEquals(count("core/nn/a.ts", "// Deno.args\n"), 0);
  assertEquals(count("core/files.ts", "const x = Deno.args;"), 0);
});

Deno.test("folders of machines and registry hosts are found", () => {
  const folder = ["", "home", "me", "x"].join("/");
  const host = ["https://registry", "npmjs", "org/fflate"].join(".");
  assertEquals(
    textProblems("a.md", `fine\nsee ${folder}\n${host}`).map((one) => one.split(":")[1]),
    [
      "2",
      "3",
    ],
  );
  assertEquals(textProblems("a.md", "net/work/x, ./tmp/x, jsr:@std/cli, npm:fflate"), []);
  assertEquals(textProblems("a.md", "from proxy.example", ["proxy.example"]).length, 1);
});

Deno.test("binary files are not read as text", () => {
  assertEquals(decodeText(new Uint8Array([0x89, 0x50, 0, 1])), undefined);
  assertEquals(decodeText(new Uint8Array([0xff, 0xfe])), undefined);
  assertEquals(decodeText(new TextEncoder().encode("ü")), "ü");
});
