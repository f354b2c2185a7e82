/**
 * A project outside the workspace imports a plugin from a JSR registry and uses it.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { serveRegistry, standardLibrary } from "../zoo/registry/serve.ts";
import { spellOut, workspacePackages } from "../zoo/registry/workspace.ts";

const root = new URL("../", import.meta.url);

Deno.test("bare specifiers are spelled out as publishing does", () => {
  const imports = { "fflate": "npm:fflate@^1", "@medvlm/core": "jsr:@medvlm/core@^0.1.0" };
  assertEquals(
    spellOut('import { a } from "fflate";', imports),
    'import { a } from "npm:fflate@^1";',
  );
  assertEquals(
    spellOut('export * from "@medvlm/core/nn"; import x from "./a.ts";', imports),
    'export * from "jsr:@medvlm/core@^0.1.0/nn"; import x from "./a.ts";',
  );
});

Deno.test("a plugin imported from a registry answers", async () => {
  const registry = await serveRegistry([
    ...await standardLibrary(),
    ...await workspacePackages(root),
  ]);
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/main.ts`,
      `import { openDevice } from "jsr:@medvlm/core@^0.1.0";
import { medplib } from "jsr:@medvlm/medplib@^0.1.0";
const device = await openDevice({ device: "wasm" });
await using model = await medplib.init(medplib.presets.tiny, { device, seed: 1 });
const image = { width: 32, height: 24, channels: 1 as const, bitDepth: 8, data: new Uint8Array(768).fill(90) };
for await (const event of model.answer({ image, prompt: "What is this?" }, { maxNewTokens: 3 })) {
  if (event.type === "done") console.log("tokens", event.answer.tokens.length);
}
`,
    );
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      // A cache of its own: the version number stays while the sources change.
      args: ["run", "-A", "--quiet", "--no-lock", "--reload=" + registry.url, "main.ts"],
      cwd: folder,
      env: { JSR_URL: registry.url },
    }).output();
    assertEquals(success, true, new TextDecoder().decode(stderr));
    assertStringIncludes(new TextDecoder().decode(stdout), "tokens");
  } finally {
    await registry.close();
    await Deno.remove(folder, { recursive: true });
  }
});
