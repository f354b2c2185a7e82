import { assertEquals } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { pretending, variants } from "../kernels/variant_testing.ts";
import { attention, type AttentionOptions, type AttentionShape } from "./attention.ts";
import { multiply } from "./elementwise.ts";
import { type CheckedInput, checkGradients } from "./gradient_testing.ts";
import type { HeadsView } from "./heads.ts";
import { sumRows } from "./reduction.ts";
import { differentiate } from "./tape.ts";
import { type Tensor, tensor } from "./tensor.ts";

interface Case extends AttentionShape {
  readonly causal?: boolean;
  readonly lengths?: readonly number[];
  readonly grid?: readonly [number, number];
  readonly scale?: number;
  /** Also with the kernels for GPUs, each of which costs seconds of compiling on a software adapter. */
  readonly gpu?: boolean;
  /** Names of the tensors that hold q, k and v: equal names are views of one tensor. Default q, k, v. */
  readonly held?: readonly [string, string, string];
  /** First elements of the views, and columns of the tensors by name. Default: one after another, nothing else. */
  readonly offsets?: readonly [number, number, number];
  readonly columns?: Readonly<Record<string, number>>;
}

/** A case with its defaults filled in. */
function complete(shape: Case) {
  const { heads, headSize, keyHeads = heads, valueSize = headSize } = shape;
  const { held = ["q", "k", "v"], grid = [1, 1], scale = 1 / Math.sqrt(headSize) } = shape;
  const widths = [heads * headSize, keyHeads * headSize, keyHeads * valueSize] as const;
  const columns: Record<string, number> = {};
  const offsets = held.map((name, i) => {
    const offset = columns[name] ?? 0;
    columns[name] = offset + widths[i]!;
    return offset;
  });
  return {
    ...shape,
    keyHeads,
    valueSize,
    held,
    grid,
    scale,
    offsets: shape.offsets ?? offsets as [number, number, number],
    columns: shape.columns ?? columns,
  };
}

type Values = Record<string, Float64Array>;

/** Scores' place in the tables of relative positions. */
function tableRows(i: number, j: number, [high, wide]: readonly [number, number]) {
  return [
    Math.floor(i / wide) - Math.floor(j / wide) + high - 1,
    i % wide - j % wide + wide - 1,
  ] as const;
}

/** The definition in float64 and, where the gradient of its result is given, its gradients by name. */
function definition(shape: Case, values: Values, gradient?: ArrayLike<number>) {
  const all = complete(shape);
  const { batch, queries, keys, heads, headSize, keyHeads, valueSize, held, grid, scale } = all;
  const output = new Float64Array(batch * queries * heads * valueSize);
  const gradients: Values = {};
  for (const name in values) gradients[name] = new Float64Array(values[name]!.length);
  const at = (operand: number, token: number, start: number) =>
    all.offsets[operand]! + token * all.columns[held[operand]!]! + start;
  const [q, k, v] = held.map((name) => values[name]!) as [Float64Array, Float64Array, Float64Array];
  const [dq, dk, dv] = held.map((name) => gradients[name]!) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const { height, width } = values, { height: dHeight, width: dWidth } = gradients;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const kh = Math.floor(h * keyHeads / heads);
      for (let i = 0; i < queries; i++) {
        const from = at(0, b * queries + i, h * headSize);
        let end = Math.min(keys, shape.lengths?.[b] ?? keys);
        if (shape.causal) end = Math.min(end, i + keys - queries + 1);
        if (end <= 0) continue;
        const scores = Array.from({ length: end }, (_, j) => {
          const key = at(1, b * keys + j, kh * headSize);
          const [down, across] = tableRows(i, j, grid);
          let sum = 0;
          for (let d = 0; d < headSize; d++) {
            sum += q[from + d]! * scale * k[key + d]!;
            if (height !== undefined) {
              sum += q[from + d]! *
                (height[down * headSize + d]! + width![across * headSize + d]!);
            }
          }
          return sum;
        });
        const highest = Math.max(...scores);
        const powers = scores.map((score) => Math.exp(score - highest));
        const total = powers.reduce((sum, power) => sum + power, 0);
        const to = ((b * queries + i) * heads + h) * valueSize;
        powers.forEach((power, j) => {
          const value = at(2, b * keys + j, kh * valueSize);
          for (let d = 0; d < valueSize; d++) output[to + d]! += power / total * v[value + d]!;
        });
        if (gradient === undefined) continue;
        let correction = 0;
        for (let d = 0; d < valueSize; d++) correction += gradient[to + d]! * output[to + d]!;
        powers.forEach((power, j) => {
          const p = power / total;
          const key = at(1, b * keys + j, kh * headSize);
          const value = at(2, b * keys + j, kh * valueSize);
          const [down, across] = tableRows(i, j, grid);
          let dp = 0;
          for (let d = 0; d < valueSize; d++) {
            dp += gradient[to + d]! * v[value + d]!;
            dv[value + d]! += p * gradient[to + d]!;
          }
          const ds = p * (dp - correction);
          for (let d = 0; d < headSize; d++) {
            dq[from + d]! += scale * ds * k[key + d]!;
            dk[key + d]! += scale * ds * q[from + d]!;
            if (height === undefined) continue;
            dq[from + d]! += ds * (height[down * headSize + d]! + width![across * headSize + d]!);
            dHeight![down * headSize + d]! += ds * q[from + d]!;
            dWidth![across * headSize + d]! += ds * q[from + d]!;
          }
        });
      }
    }
  }
  return { output, gradients };
}

