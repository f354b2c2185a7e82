/**
 * `adapter_config.json` of LoRA adapters as the peft library writes it (versions 0.2 to 0.1x): which modules are
 * adapted and how strongly.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/** A LoRA configuration. */
export interface LoraConfig {
  /** Rank, at least 1. */
  r: number;
  /** Numerator of the scaling. */
  loraAlpha: number;
  /** Dropout before A while training, 0 … 1. */
  loraDropout: number;
  /**
   * Modules that are adapted: names or dotted endings of names, or one regular expression for whole names, or
   * `all-linear`, or null when the adapter does not say.
   */
  targetModules: readonly string[] | string | null;
  /** Modules that are not adapted although they match: names or dotted endings, or one regular expression, or null. */
  excludeModules: readonly string[] | string | null;
  /** Numbers of the layers whose modules are adapted; null for all. Applies to endings of names only. */
  layersToTransform: readonly number[] | null;
  /** Names of the lists of layers that are counted, as regular expressions; any list where there is none. */
  layersPattern: readonly string[];
  /** Modules trained in full beside the adapters, by dotted ending. */
  modulesToSave: readonly string[];
  /** Scaling alpha / sqrt(r) instead of alpha / r (rsLoRA, arXiv:2312.03732). */
  useRslora: boolean;
  /** Ranks of single modules: regular expression for the end of a name -> rank. */
  rankPattern: Readonly<Record<string, number>>;
  /** Alphas of single modules, likewise. */
  alphaPattern: Readonly<Record<string, number>>;
  /** Other fields of the file, kept for writing it again. */
  extra: Readonly<Record<string, unknown>>;
}

/** Settings of {@linkcode loraConfig}: rank, alpha and targets, and what differs from peft's defaults. */
export type LoraSettings =
  & Pick<LoraConfig, "r" | "loraAlpha" | "targetModules">
  & Partial<LoraConfig>;

/** A configuration with peft's defaults: no dropout, no exclusions, alpha / r. */
export function loraConfig(settings: LoraSettings): LoraConfig {
  return {
    loraDropout: 0,
    excludeModules: null,
    layersToTransform: null,
    layersPattern: [],
    modulesToSave: [],
    useRslora: false,
    rankPattern: {},
    alphaPattern: {},
    extra: {},
    ...settings,
  };
}

/** Longest regular expression taken from a file. */
const MAX_PATTERN = 1024;

/**
 * Reads `adapter_config.json`.
 *
 * @param name File name for messages.
 * @throws {InputError} code `INVALID_ADAPTER` when it is no LoRA configuration or asks for something that is not
 * supported (DoRA, trained biases, transposed weights).
 */
