import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { attention, type AttentionOptions, type AttentionShape } from "../tensor/attention.ts";
import type { HeadsView } from "../tensor/heads.ts";
import { tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { pretending } from "./variant_testing.ts";

interface Case extends Required<Omit<AttentionShape, "keyHeads" | "valueSize">> {
  readonly keyHeads?: number;
  readonly valueSize?: number;
  readonly causal?: boolean;
  readonly lengths?: readonly number[];
  readonly grid?: readonly [number, number];
}

interface Operand {
  readonly values: Float32Array<ArrayBuffer>;
  readonly offset: number;
  readonly stride: number;
}

interface Tables {
  readonly height: Float32Array<ArrayBuffer>;
  readonly width: Float32Array<ArrayBuffer>;
}

/** The definition, in float64, with masked scores left out of the sums. */
function reference(q: Operand, k: Operand, v: Operand, shape: Case, tables?: Tables): Float64Array {
  const { batch, queries, keys, heads, headSize } = shape;
  const { keyHeads = heads, valueSize = headSize, causal = false, lengths, grid = [1, 1] } = shape;
  const output = new Float64Array(batch * queries * heads * valueSize);
  const [high, wide] = grid;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const kh = Math.floor(h / (heads / keyHeads));
      for (let i = 0; i < queries; i++) {
        const at = q.offset + (b * queries + i) * q.stride + h * headSize;
        const dot = (other: Float32Array, from: number) => {
          let sum = 0;
          for (let d = 0; d < headSize; d++) sum += q.values[at + d]! * other[from + d]!;
          return sum;
        };
        const weights = Array.from({ length: keys }, (_, j) => {
          if (j >= (lengths?.[b] ?? keys) || (causal && j > i + keys - queries)) return -Infinity;
          const down = Math.floor(i / wide) - Math.floor(j / wide) + high - 1;
          const across = i % wide - j % wide + wide - 1;
          return dot(k.values, k.offset + (b * keys + j) * k.stride + kh * headSize) /
              Math.sqrt(headSize) +
            (tables === undefined
              ? 0
              : dot(tables.height, down * headSize) + dot(tables.width, across * headSize));
        });
        const highest = Math.max(...weights);
        if (highest === -Infinity) continue;
        let total = 0;
        const row = new Float64Array(valueSize);
        weights.forEach((score, j) => {
          const weight = Math.exp(score - highest);
          total += weight;
          const from = v.offset + (b * keys + j) * v.stride + kh * valueSize;
          for (let d = 0; d < valueSize; d++) row[d]! += weight * v.values[from + d]!;
        });
        const to = ((b * queries + i) * heads + h) * valueSize;
        for (let d = 0; d < valueSize; d++) output[to + d] = row[d]! / total;
      }
    }
  }
  return output;
}

/** Seeded operands of a case, on the host and on the device. Self-attention reads one fused projection. */
function operands(device: Device, shape: Case, factor = 1): {
  host: [Operand, Operand, Operand];
  views: [HeadsView, HeadsView, HeadsView];
} {
  const { batch, queries, keys, heads, headSize } = shape;
  const { keyHeads = heads, valueSize = headSize } = shape;
  const widths = [heads * headSize, keyHeads * headSize, keyHeads * valueSize] as const;
  if (queries === keys) {
    const stride = widths[0] + widths[1] + widths[2];
    const values = normals(batch * queries * stride, stride).map((x) => factor * x);
    const fused = tensor(device, values, [batch * queries, stride]);
    const offsets = [0, widths[0], widths[0] + widths[1]];
    return {
      host: offsets.map((offset) => ({ values, offset, stride })) as [Operand, Operand, Operand],
      views: offsets.map((offset) => ({ tensor: fused, offset })) as [
        HeadsView,
        HeadsView,
        HeadsView,
      ],
    };
  }
  const rows = [queries, keys, keys];
  const host = widths.map((stride, i) => ({
    values: normals(batch * rows[i]! * stride, 7 * i + stride).map((x) => factor * x),
    offset: 0,
    stride,
  })) as [Operand, Operand, Operand];
  const views = host.map(({ values, stride }) => ({
    tensor: tensor(device, values, [values.length / stride, stride]),
  })) as [HeadsView, HeadsView, HeadsView];
  return { host, views };
}

function optionsOf(device: Device, shape: Case, tables?: Tables): AttentionOptions {
  return {
    ...(shape.causal ? { causal: true } : {}),
    ...(shape.lengths ? { keyLengths: tensor(device, Uint32Array.from(shape.lengths)) } : {}),
    ...(tables && shape.grid
      ? {
        relative: {
          grid: shape.grid,
          height: tensor(device, tables.height, [2 * shape.grid[0] - 1, shape.headSize]),
          width: tensor(device, tables.width, [2 * shape.grid[1] - 1, shape.headSize]),
        },
      }
      : {}),
  } as AttentionOptions;
}

async function check(device: Device, shape: Case, factor = 1): Promise<void> {
  using scope = device.scope();
  const { host, views } = operands(device, shape, factor);
  const { grid, headSize } = shape;
  const tables = grid && {
    height: normals((2 * grid[0] - 1) * headSize, 3),
    width: normals((2 * grid[1] - 1) * headSize, 4),
  };
  const output = scope.keep(attention(...views, shape, optionsOf(device, shape, tables)));
  const values = output.readFloats();
  output.dispose();
  assertCloseTo(await values, reference(...host, shape, tables), {
    atol: 2e-5,
    what: JSON.stringify(shape),
  });
}

const plain = { batch: 1, heads: 1 };

