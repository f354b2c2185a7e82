import { assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { bytesSource } from "../files.ts";
import { sha256, verifySha256 } from "./hash.ts";

Deno.test("the streamed checksum is the one of Web Crypto", async () => {
  for (const length of [0, 1, 5_000_000, 2 ** 22]) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 24);
    const expected = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
    let done = 0;
    assertEquals(await sha256(bytesSource("f", bytes), (bytes) => done = bytes), expected);
    assertEquals(done, length);
    await verifySha256(bytesSource("f", bytes), expected.toUpperCase());
  }
  const wrong = verifySha256(bytesSource("f.bin", new Uint8Array(3)), "0".repeat(64));
  assertEquals((await assertRejects(() => wrong, InputError, "f.bin")).code, "HASH_MISMATCH");
});
