/**
 * Devices: adapter choice, memory pool, pipeline cache, recording and replay, profiling, and the two backends behind one
 * interface.
 *
 * @module
 */
export * from "./device.ts";
export { HostDevice } from "./host.ts";
export { openDevice, type OpenDeviceOptions } from "./open.ts";
export { BufferPool, sizeClass } from "./pool.ts";
export {
  type ArraySpec,
  elementLayout,
  type HostArray,
  type HostArrays,
  type Program,
  program,
  programSource,
  type Scalar,
} from "./program.ts";
export { WebGpuDevice, type WebGpuSetup } from "./webgpu.ts";
