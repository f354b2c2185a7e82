import { assertEquals, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { longestSideSize, normalise, padCentred, padPlanesCentred } from "./normalise.ts";
import { raster, type Raster8 } from "./raster.ts";

const image = raster(2, 1, 3, Uint8Array.of(1, 2, 3, 4, 5, 6)) as Raster8;

Deno.test("normalising turns interleaved samples into planes", () => {
  const planes = normalise(image, { mean: [1, 1, 1], std: [1, 2, 4] });
  assertEquals([planes.channels, planes.height, planes.width], [3, 1, 2]);
  assertEquals([...planes.data], [0, 3, 0.5, 2, 0.5, 1.25]);
  assertEquals([...normalise(image, { mean: [0, 0, 0], std: [1, 1, 1] }, 0.5).data], [
    0.5,
    2,
    1,
    2.5,
    1.5,
    3,
  ]);
});

Deno.test("statistics must match the channels", () => {
  for (const std of [[1, 1], [1, 0, 1]]) {
    const error = assertThrows(() => normalise(image, { mean: [0, 0, 0], std }), InputError);
    assertEquals(error.code, "BAD_STATISTICS");
  }
});

Deno.test("padding is centred, the odd rest lies right and below", () => {
  const padded = padCentred(image, 3, 3, [7, 8, 9]);
  assertEquals([...padded.data.subarray(9, 18)], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const planes = padPlanesCentred(
    { channels: 1, height: 1, width: 2, data: Float32Array.of(1, 2) },
    5,
    2,
    -1,
  );
  assertEquals([...planes.data], [-1, 1, 2, -1, -1, -1, -1, -1, -1, -1]);
  assertThrows(() => padCentred(image, 1, 3, [0, 0, 0]), InputError);
  assertThrows(() => padCentred(image, 3, 3, [0]), InputError);
});

Deno.test("the longer side fits, the other is rounded half up", () => {
  assertEquals(longestSideSize(150, 100, 256), { width: 256, height: 171 });
  assertEquals(longestSideSize(300, 420, 256), { width: 183, height: 256 });
  assertEquals(longestSideSize(10, 1, 5), { width: 5, height: 1 });
  assertThrows(() => longestSideSize(1000, 1, 256), InputError);
});
