import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { checkGradients } from "../tensor/gradient_testing.ts";
import { weight, type WeightDType } from "../tensor/weight.ts";
import { tensor } from "../tensor/tensor.ts";
import { moeFeedForward, type MoeLayer, type MoeOptions } from "./moe.ts";
import { Parameters, type ParameterSpec } from "./parameters.ts";

const hidden = 5, inner = 7, rank = 2, experts = 3;
const matrices = {
  "gate_proj": [inner, hidden],
  "up_proj": [inner, hidden],
  "down_proj": [hidden, inner],
} as const;

/** Experts with frozen matrices, and adapters where the test gives some. */
function layerOf(
  device: Parameters["device"],
  storage: WeightDType,
): { layer: MoeLayer; p: Parameters } {
  const specs: ParameterSpec[] = [], values = new Map();
  for (let e = 0; e < experts; e++) {
    for (const [name, [rows, columns]] of Object.entries(matrices)) {
      const full = `${e}.${name}.weight`;
      specs.push({
        name: full,
        shape: [rows, columns],
        keep: "float",
        stored: "F32",
        init: { kind: "zeros" },
      });
      values.set(full, weight(device, valuesOf(full, rows * columns), rows, columns, storage));
    }
  }
  const p = new Parameters(device, specs, values);
  const router = weight(device, valuesOf("router", experts * hidden), experts, hidden, "f32");
  return { layer: { router, experts: [0, 1, 2].map((e) => p.at(`${e}.`)) }, p };
}

/** Multiples of 1/8, which every storage but q4 keeps as they are. */
function valuesOf(name: string, count: number): Float32Array<ArrayBuffer> {
  const seed = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 9973, 7);
  return normals(count, seed).map((x) => Math.round(8 * x) / 8);
}

/** Token t belongs to expert t % 3 in first place, clearly. */
function tokensOf(count: number): Float32Array<ArrayBuffer> {
  const router = valuesOf("router", experts * hidden);
  return Float32Array.from({ length: count * hidden }, (_, i) => {
    const t = Math.floor(i / hidden), column = i % hidden;
    return router[(t % experts) * hidden + column]! + 0.1 * Math.sin(1 + i);
  });
}

type Numbers = ArrayLike<number>;

function times(x: Numbers, w: Numbers, rows: number, columns: number): number[] {
  return Array.from(
    { length: rows },
    (_, n) =>
      Array.from({ length: columns }, (_, c) => x[c]! * w[n * columns + c]!).reduce((a, b) =>
        a + b
      ),
  );
}

/** The layer in double precision, each token by itself: choices by the logits, earlier tokens first. */
function reference(
  x: Float64Array,
  router: Numbers,
  gateUpdate: (e: number) => { a: Numbers; b: Numbers } | undefined,
  { k, capacity }: { k: 1 | 2; capacity: number },
): number[] {
  const tokens = x.length / hidden, filled = [0, 0, 0];
  const rows = Array.from({ length: tokens }, (_, t) => x.subarray(t * hidden, (t + 1) * hidden));
  const routed = rows.map((row) => {
    const logits = times(row, router, experts, hidden);
    const total = logits.reduce((sum, one) => sum + Math.exp(one), 0);
    const order = [0, 1, 2].sort((a, b) => logits[b]! - logits[a]!).slice(0, k);
    return order.map((e) => ({ e, gate: Math.exp(logits[e]!) / total, kept: false }));
  });
  for (let j = 0; j < k; j++) {
    for (const choices of routed) choices[j]!.kept = filled[choices[j]!.e]!++ < capacity;
  }
  return rows.flatMap((row, t) => {
    const kept = routed[t]!.filter((one) => one.kept);
    const total = k === 1 ? 1 : kept.reduce((sum, { gate }) => sum + gate, 0);
    const y = new Array<number>(hidden).fill(0);
    for (const { e, gate } of kept) {
      const matrix = (name: keyof typeof matrices) =>
        valuesOf(`${e}.${name}.weight`, hidden * inner);
      const gated = times(row, matrix("gate_proj"), inner, hidden), update = gateUpdate(e);
      if (update !== undefined) {
        times(times(row, update.a, rank, hidden), update.b, inner, rank)
          .forEach((one, n) => gated[n]! += 0.5 * one);
      }
      const up = times(row, matrix("up_proj"), inner, hidden);
      const acted = gated.map((one, n) => one / (1 + Math.exp(-one)) * up[n]!);
      times(acted, matrix("down_proj"), hidden, inner)
        .forEach((one, n) => y[n]! += gate / total * one);
    }
    return y;
  });
}

const settings:
  readonly (Pick<MoeOptions, "k" | "capacityFactor"> & { tokens: number; capacity: number })[] = [
    { tokens: 1, k: 1, capacityFactor: 1, capacity: 1 },
    { tokens: 7, k: 1, capacityFactor: 0.8, capacity: 2 },
    { tokens: 8, k: 2, capacityFactor: 0.7, capacity: 4 },
    { tokens: 13, k: 2, capacityFactor: 2, capacity: 18 },
  ];

deviceTest(
  "adapters of experts, router and tokens get gradients over frozen matrices",
  async (device) => {
    for (const storage of ["f32", "f16"] as const) {
      for (const { tokens, k, capacityFactor, capacity } of settings) {
        using _scope = device.scope();
        const { layer, p } = layerOf(device, storage);
        const router = valuesOf("router", experts * hidden);
        for (const constant of [false, true]) {
          await checkGradients(device, {
            what: JSON.stringify({ storage, tokens, k, capacity, constant }),
            inputs: {
              x: { shape: [tokens, hidden], values: tokensOf(tokens), constant },
              router: { shape: [experts, hidden], values: router, weight: "f32", constant },
              a: { shape: [rank, hidden], values: valuesOf("a", rank * hidden) },
              b: { shape: [inner, rank], values: valuesOf("b", inner * rank) },
            },
            operation({ x, router, a, b }) {
              p.adaptersOf = (name) => name === "0.gate_proj.weight" ? [{ a, b, scale: 0.5 }] : [];
              const options = { k, capacityFactor, minCapacity: 0 };
              return moeFeedForward(x, { ...layer, router }, options).y;
            },
            reference: ({ x, router, a, b }) =>
              reference(x, router, (e) => e === 0 ? { a, b } : undefined, { k, capacity }),
            tolerance: 1e-3,
          });
        }
      }
    }
  },
);

deviceTest("the layer computes the same with and without a differentiation", async (device) => {
  using _scope = device.scope();
  const { layer } = layerOf(device, "f32");
  for (const { tokens, k, capacityFactor, capacity } of settings) {
    const x = tensor(device, tokensOf(tokens), [tokens, hidden]);
    const { y } = moeFeedForward(x, layer, { k, capacityFactor, minCapacity: 0 });
    const router = valuesOf("router", experts * hidden);
    const expected = reference(Float64Array.from(tokensOf(tokens)), router, () => undefined, {
      k,
      capacity,
    });
    assertCloseTo(await y.readFloats(), expected, { what: `${tokens} ${k}`, atol: 1e-4 });
  }
});
