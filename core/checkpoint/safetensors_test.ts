import { assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { bytesSource } from "../files.ts";
import { joinChunks } from "./memory_folder.ts";
import { readSafetensors, safetensorsChunks } from "./safetensors.ts";
import { memoryTensor } from "./tensor_data.ts";

function file(header: string, data = 0): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + data);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

async function codeOf(header: string, data = 0): Promise<string> {
  const error = await assertRejects(
    () => readSafetensors(bytesSource("f.safetensors", file(header, data))),
    InputError,
    "f.safetensors",
  );
  return error.code;
}

Deno.test("what is written reads back, in order, aligned and with metadata", async () => {
  const tensors = [
    memoryTensor("b.β", "U8", [3], Uint8Array.of(1, 2, 3)),
    memoryTensor("a", "F32", [1, 2], new Uint8Array(new Float32Array([1, -2]).buffer)),
    memoryTensor("none", "F16", [2, 0], new Uint8Array(0)),
    memoryTensor("scalar", "I64", [], new Uint8Array(new BigInt64Array([-7n]).buffer)),
  ];
  const bytes = await joinChunks(
    safetensorsChunks(tensors, { metadata: { format: "pt", x: "ü" } }),
  );
  assertEquals(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8, 0);
  const { tensors: back, metadata } = await readSafetensors(bytesSource("x", bytes));
  assertEquals([...back.keys()], ["b.β", "a", "none", "scalar"]);
  assertEquals(Object.fromEntries(metadata), { format: "pt", x: "ü" });
  for (const tensor of tensors) {
    const { dtype, shape } = back.get(tensor.name)!;
    assertEquals([dtype, shape], [tensor.dtype, tensor.shape]);
    assertEquals(await back.get(tensor.name)!.read(), await tensor.read());
  }
});

Deno.test("two tensors of one name are not written", async () => {
  const tensor = memoryTensor("a", "U8", [0], new Uint8Array(0));
  const error = await assertRejects(
    () => joinChunks(safetensorsChunks([tensor, tensor])),
    InputError,
  );
  assertEquals(error.code, "INVALID_NAME");
});

Deno.test("headers that the reference refuses are refused with its reason", async () => {
  const one = (fields: string) => `{"w":{${fields}}}`;
  const cases: [string, number, string][] = [
    ["", 0, "INVALID_HEADER_JSON"],
    ["null", 0, "INVALID_HEADER_JSON"],
    [`{"w":[]}`, 0, "INVALID_HEADER_JSON"],
    [one(`"dtype":{"toString":1},"shape":[1],"data_offsets":[0,4]`), 4, "INVALID_HEADER_JSON"],
    [one(`"dtype":"F32","shape":[1.0],"data_offsets":[0,4]`), 4, "INVALID_HEADER_JSON"],
    [one(`"dtype":"F32","shape":[1e0],"data_offsets":[0,4]`), 4, "INVALID_HEADER_JSON"],
    [
      one(`"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]`),
      4,
      "INVALID_HEADER_JSON",
    ],
    [one(`"dtype":"F32","shape":[1],"data_offsets":[0,4,8]`), 4, "INVALID_HEADER_JSON"],
    [one(`"dtype":"F32","shape":[1],"data_offsets":[0,"4"]`), 4, "INVALID_HEADER_JSON"],
    [one(`"dtype":"U16","shape":[2],"data_offsets":[0,4]`), 4, "UNSUPPORTED_DTYPE"],
    [one(`"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]`), 4, "OVERFLOW"],
    [one(`"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]`), 0, "OVERFLOW"],
    [one(`"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]`), 4, "SIZE_MISMATCH"],
    [one(`"dtype":"F32","shape":[1],"data_offsets":[0,4]`), 3, "INCOMPLETE_BUFFER"],
    [`{"__metadata__":[]}`, 0, "INVALID_HEADER_JSON"],
  ];
  for (const [header, data, code] of cases) assertEquals(await codeOf(header, data), code, header);
  assertEquals(await codeOf("[".repeat(200_000)), "INVALID_HEADER_JSON");
});

Deno.test("names with a meaning in JavaScript are ordinary names", async () => {
  const header =
    `{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"__metadata__":null}`;
  const { tensors } = await readSafetensors(bytesSource("x", file(header, 1)));
  assertEquals([...tensors.keys()], ["__proto__"]);
});

Deno.test("a pointer file is called what it is", async () => {
  const text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  const source = bytesSource("p.safetensors", new TextEncoder().encode(text));
  const error = await assertRejects(() => readSafetensors(source), InputError, "Git LFS");
  assertEquals(error.code, "HEADER_TOO_LARGE");
});
