/**
 * Pipelines by kernel and bind groups by the buffers they bind.
 *
 * @module
 */
import type { BufferRange } from "./device.ts";
import { type Program, programSource } from "./program.ts";

/** A compiled kernel. */
export interface Prepared {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly parameterNames: readonly string[];
  readonly parameterBytes: number;
  readonly arrayNames: readonly string[];
  /** Bind groups that use the shared parameter arena, by the buffers bound. */
  readonly groups: Map<string, GPUBindGroup>;
}

/** Bind groups kept per pipeline before starting over. */
const groupLimit = 2048;

/** Compiles each program once and builds each bind group once. */
export class PipelineCache {
  readonly #gpu: GPUDevice;
  readonly #directive: string;
  readonly #prepared = new Map<Program, Prepared>();

  constructor(gpu: GPUDevice, subgroupsDirective: string) {
    this.#gpu = gpu;
    this.#directive = subgroupsDirective;
  }

  get(program: Program): Prepared {
    let found = this.#prepared.get(program);
    if (found === undefined) this.#prepared.set(program, found = this.#compile(program));
    return found;
  }

  #compile(program: Program): Prepared {
    const gpu = this.#gpu;
    const parameterNames = Object.keys(program.parameters);
    const parameterBytes = Math.ceil(Math.max(1, parameterNames.length) / 4) * 16;
    const layout = gpu.createBindGroupLayout({
      label: program.key,
      entries: [
        {
          binding: 0,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: parameterBytes },
        },
        ...Object.values(program.arrays).map(({ access }, index) => ({
          binding: index + 1,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: access === "read" ? "read-only-storage" as const : "storage" as const },
        })),
      ],
    });
    const module = gpu.createShaderModule({
      label: program.key,
      code: programSource(program, this.#directive),
    });
    const pipeline = gpu.createComputePipeline({
      label: program.key,
      layout: gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
    return {
      pipeline,
      layout,
      parameterNames,
      parameterBytes,
      arrayNames: Object.keys(program.arrays),
      groups: new Map(),
    };
  }

  /**
   * A bind group of parameters and arrays.
   *
   * @param arena Buffer that holds the parameters.
   * @param shared The arena is the device's own: the group may be kept and reused.
   */
  bind(
    prepared: Prepared,
    arena: GPUBuffer,
    program: Program,
    ranges: Readonly<Record<string, BufferRange>>,
    shared = false,
  ): GPUBindGroup {
    let key = "";
    if (shared) {
      for (const name of prepared.arrayNames) {
        const range = ranges[name];
        if (range === undefined) break;
        key += `${(range.buffer as unknown as { id: number }).id}.${range.offset ?? 0}.${
          range.size ?? ""
        } `;
      }
      const found = prepared.groups.get(key);
      if (found !== undefined) return found;
    }
    const entries: GPUBindGroupEntry[] = [
      { binding: 0, resource: { buffer: arena, offset: 0, size: prepared.parameterBytes } },
    ];
    prepared.arrayNames.forEach((name, index) => {
      const range = ranges[name];
      if (range === undefined) {
        throw new TypeError(`Kernel ${program.key} needs the array "${name}"`);
      }
      const buffer = range.buffer as unknown as { gpu: GPUBuffer; size: number };
      const offset = range.offset ?? 0;
      entries.push({
        binding: index + 1,
        resource: { buffer: buffer.gpu, offset, size: range.size ?? buffer.size - offset },
      });
    });
    const group = this.#gpu.createBindGroup({
      label: program.key,
      layout: prepared.layout,
      entries,
    });
    if (shared) {
      if (prepared.groups.size >= groupLimit) prepared.groups.clear();
      prepared.groups.set(key, group);
    }
    return group;
  }

  /** Drops all kept bind groups, because a buffer they may bind is about to be destroyed. */
  forgetGroups(): void {
    for (const { groups } of this.#prepared.values()) groups.clear();
  }
}
