/**
 * The peer: onnxruntime-web, its WebGPU provider and its WebAssembly provider, in this process and on the same adapter.
 *
 * For the WebGPU provider all inputs and outputs stay on its device, and no node may fall back to the CPU. The WebAssembly
 * provider runs on one thread: the runtime cannot start its workers in Deno.
 *
 * @module
 */
import * as ort from "onnxruntime-web/webgpu";
import { elementCount } from "../core/tensor/mod.ts";
import { type OnnxGraph, onnxModel, type OnnxType, type OnnxValue } from "./onnx_model.ts";

/** Where the peer computes. */
export type Provider = "webgpu" | "wasm";

/** A computation for the peer. */
export interface PeerSpec {
  readonly graph: OnnxGraph;
  /** Values of the graph's inputs, row-major. */
  readonly feeds: Readonly<Record<string, Float32Array<ArrayBuffer>>>;
  /** Outputs that are written over an input, as a cache is: output name to input name. Only on the WebGPU provider. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Operators in words, for the table. */
  readonly note: string;
}

/** A loaded computation. */
export interface Peer {
  run(times: number): Promise<void>;
  /** Runs once and reads the first output. */
  output(): Promise<Float32Array>;
  close(): Promise<void>;
}

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

/** The peer's version, such as `1.30.0`. */
export const peerVersion: string = ort.env.versions.web ?? ort.env.versions.common;

type Typed = Float32Array<ArrayBuffer> | Float16Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

function narrowed(type: OnnxType, values: Float32Array<ArrayBuffer>): Typed {
  if (type === "float32") return values;
  if (type === "float16") return Float16Array.from(values);
  if (type === "int32") return Int32Array.from(values);
  throw new TypeError(`Cannot feed ${type} tensors`);
}

/** A device buffer as a tensor of the peer. */
function onDevice(gpu: GPUDevice, { type, shape }: OnnxValue, data?: Typed) {
  const width = type === "float16" ? 2 : 4;
  const buffer = gpu.createBuffer({
    size: Math.ceil(elementCount(shape) * width / 16) * 16,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  });
  if (data !== undefined) gpu.queue.writeBuffer(buffer, 0, data);
  const dataType = type as "float32" | "float16" | "int32";
  return { buffer, tensor: ort.Tensor.fromGpuBuffer(buffer, { dataType, dims: shape }) };
}

async function download(gpu: GPUDevice, buffer: GPUBuffer): Promise<ArrayBuffer> {
  const staging = gpu.createBuffer({
    size: buffer.size,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  gpu.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const bytes = staging.getMappedRange().slice(0);
  staging.destroy();
  return bytes;
}

async function openOnGpu({ graph, feeds, aliases = {} }: PeerSpec): Promise<Peer> {
  const session = await ort.InferenceSession.create(onnxModel(graph), {
    executionProviders: ["webgpu"],
    preferredOutputLocation: "gpu-buffer",
    extra: { session: { disable_cpu_ep_fallback: "1" } },
  });
  const gpu = await ort.env.webgpu.device as unknown as GPUDevice;
  const inputs = new Map(
    graph.inputs.map((value) => [
      value.name,
      onDevice(gpu, value, narrowed(value.type, feeds[value.name]!)),
    ]),
  );
  const outputs = new Map(
    graph.outputs.map((value) => [
      value.name,
      inputs.get(aliases[value.name] ?? "") ?? onDevice(gpu, value),
    ]),
  );
  const tensors = (values: typeof inputs) =>
    Object.fromEntries([...values].map(([name, { tensor }]) => [name, tensor]));
  const feed = tensors(inputs), fetch = tensors(outputs);
  const run = async (times: number) => {
    for (let i = 0; i < times; i++) await session.run(feed, fetch);
    await gpu.queue.onSubmittedWorkDone();
  };
  return {
    run,
    async output() {
      gpu.pushErrorScope("validation");
      await run(1);
      const invalid = await gpu.popErrorScope();
      if (invalid !== null) throw new Error(`The peer's device reports: ${invalid.message}`);
      const { name, type, shape } = graph.outputs[0]!;
      const bytes = await download(gpu, outputs.get(name)!.buffer);
      const values = type === "float16" ? new Float16Array(bytes) : new Float32Array(bytes);
      return Float32Array.from(values.subarray(0, elementCount(shape)));
    },
    async close() {
      await session.release();
      for (const { buffer } of new Set([...inputs.values(), ...outputs.values()])) buffer.destroy();
    },
  };
}

async function openOnCpu({ graph, feeds }: PeerSpec): Promise<Peer> {
  const session = await ort.InferenceSession.create(onnxModel(graph), {
    executionProviders: ["wasm"],
  });
  const feed = Object.fromEntries(graph.inputs.map(({ name, type, shape }) => {
    const data = narrowed(type, feeds[name]!);
    return [name, new ort.Tensor(type as "float32", data as Float32Array, shape)];
  }));
  return {
    async run(times) {
      for (let i = 0; i < times; i++) await session.run(feed);
    },
    async output() {
      const results = await session.run(feed);
      const { data } = results[graph.outputs[0]!.name]!;
      return Float32Array.from(data as Float32Array);
    },
    close: () => session.release(),
  };
}

/**
 * Loads a computation into the peer.
 *
 * @throws {Error} as the runtime does, when it has no adapter or refuses the graph.
 */
export function openPeer(provider: Provider, spec: PeerSpec): Promise<Peer> {
  return provider === "webgpu" ? openOnGpu(spec) : openOnCpu(spec);
}
