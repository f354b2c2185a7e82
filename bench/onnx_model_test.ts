import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { type OnnxGraph, onnxModel, type OnnxType, type OnnxValue } from "./onnx_model.ts";
import { openPeer } from "./peer.ts";

const value = (name: string, shape: number[], type: OnnxType = "float32"): OnnxValue => ({
  name,
  type,
  shape,
});

async function run(
  graph: OnnxGraph,
  feeds: Record<string, Float32Array<ArrayBuffer>>,
): Promise<Float32Array> {
  const peer = await openPeer("wasm", { graph, feeds, note: "" });
  try {
    return await peer.output();
  } finally {
    await peer.close();
  }
}

// The runtime keeps its module and timers for the life of the process.
function runtimeTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

Deno.test("a node is written field by field", () => {
  const bytes = onnxModel({
    inputs: [],
    outputs: [value("y", [300])],
    nodes: [{ operator: "A", inputs: ["x", ""], outputs: ["y"], attributes: { axis: -1 } }],
  });
  const text = (word: string) => [...new TextEncoder().encode(word)];
  // Field and wire type, length, content; -1 takes ten bytes, 300 two.
  const minusOne = [...Array(9).fill(255), 1];
  const attribute = [10, 4, ...text("axis"), 24, ...minusOne, 160, 1, 2];
  const node = [10, 1, ...text("x"), 10, 0, 18, 1, ...text("y"), 34, 1, ...text("A")];
  const withAttribute = [...node, 42, attribute.length, ...attribute];
  const shape = [18, 5, 10, 3, 8, 172, 2];
  const type = [10, 2 + shape.length, 8, 1, ...shape];
  const output = [10, 1, ...text("y"), 18, type.length, ...type];
  const graph = [
    ...[10, withAttribute.length, ...withAttribute],
    ...[18, 3, ...text("row")],
    ...[98, output.length, ...output],
  ];
  const expected = [
    ...[8, 10, 58, graph.length, ...graph],
    ...[66, 4, 10, 0, 16, 21],
    ...[66, 17, 10, 13, ...text("com.microsoft"), 16, 1],
  ];
  assertEquals([...bytes], expected);
});

runtimeTest("the runtime multiplies by a constant", async () => {
  const y = await run({
    inputs: [value("x", [2, 3])],
    outputs: [value("y", [2, 2])],
    constants: [{ ...value("w", [3, 2]), data: Float32Array.of(1, 2, 3, 4, 5, 6) }],
    nodes: [{ operator: "MatMul", inputs: ["x", "w"], outputs: ["y"] }],
  }, { x: Float32Array.of(1, 0, 0, 1, 1, -1) });
  assertEquals([...y], [1, 2, -1, 0]);
});

runtimeTest("integers, floats, lists and text are attributes", async () => {
  const y = await run({
    inputs: [value("x", [1, 2])],
    outputs: [value("y", [2, 1])],
    nodes: [
      {
        operator: "LeakyRelu",
        inputs: ["x"],
        outputs: ["r"],
        attributes: { alpha: { float: 0.25 } },
      },
      { operator: "Transpose", inputs: ["r"], outputs: ["t"], attributes: { perm: [1, 0] } },
      { operator: "Gelu", inputs: ["t"], outputs: ["y"], attributes: { approximate: "tanh" } },
    ],
  }, { x: Float32Array.of(-4, 2) });
  const gelu = (v: number) =>
    0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
  assertAlmostEquals(y[0]!, gelu(-1), 1e-6);
  assertAlmostEquals(y[1]!, gelu(2), 1e-6);
});

runtimeTest("contributed operators take packed constants", async () => {
  // Quants 0..15 in both halves of each byte, about 8: (q - 8) / 2.
  const w = Uint8Array.from({ length: 16 }, (_, i) => i * 17);
  const y = await run({
    inputs: [value("x", [1, 32])],
    outputs: [value("y", [1, 1])],
    constants: [
      { ...value("w", [1, 1, 16], "uint8"), data: w },
      { ...value("scales", [1]), data: Float32Array.of(0.5) },
    ],
    nodes: [{
      operator: "MatMulNBits",
      domain: "com.microsoft",
      inputs: ["x", "w", "scales"],
      outputs: ["y"],
      attributes: { K: 32, N: 1, bits: 4, block_size: 32 },
    }],
  }, { x: new Float32Array(32).fill(1) });
  assertAlmostEquals(y[0]!, -8, 1e-6);
});

runtimeTest("the runtime names what a graph lacks", async () => {
  const graph: OnnxGraph = {
    inputs: [value("x", [1])],
    outputs: [value("y", [1])],
    nodes: [{ operator: "NoSuchOperator", inputs: ["x"], outputs: ["y"] }],
  };
  const error = await assertRejects(() => run(graph, { x: Float32Array.of(1) }));
  assert(String(error).includes("NoSuchOperator"));
});
