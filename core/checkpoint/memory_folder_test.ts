import { assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { openFolder } from "../files.ts";
import { memoryFolder } from "./memory_folder.ts";

const noBytes = new Uint8Array();

Deno.test("folders list one level, in memory as on disk", async () => {
  const memory = memoryFolder(
    "m",
    new Map([["a.txt", noBytes], ["b/c.txt", noBytes], ["b/d/e.txt", noBytes]]),
  );
  const root = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${root}/b/d`, { recursive: true });
    for (const file of ["a.txt", "b/c.txt", "b/d/e.txt"]) {
      await Deno.writeFile(`${root}/${file}`, noBytes);
    }
    for (const folder of [memory, await openFolder(root)]) {
      assertEquals(await folder.list(), ["a.txt", "b"]);
      assertEquals(await folder.list("b"), ["c.txt", "d"]);
      assertEquals(await folder.list("b/d"), ["e.txt"]);
      assertEquals(await folder.has("b/d/e.txt"), true);
      assertEquals(await folder.has("b/d"), false);
      const missing = await assertRejects(() => folder.list("none"), InputError);
      assertEquals(missing.code, "NOT_FOUND");
      const file = await assertRejects(() => folder.list("a.txt"), InputError);
      assertEquals(file.code, "NOT_FOUND");
      const outside = await assertRejects(() => folder.list("../x"), InputError);
      assertEquals(outside.code, "UNSAFE_PATH");
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
