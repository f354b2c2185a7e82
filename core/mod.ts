/**
 * The runtime that all systems share: devices, tensors, text, images, checkpoints and the plugin contract.
 *
 * Larger parts have entries of their own: `@medvlm/core/device`, `/tensor`, `/nn`, `/text`, `/image`, `/checkpoint`.
 *
 * @module
 */
export { DeviceError, InputError } from "./errors.ts";
export {
  bytesSource,
  type FileSource,
  type FolderSource,
  isSafeName,
  openFile,
  openFolder,
  readAll,
  readJson,
  writeAtomic,
} from "./files.ts";
export { JsonFields } from "./json_fields.ts";
export * from "./example.ts";
export * from "./plugin.ts";
export * from "./search_options.ts";
export { type CheckpointSource, type FolderWriter, openCheckpoint } from "./checkpoint/mod.ts";
export { type Device, openDevice, type OpenDeviceOptions } from "./device/mod.ts";
export type { Raster } from "./image/mod.ts";
export type { ParameterSpec, WeightStorage } from "./nn/parameters.ts";
