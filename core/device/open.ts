/**
 * Adapter choice: a real GPU before a software adapter before the typed-array fallback.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import type { Capabilities, Device } from "./device.ts";
import { HostDevice } from "./host.ts";
import { WebGpuDevice } from "./webgpu.ts";

/** What to open. */
export interface OpenDeviceOptions {
  /**
   * `auto` takes WebGPU where there is an adapter, else the fallback; Mesa's OpenGL rasteriser does not count as one, because
   * the fallback is faster. Default `auto`.
   */
  readonly device?: "auto" | "webgpu" | "wasm";
  /** Submit and check after every kernel, so that an error names it. Slow. Default false. */
  readonly checked?: boolean;
}

/** Features worth having when the adapter has them. */
const wantedFeatures = ["timestamp-query", "shader-f16"];

const wantedLimits = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBuffersPerShaderStage",
] as const;

async function findAdapter(): Promise<GPUAdapter | null> {
  if (!("gpu" in navigator) || navigator.gpu === undefined) return null;
  return await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }) ??
    await navigator.gpu.requestAdapter();
}

function isSoftware(adapter: GPUAdapter): boolean {
  const { description, vendor } = adapter.info;
  return adapter.info.isFallbackAdapter === true ||
    /llvmpipe|swiftshader|software|basic render/i.test(description) ||
    vendor === "65541";
}

/** Requests the device with everything the adapter offers; `subgroups` is asked for even where it is not listed. */
async function requestDevice(
  adapter: GPUAdapter,
): Promise<{ device: GPUDevice; features: string[] }> {
  const requiredLimits = Object.fromEntries(
    wantedLimits.map((name) => [name, adapter.limits[name]]),
  );
  const listed = wantedFeatures.filter((name) => adapter.features.has(name));
  try {
    const features = [...listed, "subgroups"];
    return {
      device: await adapter.requestDevice({
        requiredFeatures: features as GPUFeatureName[],
        requiredLimits,
      }),
      features,
    };
  } catch {
    const fresh = await findAdapter() ?? adapter;
    return {
      device: await fresh.requestDevice({
        requiredFeatures: listed as GPUFeatureName[],
        requiredLimits,
      }),
      features: listed,
    };
  }
}

/**
 * Finds out whether subgroup operations compile and how wide subgroups are. Some runtimes require the line
 * `enable subgroups;`, others refuse it.
 */
async function probeSubgroups(
  device: GPUDevice,
): Promise<{ directive: string; size: number } | undefined> {
  for (const directive of ["enable subgroups;\n", ""]) {
    device.pushErrorScope("validation");
    const code = `${directive}@group(0) @binding(0) var<storage, read_write> found: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(subgroup_size) size: u32, @builtin(local_invocation_index) i: u32) {
  let sum = subgroupAdd(1u);
  if (i == 0u) { found[0] = select(0u, size, sum == size); }
}`;
    const module = device.createShaderModule({ code });
    const pipeline = device.createComputePipeline({
      layout: "auto",
      compute: { module, entryPoint: "main" },
    });
    if (await device.popErrorScope() !== null) continue;
    const result = device.createBuffer({
      size: 4,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
    });
    const staging = device.createBuffer({
      size: 4,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [{ binding: 0, resource: { buffer: result } }],
      }),
    );
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(result, 0, staging, 0, 4);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const size = new Uint32Array(staging.getMappedRange().slice(0))[0]!;
    result.destroy();
    staging.destroy();
    return size === 0 ? undefined : { directive, size };
  }
  return undefined;
}

/**
 * Mesa's software rasteriser behind OpenGL instead of Vulkan: it computes correctly, but compiling the kernels of one answer
 * takes a minute. Its Vulkan form, lavapipe, has half precision.
 */
function isSlowOpenGl(adapter: GPUAdapter): boolean {
  return /llvmpipe/i.test(adapter.info.description) && !adapter.features.has("shader-f16");
}

async function openWebGpu(checked: boolean, asked: boolean): Promise<Device | undefined> {
  const adapter = await findAdapter();
  if (adapter === null || (!asked && isSlowOpenGl(adapter))) return undefined;
  const { device, features } = await requestDevice(adapter);
  const subgroups = features.includes("subgroups") ? await probeSubgroups(device) : undefined;
  const { limits } = device;
  const capabilities: Capabilities = {
    software: isSoftware(adapter),
    subgroups: subgroups !== undefined,
    subgroupSizes: subgroups === undefined ? [0, 0] : [
      adapter.info.subgroupMinSize || subgroups.size,
      adapter.info.subgroupMaxSize || subgroups.size,
    ],
    workgroupMemory: limits.maxComputeWorkgroupStorageSize,
    workgroupSize: limits.maxComputeInvocationsPerWorkgroup,
    workgroups: limits.maxComputeWorkgroupsPerDimension,
    bindingBytes: limits.maxStorageBufferBindingSize,
    bufferBytes: limits.maxBufferSize,
    offsetAlignment: limits.minStorageBufferOffsetAlignment,
    bindings: limits.maxStorageBuffersPerShaderStage,
  };
  const numbers: Record<string, number> = {};
  for (const name in limits) {
    const value = limits[name as keyof GPUSupportedLimits];
    if (typeof value === "number") numbers[name] = value;
  }
  return new WebGpuDevice({
    device,
    capabilities,
    checked,
    subgroupsDirective: subgroups?.directive ?? "",
    info: {
      name: adapter.info.description || adapter.info.device || "WebGPU adapter",
      vendor: adapter.info.vendor,
      features: features.filter((name) => name !== "subgroups" || subgroups !== undefined),
      limits: numbers,
    },
  });
}

/**
 * Opens a device.
 *
 * @throws {DeviceError} code `NO_ADAPTER` when WebGPU was asked for and there is no adapter.
 */
export async function openDevice(
  { device = "auto", checked = false }: OpenDeviceOptions = {},
): Promise<Device> {
  if (device !== "wasm") {
    const found = await openWebGpu(checked, device === "webgpu");
    if (found !== undefined) return found;
    if (device === "webgpu") {
      throw new DeviceError(
        "NO_ADAPTER",
        "Cannot open a WebGPU device: no adapter was found; install a Vulkan driver (on Debian mesa-vulkan-drivers) or use --device wasm",
      );
    }
  }
  return new HostDevice();
}
