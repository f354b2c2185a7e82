import { assertEquals, assertThrows } from "@std/assert";
import { HostDevice } from "../device/mod.ts";
import {
  type Binary,
  binaryFunctions,
  type Unary,
  unaryFunctions,
} from "../kernels/elementwise.ts";
import { deviceTest } from "../kernels/kernel_testing.ts";
import { add, binary, multiply, scale, unary } from "./elementwise.ts";
import { checkGradients } from "./gradient_testing.ts";
import { reduceMean, sumRows } from "./reduction.ts";
import { checkpoint, detach, differentiate, withoutGradients } from "./tape.ts";
import { type Tensor, tensor } from "./tensor.ts";

const total = (x: Tensor) => sumRows(x.reshape(-1, 1));

deviceTest(
  "elementwise functions have the gradients of their float64 definitions",
  async (device) => {
    for (const f of Object.keys(unaryFunctions) as Unary[]) {
      for (const count of [1, 7, 67]) {
        await checkGradients(device, {
          what: `${f} ${count}`,
          inputs: { x: { shape: [count] } },
          operation: ({ x }) => unary(f, x),
          reference: ({ x }) => x.map((value) => unaryFunctions[f].host(value)),
        });
      }
    }
  },
);

deviceTest("functions of two operands sum the gradient of a repeated one", async (device) => {
  for (const f of Object.keys(binaryFunctions) as Binary[]) {
    for (const [rows, columns] of [[1, 1], [3, 5], [7, 13]] as const) {
      for (const repeated of f === "swiglu" ? [false] : [false, true]) {
        await checkGradients(device, {
          what: `${f} ${[rows, columns]} ${repeated}`,
          inputs: {
            a: { shape: [rows, columns] },
            b: { shape: repeated ? [columns] : [rows, columns] },
          },
          operation: ({ a, b }) => binary(f, a, b),
          reference: ({ a, b }) =>
            a.map((value, i) => binaryFunctions[f].host(value, b[i % b.length]!)),
        });
      }
    }
  }
});

deviceTest("sums, means and scalings repeat the gradient", async (device) => {
  for (const [outer, length, inner] of [[1, 1, 1], [2, 3, 5], [3, 7, 1], [1, 67, 2]] as const) {
    const shape = [outer, length, inner];
    await checkGradients(device, {
      what: `mean ${shape}`,
      inputs: { x: { shape } },
      operation: ({ x }) => scale(reduceMean(x, 1), -3, 0.5),
      reference: ({ x }) =>
        Array.from({ length: outer * inner }, (_, at) => {
          let sum = 0;
          for (let l = 0; l < length; l++) {
            sum += x[(Math.floor(at / inner) * length + l) * inner + at % inner]!;
          }
          return -3 * sum / length + 0.5;
        }),
    });
  }
});

deviceTest("a value used twice gets the sum of its gradients", async (device) => {
  // y = x (x + x) + x: dy/dx = 4 x + 1.
  const x = tensor(device, [3, -2, 0.5]);
  const { value, gradients } = differentiate(
    device,
    [x],
    () => total(add(multiply(x, add(x, x)), x)),
  );
  assertEquals([...await gradients[0]!.readFloats()], [13, -7, 3]);
  assertEquals(await value.readFloats(), Float32Array.of(2 * (9 + 4 + 0.25) + 1.5));
  for (const one of [x, value, gradients[0]!]) one.dispose();
});

deviceTest("the same gradient may belong to several leaves", async (device) => {
  const a = tensor(device, [1, 2]), b = tensor(device, [3, 4]);
  const { value, gradients } = differentiate(device, [a, b], () => total(add(a, b)), 2);
  assertEquals([...await gradients[0]!.readFloats()], [2, 2]);
  assertEquals([...await gradients[1]!.readFloats()], [2, 2]);
  for (const one of [a, b, value, gradients[0]!, gradients[1]!]) one.dispose();
});

deviceTest("constants and unused leaves have no gradient, and nothing leaks", async (device) => {
  const before = device.memory.live;
  const a = tensor(device, [1, 2]), b = tensor(device, [3, 4]), c = tensor(device, [5, 6]);
  const { value, gradients } = differentiate(device, [a, c], () => {
    const constant = multiply(b, withoutGradients(() => scale(a, 2)));
    return total(add(multiply(a, constant), detach(a)));
  });
  assertEquals([...await gradients[0]!.readFloats()], [6, 16]);
  assertEquals(gradients[1], undefined);
  for (const one of [a, b, c, value, gradients[0]!]) one.dispose();
  assertEquals(device.memory.live, before);
});

deviceTest("released intermediate values are still there on the way back", async (device) => {
  const x = tensor(device, [2, 3]);
  const { value, gradients } = differentiate(device, [x], () => {
    const block = (input: Tensor) => {
      using scope = device.scope();
      return scope.keep(multiply(unary("silu", input), unary("sigmoid", input)));
    };
    let y = x;
    for (let n = 0; n < 3; n++) {
      const next = block(y);
      if (y !== x) y.dispose();
      y = next;
    }
    // Memory that the forward pass has released must not be handed out again yet.
    using _scope = device.scope();
    tensor(device, [100, 100]);
    return total(y);
  });
  const f = (v: number) => v / (1 + Math.exp(-v)) / (1 + Math.exp(-v));
  const chain = (v: number) => f(f(f(v)));
  const actual = await gradients[0]!.readFloats();
  for (const [i, v] of [2, 3].entries()) {
    const expected = (chain(v + 1e-5) - chain(v - 1e-5)) / 2e-5;
    assertEquals(Math.abs(actual[i]! - expected) < 1e-5, true);
  }
  for (const one of [x, value, gradients[0]!]) one.dispose();
});

deviceTest("a checkpointed block has the same gradients and keeps less", async (device) => {
  const count = 4096;
  const x = tensor(device, Float32Array.from({ length: count }, (_, i) => (i % 17) / 8 - 1));
  const w = tensor(device, Float32Array.from({ length: count }, (_, i) => (i % 5) / 4));
  const block = (input: Tensor) => {
    using scope = device.scope();
    let y = input;
    for (let n = 0; n < 6; n++) y = unary("tanh", multiply(y, w));
    return scope.keep(y);
  };
  const run = async (wrap: (input: Tensor) => Tensor) => {
    let held = 0;
    const { value, gradients } = differentiate(device, [x, w], () => {
      const y = wrap(wrap(wrap(x)));
      held = device.memory.live;
      return total(y);
    });
    const values = await Promise.all(gradients.map((gradient) => gradient!.readFloats()));
    for (const one of [value, ...gradients]) one!.dispose();
    return { values, held };
  };
  const plain = await run(block);
  const saved = await run((input) => checkpoint([input], (x) => [block(x)])[0]!);
  assertEquals(saved.values, plain.values);
  assertEquals(saved.held < plain.held / 3, true);
  for (const one of [x, w]) one.dispose();
});

Deno.test("a differentiated value has one element, and differentiations do not nest", async () => {
  await using device = new HostDevice();
  const x = tensor(device, [1, 2]);
  assertThrows(() => differentiate(device, [x], () => scale(x, 2)), RangeError, "one element");
  assertThrows(
    () => differentiate(device, [x], () => differentiate(device, [x], () => total(x)).value),
    TypeError,
    "inside",
  );
});
