/**
 * Checkpoints: safetensors, files of `torch.save` (both layouts), sharded Hugging Face checkpoints and LoRA adapters
 * in peft layout, read by byte ranges and written piece by piece. Pickles are read as data; no code in them ever runs.
 *
 * @module
 */
export type { FileSource, FolderSource } from "../files.ts";
export {
  type ByteRange,
  checkView,
  contiguousStride,
  type DType,
  dtypeBytes,
  elementCount,
  isDType,
  memoryTensor,
  renamedTensor,
  type TensorEntry,
  tensorEntry,
  type TensorLayout,
} from "./tensor_data.ts";
export {
  castTensor,
  float32ToBfloat16,
  float32ToHalf,
  type FloatDType,
  fromFloat32,
  isFloatDType,
  toFloat32,
} from "./convert.ts";
export {
  readSafetensors,
  safetensorsChunks,
  type SafetensorsFile,
  type SafetensorsOptions,
} from "./safetensors.ts";
export { unpickle, type UnpickleOptions } from "./pickle.ts";
export {
  OpaqueObject,
  type PyConstructor,
  PyDict,
  PyFloat,
  PyGlobal,
  PyTuple,
  type PyValue,
  StorageRef,
  StorageType,
  TensorRef,
  TorchDevice,
  TorchDtype,
  TorchSize,
} from "./pickle_values.ts";
export { TORCH_GLOBALS, torchDtypeName, torchStorageName } from "./torch_globals.ts";
export { openTorchFile, type TorchFile, type TorchOptions } from "./torch_file.ts";
export { openTorchZip } from "./torch_zip.ts";
export { openTorchLegacy } from "./torch_legacy.ts";
export { torchSaveChunks, type TorchSaveOptions } from "./torch_save.ts";
export {
  type CheckpointOptions,
  type CheckpointSource,
  checkpointSource,
  openCheckpoint,
} from "./source.ts";
export { type CheckOptions, checkTensors, type ExpectedTensor, renameTensors } from "./name_map.ts";
export {
  diskFolder,
  type FolderWriter,
  type Saved,
  type SaveOptions,
  saveShardedBin,
  saveShardedSafetensors,
} from "./save.ts";
export {
  formatLoraConfig,
  isSavedModule,
  type LoraConfig,
  loraConfig,
  type LoraSettings,
  moduleScaling,
  parseLoraConfig,
  targetModules,
} from "./peft_config.ts";
export {
  collectLora,
  type LoraAdapter,
  type LoraModule,
  type OpenAdapter,
  openAdapter,
  parsePeftName,
  type PeftName,
  saveAdapter,
  withSavedTensors,
} from "./peft.ts";
export { joinChunks, memoryFolder } from "./memory_folder.ts";
export { sha256, verifySha256 } from "./hash.ts";
