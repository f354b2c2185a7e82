/**
 * Training: optimisers, clipping, schedules.
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