function inputsOf(shape: Case): Record<string, CheckedInput> {
  const { batch, queries, keys, headSize, held, columns, grid } = complete(shape);
  const inputs: Record<string, CheckedInput> = {};
  held.forEach((name, i) => {
    inputs[name] = { shape: [batch * (i === 0 ? queries : keys), columns[name]!] };
  });
  if (shape.grid !== undefined) {
    inputs.height = { shape: [2 * grid[0] - 1, headSize] };
    inputs.width = { shape: [2 * grid[1] - 1, headSize] };
  }
  return inputs;
}

function operate(device: Device, shape: Case, tensors: Record<string, Tensor>): Tensor {
  const { held, offsets, scale } = complete(shape);
  const views = held.map((name, i) => ({ tensor: tensors[name]!, offset: offsets[i]! })) as [
    HeadsView,
    HeadsView,
    HeadsView,
  ];
  const options: AttentionOptions = {
    scale,
    causal: shape.causal ?? false,
    ...(shape.lengths && { keyLengths: tensor(device, Uint32Array.from(shape.lengths)) }),
    ...(shape.grid &&
      { relative: { grid: shape.grid, height: tensors.height!, width: tensors.width! } }),
  };
  return attention(...views, shape, options);
}

const fused = ["qkv", "qkv", "qkv"] as const;

const small: readonly Case[] = [
  { batch: 1, queries: 1, keys: 1, heads: 1, headSize: 1 },
  { batch: 2, queries: 3, keys: 5, heads: 2, headSize: 3, scale: 0.7 },
  { batch: 1, queries: 11, keys: 9, heads: 1, headSize: 8, causal: true },
  { batch: 2, queries: 7, keys: 7, heads: 3, headSize: 4, held: fused, causal: true },
  // Keys and values of one projection, shared by several query heads, with other columns around.
  {
    batch: 2,
    queries: 5,
    keys: 10,
    heads: 4,
    keyHeads: 2,
    headSize: 4,
    valueSize: 3,
    held: ["q", "kv", "kv"],
    offsets: [1, 2, 11],
    columns: { q: 19, kv: 18 },
  },
  // The same for vectors of four.
  {
    batch: 2,
    queries: 3,
    keys: 9,
    heads: 6,
    keyHeads: 2,
    headSize: 4,
    valueSize: 8,
    held: ["q", "kv", "kv"],
    offsets: [0, 20, 0],
    columns: { q: 24, kv: 28 },
    gpu: true,
  },
  // Queries and keys of one tensor, values of another; then all the same, so that gradients add up.
  { batch: 1, queries: 9, keys: 9, heads: 2, headSize: 3, held: ["qk", "qk", "v"] },
  {
    batch: 1,
    queries: 6,
    keys: 6,
    heads: 2,
    headSize: 4,
    held: ["x", "x", "x"],
    offsets: [0, 0, 0],
    columns: { x: 8 },
  },
  { batch: 3, queries: 4, keys: 9, heads: 1, headSize: 5, lengths: [9, 0, 4] },
  {
    batch: 2,
    queries: 9,
    keys: 9,
    heads: 2,
    headSize: 4,
    held: fused,
    causal: true,
    lengths: [9, 3],
    gpu: true,
  },
  { batch: 2, queries: 6, keys: 6, heads: 2, headSize: 4, held: fused, grid: [2, 3] },
  { batch: 1, queries: 10, keys: 10, heads: 1, headSize: 3, grid: [5, 2], gpu: true },
  { batch: 2, queries: 9, keys: 9, heads: 1, headSize: 4, grid: [3, 3], lengths: [9, 5] },
];

