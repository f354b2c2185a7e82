/**
 * Training: optimisers, clipping, schedules, stages, runs in a folder.
 *
 * @module
 */
export { GradientNorm, type Verdict } from "./gradient_norm.ts";
export {
  AdamW,
  type AdamWOptions,
  type ParameterGroup,
  type StepReport,
  type TrainedParameter,
} from "./optimiser.ts";
export {
  type BatchLoss,
  type StepRecord,
  Trainer,
  type TrainerOptions,
  type TrainingTask,
} from "./trainer.ts";
export {
  type ConstantSchedule,
  type EpochSchedule,
  learningRate,
  type PeriodicCosineSchedule,
  type Schedule,
  type WarmupDecaySchedule,
  type WarmupSchedule,
} from "./schedules.ts";
export {
  decayGroups,
  type DecayRule,
  decaysLinearWeights,
  decaysNothing,
  decaysUnlessNamed,
} from "./weight_decay.ts";
export { type Stage, type StageAdapters, type StageSchedule, stageSchedule } from "./stage.ts";
export { adaptedModules, adapterConfig, StageParameters, trainsWhole } from "./stage_parameters.ts";
export {
  llamaActivationBytes,
  type LlamaLoad,
  stageWeightBytes,
  totalBytes,
  type TrainingMemory,
} from "./memory.ts";
export { lossPlot } from "./loss_plot.ts";
export {
  type EvaluationRecord,
  isStep,
  type LogLine,
  runFiles,
  type RunOptions,
  type RunResult,
  trainInFolder,
} from "./run.ts";
