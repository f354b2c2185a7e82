/**
 * What a stage trains of a model: parameters by parts of their names, and adapters on the matrices it names.
 *
 * @module
 */
import type { LoraConfig } from "../checkpoint/mod.ts";
import { InputError } from "../errors.ts";
import { Adapter } from "../nn/adapter.ts";
import { AdapterSet } from "../nn/adapters.ts";
import type { Parameters, ParameterSpec } from "../nn/parameters.ts";
import type { TrainedParameter } from "./optimiser.ts";
import type { Stage, StageAdapters } from "./stage.ts";

const nameOfAdapter = "default";

/** Whether a stage trains a parameter whole. */
export function trainsWhole({ trains }: Pick<Stage, "trains">, name: string): boolean {
  return trains.some((part) => name.includes(part));
}

/** Names of the modules that get adapters: matrices whose module name has a target in it and nothing that is left out. */
export function adaptedModules(
  { targets, except = [] }: StageAdapters,
  specs: readonly ParameterSpec[],
): string[] {
  return specs.filter(({ name, shape, keep }) =>
    name.endsWith(".weight") && shape.length === 2 && keep !== "tensor"
  ).map(({ name }) => name.slice(0, -".weight".length)).filter((module) =>
    targets.some((part) => module.includes(part)) && !except.some((part) => module.includes(part))
  );
}

/** The same as a peft configuration. */
export function adapterConfig(
  adapters: StageAdapters,
  specs: readonly ParameterSpec[],
): LoraConfig {
  return {
    r: adapters.rank,
    loraAlpha: adapters.alpha,
    loraDropout: adapters.dropout,
    targetModules: adaptedModules(adapters, specs),
    excludeModules: null,
    layersToTransform: null,
    layersPattern: [],
    modulesToSave: [],
    useRslora: adapters.rankStabilised ?? false,
    rankPattern: {},
    alphaPattern: {},
    extra: { bias: "none", "task_type": "CAUSAL_LM" },
  };
}

/** A model prepared for a stage. */
export class StageParameters implements Disposable {
  /** Parameters that the stage changes: whole ones by official name, factors of adapters by peft's. */
  readonly trained: readonly TrainedParameter[];
  /** The adapters of the stage; undefined where it has none. */
  readonly adapters: AdapterSet | undefined;

  /**
   * Attaches fresh adapters and lists what is trained.
   *
   * @param seed Of the adapters and their dropout.
   * @throws {InputError} code `NOTHING_TO_TRAIN` when a name of the stage fits no parameter.
   */
  constructor(parameters: Parameters, stage: Stage, seed: number) {
    const { specs } = parameters;
    for (const part of stage.trains) {
      if (!specs.some(({ name }) => name.includes(part))) {
        throw new InputError(
          "NOTHING_TO_TRAIN",
          `Cannot train stage "${stage.name}": the model has no parameter with "${part}" in its name`,
        );
      }
    }
    const whole = specs.filter(({ name, derived }) => derived !== true && trainsWhole(stage, name))
      .map(({ name }) => ({ name, value: parameters.value(name) }));
    if (stage.adapters === undefined) {
      this.adapters = undefined;
      this.trained = whole;
      return;
    }
    const adapter = Adapter.init(
      parameters.device,
      specs,
      adapterConfig(stage.adapters, specs),
      seed,
    );
    this.adapters = new AdapterSet(parameters, seed);
    this.adapters.add(nameOfAdapter, adapter);
    this.trained = [...whole, ...adapter.parameters(nameOfAdapter)];
  }

  /** Adds the adapters' updates to the weights: the stage is over. */
  finish(): void {
    this.adapters?.merge();
  }

  /** Releases the adapters. */
  [Symbol.dispose](): void {
    this.adapters?.[Symbol.dispose]();
  }
}
