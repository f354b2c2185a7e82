/**
 * The files of a reference case: its parameters, input tensors and expected tensors.
 *
 * @module
 */
import { type CheckpointSource, openCheckpoint, toFloat32 } from "@medvlm/core/checkpoint";
import { readAll } from "@medvlm/core";

/** A tensor of a case as plain numbers. */
export interface CaseTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array<ArrayBuffer> | number[];
}

/** The tensors of one file. */
export class CaseTensors implements Disposable {
  readonly #source: CheckpointSource;

  private constructor(source: CheckpointSource) {
    this.#source = source;
  }

  static async open(path: string): Promise<CaseTensors> {
    return new CaseTensors(await openCheckpoint(path));
  }

  names(): string[] {
    return this.#source.names();
  }

  has(name: string): boolean {
    return this.#source.get(name) !== undefined;
  }

  /** Values as numbers; numbers of 64 bits become doubles. */
  async get(name: string): Promise<CaseTensor> {
    const entry = this.#source.get(name);
    if (entry === undefined) throw new Error(`${this.#source.name} has no tensor "${name}"`);
    const bytes = await entry.read();
    const { shape, dtype } = entry;
    const view = bytes.slice().buffer;
    switch (dtype) {
      case "F64":
        return { shape, values: [...new Float64Array(view)] };
      case "I64":
        return { shape, values: Array.from(new BigInt64Array(view), Number) };
      case "I32":
        return { shape, values: [...new Int32Array(view)] };
      case "I16":
        return { shape, values: [...new Int16Array(view)] };
      case "I8":
        return { shape, values: [...new Int8Array(view)] };
      case "U8":
      case "BOOL":
        return { shape, values: [...bytes] };
      default:
        return { shape, values: toFloat32(bytes, dtype) };
    }
  }

  /** Float values. */
  async floats(name: string): Promise<Float32Array<ArrayBuffer>> {
    return Float32Array.from((await this.get(name)).values);
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

/** Reads a JSON file of a case. */
// deno-lint-ignore no-explicit-any
export async function caseJson(path: string): Promise<any> {
  return JSON.parse(new TextDecoder().decode(await readAll(path)));
}

/** Everything a case consists of. */
export interface CaseFiles extends Disposable {
  readonly dir: string;
  // deno-lint-ignore no-explicit-any
  readonly case: any;
  // deno-lint-ignore no-explicit-any
  readonly config: any;
  readonly inputs: CaseTensors;
  readonly expected: CaseTensors;
}

/** Opens the case in a folder. */
export async function openCase(dir: string): Promise<CaseFiles> {
  const inputs = await CaseTensors.open(`${dir}/inputs.safetensors`);
  const expected = await CaseTensors.open(`${dir}/expected.safetensors`);
  return {
    dir,
    case: await caseJson(`${dir}/case.json`),
    config: await caseJson(`${dir}/config.json`),
    inputs,
    expected,
    [Symbol.dispose]() {
      inputs[Symbol.dispose]();
      expected[Symbol.dispose]();
    },
  };
}

/** Where the checkpoint that a case names lies: relative to the case. */
export function checkpointPath(files: CaseFiles, name: unknown): string {
  if (typeof name !== "string") throw new Error(`The case ${files.dir} names no checkpoint`);
  return `${files.dir}/${name}`;
}
