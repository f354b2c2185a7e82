/**
 * Reference cases of host preprocessing: resizing pictures as Pillow does and tensors as PyTorch does.
 *
 * @module
 */
import { readAll } from "../../core/files.ts";
import {
  adaptiveAveragePool,
  type Channels,
  interpolate,
  type InterpolateMode,
  type PillowFilter,
  raster,
  resizePillow,
  type SourceBox,
} from "../../core/image/mod.ts";
import type { FoundCase, Report } from "./harness.ts";
import { readReferenceTensors, type ReferenceTensors } from "./reference_tensors.ts";

interface Step {
  op: string;
  input: string;
  output: string;
  tolerance: number;
  filter?: PillowFilter;
  width?: number;
  height?: number;
  box?: SourceBox | null;
  mode?: InterpolateMode;
  size?: number[];
  "align_corners"?: boolean | null;
  antialias?: boolean | null;
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await readAll(path)));
}

/** One case for every operation and filter (or mode) in every folder below `dir` that has a `case.json`. */
export async function findPreprocessCases(dir: string): Promise<FoundCase[]> {
  const found: FoundCase[] = [];
  const folders: string[] = [];
  for await (const entry of Deno.readDir(dir)) if (entry.isDirectory) folders.push(entry.name);
  for (const folder of folders.sort()) {
    const path = `${dir}/${folder}`;
    const { cases } = await readJson<{ cases: Step[] }>(`${path}/case.json`);
    for (const [label, steps] of Map.groupBy(cases, groupLabel)) {
      found.push({
        name: `preprocess/${folder}/${label}`,
        run: async (report) => {
          const tensors = await readReferenceTensors(`${path}/tensors.safetensors`);
          for (const step of steps) compare(step, tensors, report);
        },
      });
    }
  }
  return found;
}

function groupLabel({ op, filter, mode, antialias }: Step): string {
  return [op, filter ?? mode, antialias ? "antialias" : undefined].filter(Boolean).join("/");
}

function compare(step: Step, tensors: ReferenceTensors, report: Report): void {
  const { shape, data } = apply(step, tensors);
  const expected = tensors.get(step.output);
  const name = `${step.output} (${step.input} to ${shape.join("x")})`;
  report.exact(`${name} shape`, shape, expected.shape);
  report.close(name, data, expected.data, { atol: step.tolerance });
}

function apply(
  step: Step,
  tensors: ReferenceTensors,
): { shape: readonly number[]; data: ArrayLike<number> } {
  const { shape, data } = tensors.get(step.input);
  if (step.op === "pillow.resize") {
    const [height, width, channels = 1] = shape;
    const image = raster(width, height, channels as Channels, data as Uint8Array);
    const out = resizePillow(
      image,
      step.width!,
      step.height!,
      step.filter!,
      step.box ?? [0, 0, width, height],
    );
    return { shape: [out.height, out.width, ...shape.slice(2)], data: out.data };
  }
  const values = Float32Array.from(data);
  const size = step.size!;
  const outShape = [...shape.slice(0, shape.length - size.length), ...size];
  switch (step.op) {
    case "torch.interpolate": {
      const alignCorners = step["align_corners"] ?? false, antialias = step.antialias ?? false;
      const options = { alignCorners, antialias };
      return { shape: outShape, data: interpolate(values, shape, size, step.mode!, options) };
    }
    case "torch.adaptive_avg_pool":
      return { shape: outShape, data: adaptiveAveragePool(values, shape, size) };
    default:
      throw new Error(`the operation ${step.op} is not known`);
  }
}
