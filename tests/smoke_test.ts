import { assertEquals } from "@std/assert";
Deno.test("x", () => assertEquals(1, 1));