export function parseLoraConfig(text: string, name: string): LoraConfig {
  const fail = (what: string): never => {
    throw new InputError("INVALID_ADAPTER", `Cannot use adapter configuration "${name}": ${what}`);
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return fail("it is no complete JSON");
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    return fail("it is no JSON object");
  }
  const {
    peft_type: type,
    r,
    lora_alpha: loraAlpha,
    lora_dropout: loraDropout = 0,
    target_modules: targets = null,
    modules_to_save: saved = null,
    use_rslora: useRslora = false,
    rank_pattern: ranks = null,
    alpha_pattern: alphas = null,
    bias = "none",
    ...extra
  } = json as Record<string, unknown>;
  if (type !== "LORA") return fail(`its peft_type is ${JSON.stringify(type)}, expected "LORA"`);
  if (typeof r !== "number" || !Number.isSafeInteger(r) || r < 1) return fail("its r is no rank");
  if (typeof loraAlpha !== "number" || !Number.isFinite(loraAlpha)) {
    return fail("its lora_alpha is no number");
  }
  if (typeof loraDropout !== "number" || !(loraDropout >= 0 && loraDropout <= 1)) {
    return fail("its lora_dropout is not between 0 and 1");
  }
  if (typeof useRslora !== "boolean") return fail("its use_rslora is no boolean");
  if (bias !== "none") return fail(`bias ${JSON.stringify(bias)} is not supported`);
  if (extra.use_dora === true) return fail("use_dora is not supported");
  if (extra.fan_in_fan_out === true) return fail("fan_in_fan_out is not supported");
  if (targets !== null && typeof targets !== "string" && !isStrings(targets)) {
    return fail("its target_modules are neither names nor a regular expression");
  }
  if (saved !== null && !isStrings(saved)) return fail("its modules_to_save are no names");
  const patterns = (value: unknown, field: string, least: number): Record<string, number> => {
    if (value === null) return {};
    if (typeof value !== "object" || Array.isArray(value)) return fail(`its ${field} is no object`);
    for (const [pattern, number] of Object.entries(value)) {
      if (typeof number !== "number" || !(number >= least)) {
        fail(`its ${field} for ${JSON.stringify(pattern)} is no number >= ${least}`);
      }
      compile(pattern, fail);
    }
    return value as Record<string, number>;
  };
  if (typeof targets === "string") compile(targets, fail);
  const excluded = extra.exclude_modules ?? null;
  if (excluded !== null && typeof excluded !== "string" && !isStrings(excluded)) {
    return fail("its exclude_modules are neither names nor a regular expression");
  }
  if (typeof excluded === "string") compile(excluded, fail);
  const layers = [extra.layers_to_transform ?? []].flat();
  if (!layers.every((layer) => Number.isSafeInteger(layer))) {
    return fail("its layers_to_transform are no numbers");
  }
  const lists = [extra.layers_pattern ?? []].flat();
  if (!isStrings(lists)) return fail("its layers_pattern is neither a name nor a list of them");
  for (const list of lists) compile(list, fail);
  return {
    r,
    loraAlpha,
    loraDropout,
    targetModules: targets,
    excludeModules: excluded,
    layersToTransform: layers.length > 0 ? layers as number[] : null,
    layersPattern: lists,
    modulesToSave: saved ?? [],
    useRslora,
    rankPattern: patterns(ranks, "rank_pattern", 1),
    alphaPattern: patterns(alphas, "alpha_pattern", 0),
    extra,
  };
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/** A Python regular expression as a JavaScript one for a whole text. */
function compile(pattern: string, fail: (what: string) => never): RegExp {
  const shown = JSON.stringify(pattern.slice(0, 80));
  if (pattern.length > MAX_PATTERN) return fail(`the pattern ${shown} is too long`);
  try {
    return new RegExp(`^(?:${pattern.replace(/\(\?P</g, "(?<").replace(/\\Z/g, "$")})$`);
  } catch {
    return fail(`the pattern ${shown} is no regular expression`);
  }
}

function wholePattern(pattern: string): RegExp {
  return compile(pattern, (what) => {
    throw new InputError("INVALID_ADAPTER", `Cannot use a LoRA configuration: ${what}`);
  });
}

/** Whether a module is named by a list of names or dotted endings. */
function endsIn(module: string, names: readonly string[]): boolean {
  return names.some((name) => module === name || module.endsWith(`.${name}`));
}

/**
 * The modules of a model that a configuration adapts.
 *
 * @param linear Names of all linear layers, for `all-linear`; the output layer is not among the adapted ones.
 * @param output Name of the output layer, such as `lm_head`.
 * @throws {InputError} code `INVALID_ADAPTER` when nothing matches.
 */
export function targetModules(
  config: LoraConfig,
  modules: Iterable<string>,
  { linear = [], output }: { linear?: Iterable<string>; output?: string } = {},
): string[] {
  const targets = config.targetModules;
  let found: string[];
  if (targets === "all-linear") {
    found = [...linear].filter((module) => module !== output);
  } else if (typeof targets === "string") {
    const pattern = wholePattern(targets);
    found = [...modules].filter((module) => pattern.test(module));
  } else {
    // A whole name is meant whatever its layer.
    found = [...modules].filter((module) =>
      targets?.includes(module) || (endsIn(module, targets ?? []) && isInLayers(config, module))
    );
  }
  found = found.filter((module) => !isExcluded(config, module));
  if (found.length === 0) {
    throw new InputError(
      "INVALID_ADAPTER",
      `Cannot adapt the model: no module matches target_modules ${JSON.stringify(targets)}`,
    );
  }
  return found;
}

function isExcluded({ excludeModules: excluded }: LoraConfig, module: string): boolean {
  if (typeof excluded === "string") return wholePattern(excluded).test(module);
  return endsIn(module, excluded ?? []);
}

/** Whether a module lies in one of the layers that are adapted: the last number behind a list's name counts. */
function isInLayers({ layersToTransform, layersPattern }: LoraConfig, module: string): boolean {
  if (layersToTransform === null) return true;
  const lists = layersPattern.length > 0 ? layersPattern : ["[^.]*"];
  for (const list of lists) {
    const layer = wholePattern(`.*\\.(?:${list})\\.(?<layer>\\d+)\\..*`).exec(module)?.groups
      ?.layer;
    if (layer !== undefined) return layersToTransform.includes(Number(layer));
  }
  return false;
}

/** Whether a module is trained in full beside the adapters. */
export function isSavedModule(config: LoraConfig, module: string): boolean {
  return endsIn(module, config.modulesToSave);
}

/** Rank and scaling of one module: the patterns that fit the end of its name win over `r` and `lora_alpha`. */
export function moduleScaling(
  config: LoraConfig,
  module: string,
): { rank: number; scaling: number } {
  const lookUp = (patterns: Readonly<Record<string, number>>, fallback: number) => {
    const hit = Object.keys(patterns).find((pattern) =>
      wholePattern(`(?:.*\\.)?(?:${pattern})`).test(module)
    );
    return hit === undefined ? fallback : patterns[hit];
  };
  const rank = lookUp(config.rankPattern, config.r);
  const alpha = lookUp(config.alphaPattern, config.loraAlpha);
  return { rank, scaling: alpha / (config.useRslora ? Math.sqrt(rank) : rank) };
}

/** The text of `adapter_config.json`, keys sorted. */
export function formatLoraConfig(config: LoraConfig): string {
  const fields: Record<string, unknown> = {
    "auto_mapping": null,
    "base_model_name_or_path": null,
    "fan_in_fan_out": false,
    "inference_mode": true,
    "init_lora_weights": true,
    "layers_pattern": null,
    "layers_to_transform": null,
    "revision": null,
    "task_type": null,
    ...config.extra,
    "peft_type": "LORA",
    "r": config.r,
    "lora_alpha": config.loraAlpha,
    "lora_dropout": config.loraDropout,
    "target_modules": config.targetModules,
    "modules_to_save": config.modulesToSave.length > 0 ? config.modulesToSave : null,
    "use_rslora": config.useRslora,
    "rank_pattern": config.rankPattern,
    "alpha_pattern": config.alphaPattern,
    "bias": "none",
    // Older versions of peft refuse a field that they do not know.
    ...config.excludeModules === null ? {} : { "exclude_modules": config.excludeModules },
    ...config.layersToTransform === null ? {} : { "layers_to_transform": config.layersToTransform },
    ...config.layersPattern.length === 0 ? {} : { "layers_pattern": config.layersPattern },
  };
  const sorted = Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(Object.fromEntries(sorted), null, 2);
}