const cases: readonly Case[] = [
  { ...plain, queries: 1, keys: 1, headSize: 1 },
  { ...plain, queries: 3, keys: 5, headSize: 3 },
  { batch: 2, heads: 3, queries: 7, keys: 7, headSize: 24 },
  { batch: 1, heads: 2, queries: 64, keys: 64, headSize: 64 },
  { batch: 1, heads: 2, queries: 65, keys: 63, headSize: 64 },
  { batch: 2, heads: 1, queries: 63, keys: 129, headSize: 24 },
  { batch: 1, heads: 1, queries: 33, keys: 257, headSize: 64 },
  { batch: 1, heads: 2, queries: 17, keys: 19, headSize: 72 },
  { batch: 1, heads: 2, queries: 19, keys: 19, headSize: 80 },
  { batch: 1, heads: 1, queries: 16, keys: 130, headSize: 128 },
  { batch: 2, heads: 4, keyHeads: 2, queries: 9, keys: 9, headSize: 8 },
  { batch: 1, heads: 6, keyHeads: 1, queries: 5, keys: 12, headSize: 8 },
  { batch: 2, heads: 2, queries: 6, keys: 11, headSize: 8, valueSize: 3 },
  { batch: 2, heads: 2, queries: 31, keys: 31, headSize: 24, causal: true },
  { batch: 1, heads: 2, queries: 5, keys: 70, headSize: 24, causal: true },
  // The first queries see nothing.
  { batch: 1, heads: 2, queries: 20, keys: 6, headSize: 24, causal: true },
  { batch: 3, heads: 2, queries: 12, keys: 12, headSize: 24, lengths: [12, 1, 7] },
  { batch: 2, heads: 1, queries: 9, keys: 40, headSize: 24, lengths: [0, 33] },
  { batch: 3, heads: 2, queries: 40, keys: 40, headSize: 24, causal: true, lengths: [40, 3, 17] },
  { batch: 1, heads: 4, queries: 77, keys: 77, headSize: 64, causal: true },
  { batch: 2, heads: 2, queries: 20, keys: 20, headSize: 24, grid: [4, 5] },
  { batch: 1, heads: 3, queries: 49, keys: 49, headSize: 24, grid: [7, 7] },
  { batch: 1, heads: 1, queries: 11, keys: 11, headSize: 24, grid: [1, 11] },
  { batch: 1, heads: 2, queries: 196, keys: 196, headSize: 64, grid: [14, 14] },
];

deviceTest("attention equals its float64 definition", async (device) => {
  for (const shape of cases) await check(device, shape);
});

deviceTest("attention for GPUs equals its float64 definition", async (device) => {
  if (device.kind !== "webgpu") return;
  const gpu = pretending(device, { software: false });
  const small = pretending(device, { software: false, workgroupMemory: 16384 });
  // These sizes cover every form of the source; each costs seconds to compile on a software adapter.
  for (const shape of cases.filter(({ headSize }) => [3, 24, 128].includes(headSize))) {
    await check(gpu, shape);
    if (shape.headSize === 128) await check(small, shape);
  }
});

deviceTest(
  "attention shares loads among the queries of a lane where there is much work",
  async (device) => {
    for (const [heads, size] of [[2, 701], [6, 1001]] as const) {
      await check(device, {
        ...plain,
        heads,
        queries: size - 4,
        keys: size,
        headSize: 24,
        causal: true,
      });
    }
  },
);

deviceTest("attention stays finite when scores are huge", async (device) => {
  const shape: Case = { batch: 1, heads: 1, queries: 5, keys: 9, headSize: 24 };
  for (const factor of [1e-30, 30, 1e4]) {
    using scope = device.scope();
    const { host, views } = operands(device, shape, factor);
    const output = await scope.keep(attention(...views, shape)).readFloats();
    assertCloseTo(output, reference(...host, shape), { atol: 1e-3 * factor, nmse: 1e-6 });
  }
});

deviceTest("attention allocates once and can be replayed", async (device) => {
  const shape: Case = { batch: 2, heads: 2, queries: 12, keys: 12, headSize: 24, grid: [3, 4] };
  const tables = { height: normals(5 * 24, 3), width: normals(7 * 24, 4) };
  const { host, views } = operands(device, shape);
  const options = optionsOf(device, shape, tables);
  const step = () => {
    using _scope = device.scope();
    attention(...views, shape, options);
  };
  step();
  const { created } = device.memory;
  step();
  assertEquals(device.memory.created, created);
  let output!: ReturnType<typeof attention>;
  using recording = device.record(() => {
    output = attention(...views, shape, options);
  });
  recording.replay();
  views[0].tensor.write(host[0].values.map((x) => -x));
  recording.replay();
  const negated = host.map((one) => ({ ...one, values: host[0].values.map((x) => -x) }));
  assertCloseTo(
    await output.readFloats(),
    reference(negated[0]!, negated[1]!, negated[2]!, shape, tables),
    { atol: 2e-5 },
  );
});

deviceTest("attention names what does not fit", (device) => {
  const x = { tensor: tensor(device, new Float32Array(24), [3, 8]) };
  const shape = { batch: 1, queries: 3, keys: 3, heads: 2, headSize: 4 };
  assertThrows(() => attention(x, x, x, { ...shape, keys: 4 }), RangeError, "attend: k");
  assertThrows(() => attention(x, x, x, { ...shape, keyHeads: 3 }), RangeError, "keyHeads");
  assertThrows(
    () => attention(x, x, x, shape, { keyLengths: tensor(device, Uint32Array.of(1, 2)) }),
    RangeError,
    "key lengths",
  );
  assertThrows(
    () =>
      attention(x, x, x, shape, {
        relative: { grid: [1, 2], height: x.tensor, width: x.tensor },
      }),
    RangeError,
    "1 x 2",
  );
  return Promise.resolve();
});