deviceTest("attention has the gradients of its float64 definition", async (device) => {
  // Kernels differ by whether lanes broadcast: those for GPUs are the same with and without subgroups.
  for (const [order, { name, device: variant }] of variants(device).slice(0, 2).entries()) {
    for (const shape of order === 0 ? small : small.filter(({ gpu = false }) => gpu)) {
      using _scope = variant.scope();
      await checkGradients(variant, {
        what: `${name} ${JSON.stringify(shape)}`,
        inputs: inputsOf(shape),
        operation: (tensors) => operate(variant, shape, tensors),
        reference: (values) => definition(shape, values as Values).output,
      });
    }
  }
});

/** Compares all gradients with the float64 formulas. */
async function compare(device: Device, what: string, shape: Case): Promise<void> {
  using scope = device.scope();
  const inputs = Object.entries(inputsOf(shape)).map(([name, { shape: extents }], n) => {
    const [rows, columns] = extents as [number, number];
    const values = normals(rows * columns, 31 * n + rows);
    return { name, values, on: tensor(device, values, extents) };
  });
  const { batch, queries, heads, headSize, valueSize = headSize } = shape;
  const weights = normals(batch * queries * heads * valueSize, 5);
  const tensors = Object.fromEntries(inputs.map(({ name, on }) => [name, on]));
  const { gradients } = differentiate(device, inputs.map(({ on }) => on), () => {
    const y = operate(device, shape, tensors);
    return sumRows(multiply(y.reshape(-1), tensor(device, weights)).reshape(-1, 1));
  });
  const reads = gradients.map((gradient) => scope.keep(gradient!).readFloats());
  const values = Object.fromEntries(
    inputs.map(({ name, values }) => [name, Float64Array.from(values)]),
  );
  const expected = definition(shape, values, weights).gradients;
  for (const [i, { name }] of inputs.entries()) {
    assertCloseTo(await reads[i]!, expected[name]!, {
      atol: 2e-5,
      rtol: 2e-5,
      what: `${what} ${JSON.stringify(shape)} gradient of ${name}`,
    });
    gradients[i]!.dispose();
  }
}

const large: readonly Case[] = [
  { batch: 2, queries: 65, keys: 97, heads: 3, headSize: 24, causal: true },
  {
    batch: 2,
    queries: 97,
    keys: 65,
    heads: 3,
    headSize: 24,
    held: ["q", "kv", "kv"],
    causal: true,
  },
  {
    batch: 3,
    queries: 41,
    keys: 41,
    heads: 4,
    keyHeads: 2,
    headSize: 16,
    held: fused,
    lengths: [41, 1, 37],
  },
  { batch: 2, queries: 7, keys: 131, heads: 2, headSize: 17, valueSize: 9 },
  { batch: 1, queries: 130, keys: 130, heads: 1, headSize: 128, held: fused, causal: true },
  { batch: 2, queries: 49, keys: 49, heads: 2, headSize: 32, held: fused, grid: [7, 7] },
  { batch: 1, queries: 182, keys: 182, heads: 2, headSize: 20, grid: [13, 14] },
];

