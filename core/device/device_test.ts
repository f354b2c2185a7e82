import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DeviceError } from "../errors.ts";
import { deviceTest } from "../kernels/kernel_testing.ts";
import { HostDevice, openDevice, program, sizeClass, WebGpuDevice } from "./mod.ts";
import { BufferPool } from "./pool.ts";

const doubling = program("test doubling", () => ({
  arrays: { data: { type: "f32", access: "read_write" } },
  parameters: { count: "u32", factor: "f32" },
  wgsl: `@compute @workgroup_size(64) fn main(@builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = workgroupIndex(group, groups) * 64u + lane;
    if (i < params.count) { data[i] = data[i] * params.factor; } }`,
  host({ data }, { count, factor }) {
    for (let i = 0; i < count; i++) data[i]! *= factor;
  },
}));

deviceTest("writes, dispatches and reads keep their order", async (device) => {
  const buffer = device.allocate(40, "data");
  device.write(buffer, Float32Array.from({ length: 10 }, (_, i) => i));
  device.dispatch(doubling, { data: { buffer } }, { count: 10, factor: 2 }, [1]);
  const first = device.read(buffer, 0, 40);
  device.write(buffer, Float32Array.of(100), 4);
  device.dispatch(doubling, { data: { buffer } }, { count: 10, factor: 0.5 }, [1]);
  const second = device.read(buffer, 0, 40);
  assertEquals([...new Float32Array(await first)], [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
  assertEquals([...new Float32Array(await second)], [0, 50, 2, 3, 4, 5, 6, 7, 8, 9]);
  device.release(buffer);
});

deviceTest("dispatches wider than the limit are folded", async (device) => {
  const count = 65535 * 64 + 100;
  const buffer = device.allocate(4 * count, "wide");
  device.write(buffer, new Float32Array(count).fill(1));
  device.dispatch(doubling, { data: { buffer } }, { count, factor: 3 }, [Math.ceil(count / 64)]);
  const values = new Float32Array(await device.read(buffer, 4 * (count - 4), 16));
  assertEquals([...values], [3, 3, 3, 3]);
  device.release(buffer);
});

deviceTest("a recording replays without allocating", async (device) => {
  const buffer = device.allocate(16, "state");
  device.write(buffer, Float32Array.of(1, 2, 3, 4));
  using recording = device.record(() => {
    device.dispatch(doubling, { data: { buffer } }, { count: 4, factor: 2 }, [1]);
    device.dispatch(doubling, { data: { buffer } }, { count: 2, factor: 10 }, [1]);
  });
  assertEquals(recording.dispatches, 2);
  recording.replay();
  const { created } = device.memory;
  for (let i = 0; i < 3; i++) recording.replay();
  assertEquals(device.memory.created, created);
  assertEquals([...new Float32Array(await device.read(buffer, 0, 16))], [160000, 320000, 48, 64]);
  device.release(buffer);
});

deviceTest("scopes release what is not kept", (device) => {
  const { live } = device.memory;
  const kept = (() => {
    using scope = device.scope();
    device.allocate(1000, "dropped");
    return scope.keep({ buffer: device.allocate(1000, "kept") });
  })();
  assertEquals(device.memory.live, live + sizeClass(1000));
  device.release(kept.buffer);
  assertThrows(() => device.release(kept.buffer), DeviceError, "not live");
  assertEquals(device.memory.live, live);
  return Promise.resolve();
});

deviceTest("a recording keeps its temporaries to itself", async (device) => {
  const input = device.allocate(4096, "input");
  device.write(input, new Float32Array(1024).fill(1));
  using recording = device.record(() => {
    using _scope = device.scope();
    const first = device.allocate(4096, "temporary");
    device.copy({ buffer: input }, { buffer: first }, 4096);
    device.dispatch(doubling, { data: { buffer: first } }, { count: 1024, factor: 2 }, [16]);
    device.copy({ buffer: first }, { buffer: input }, 4096);
    device.release(first);
    const second = device.allocate(4096, "temporary");
    device.copy({ buffer: input }, { buffer: second }, 4096);
  });
  const bystander = device.allocate(4096, "bystander");
  device.write(bystander, new Float32Array(1024).fill(7));
  recording.replay();
  recording.replay();
  assertEquals(new Float32Array(await device.read(bystander, 0, 8)), Float32Array.of(7, 7));
  assertEquals(new Float32Array(await device.read(input, 0, 4)), Float32Array.of(4));
  device.release(bystander);
  device.release(input);
});

Deno.test("size classes waste at most an eighth and never shrink", () => {
  for (let bytes = 1; bytes < 2 ** 22; bytes = Math.ceil(bytes * 1.07)) {
    const size = sizeClass(bytes);
    assert(size >= bytes && size % 4 === 0);
    if (bytes > 4096) assert(size <= bytes * 1.125 + 4, `${bytes} -> ${size}`);
  }
});

Deno.test("pool reuses released buffers", () => {
  let id = 0;
  const pool = new BufferPool((size, label) => ({ size, label, id: id++ }), () => {});
  const first = pool.allocate(5000, "a");
  pool.release(first);
  assertEquals(pool.allocate(4999, "b").id, first.id);
  assertEquals(pool.memory.created, 1);
});

Deno.test({
  name: "an invalid kernel poisons the device and names itself, where there is an adapter",
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    let device;
    try {
      device = await openDevice({ device: "webgpu", checked: true });
    } catch {
      return;
    }
    const broken = program("test broken", () => ({
      arrays: { data: { type: "f32", access: "read_write" } },
      parameters: {},
      wgsl: "@compute @workgroup_size(1) fn main() { data[0] = nonsense; }",
      host() {},
    }));
    const buffer = device.allocate(4, "data");
    device.dispatch(broken, { data: { buffer } }, {}, [1]);
    await assertRejects(() => device.read(buffer), DeviceError, "test broken");
    await assertRejects(() => device.read(buffer), DeviceError, "test broken");
    await device[Symbol.asyncDispose]();
  },
});

Deno.test("the host device refuses absurd sizes in one sentence", () => {
  assertThrows(() => new HostDevice().allocate(2 ** 40, "weights"), DeviceError, "weights");
});

Deno.test({
  name: "a lost device says so and returns no data, where there is an adapter",
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return;
    const gpu = await adapter.requestDevice();
    const device = new WebGpuDevice({
      device: gpu,
      info: { name: "doomed", vendor: "", features: [], limits: {} },
      capabilities: {
        ...new HostDevice().capabilities,
        bufferBytes: gpu.limits.maxBufferSize,
        workgroups: 65535,
      },
      subgroupsDirective: "",
      checked: false,
    });
    const buffer = device.allocate(16, "data");
    device.write(buffer, Float32Array.of(1, 2, 3, 4));
    assertEquals(new Float32Array(await device.read(buffer, 0, 16)), Float32Array.of(1, 2, 3, 4));
    gpu.destroy();
    await assertRejects(() => device.read(buffer, 0, 16), DeviceError);
    await assertRejects(() => device.finish(), DeviceError);
    assertThrows(() => device.allocate(16, "more"), DeviceError, "doomed");
  },
});