deviceTest("attention gradients of larger shapes equal the float64 formulas", async (device) => {
  for (const shape of large) await compare(device, "", shape);
});

deviceTest("attention gradients for GPUs fit into the least workgroup memory", async (device) => {
  if (device.kind !== "webgpu") return;
  const least = pretending(device, { software: false, workgroupMemory: 16384 });
  await compare(least, "", {
    batch: 1,
    queries: 37,
    keys: 70,
    heads: 1,
    headSize: 68,
    valueSize: 5,
  });
});

deviceTest("keys shared by very many queries sum their gradients in rounds", async (device) => {
  await compare(device, "", {
    batch: 1,
    queries: 20011,
    keys: 3,
    heads: 5,
    keyHeads: 1,
    headSize: 2,
    held: ["q", "kv", "kv"],
  });
});

deviceTest("attention gradients stay finite when scores are huge", async (device) => {
  const shape: Case = { batch: 1, queries: 9, keys: 17, heads: 2, headSize: 8 };
  using _scope = device.scope();
  const [q, k, v] = [9, 17, 17].map((rows, n) =>
    tensor(device, normals(rows * 16, n).map((x) => 1e4 * x), [rows, 16])
  ) as [Tensor, Tensor, Tensor];
  const { gradients } = differentiate(device, [q, k, v], () => {
    const y = attention({ tensor: q }, { tensor: k }, { tensor: v }, shape);
    return sumRows(y.reshape(-1, 1));
  });
  for (const gradient of gradients) {
    const values = await gradient!.readFloats();
    assertEquals(values.every(Number.isFinite), true);
  }
});

deviceTest("attention gradients do not depend on who else is wanted", async (device) => {
  using _scope = device.scope();
  const shape: Case = { batch: 2, queries: 6, keys: 6, heads: 2, headSize: 4, grid: [3, 2] };
  const tensors: Record<string, Tensor> = {};
  for (const [name, { shape: extents }] of Object.entries(inputsOf(shape))) {
    const [rows, columns] = extents as [number, number];
    tensors[name] = tensor(device, normals(rows * columns, rows), extents);
  }
  const run = async (names: readonly string[]) => {
    const { gradients } = differentiate(device, names.map((name) => tensors[name]!), () => {
      const y = operate(device, shape, tensors);
      return sumRows(multiply(y, y).reshape(-1, 1));
    });
    return await Promise.all(gradients.map((gradient) => gradient!.readFloats()));
  };
  const names = Object.keys(tensors);
  const all = await run(names);
  for (const [i, name] of names.entries()) assertEquals(await run([name]), [all[i]], name);
});

deviceTest(
  "attention gradients repeat bit by bit, allocate once and leak nothing",
  async (device) => {
    const shape: Case = {
      batch: 2,
      queries: 20,
      keys: 20,
      heads: 2,
      headSize: 8,
      held: fused,
      grid: [4, 5],
    };
    const leaves = Object.entries(inputsOf(shape)).map(([name, { shape: extents }]) => {
      const [rows, columns] = extents as [number, number];
      return [name, tensor(device, normals(rows * columns, rows), extents)] as const;
    });
    const tensors = Object.fromEntries(leaves);
    const run = async () => {
      const { value, gradients } = differentiate(device, leaves.map(([, leaf]) => leaf), () => {
        // The projection's own scope ends before the way back begins.
        using scope = device.scope();
        const qkv = multiply(tensors.qkv!, tensors.qkv!);
        const y = operate(device, shape, { ...tensors, qkv });
        return scope.keep(sumRows(multiply(y, y).reshape(-1, 1)));
      });
      const values = await Promise.all(gradients.map((gradient) => gradient!.readFloats()));
      for (const one of [value, ...gradients]) one!.dispose();
      return values;
    };
    const first = await run();
    const { created, live } = device.memory;
    assertEquals(await run(), first);
    assertEquals(device.memory.created, created);
    assertEquals(device.memory.live, live);
    for (const [, leaf] of leaves) leaf.dispose();
  },
);
