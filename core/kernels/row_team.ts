/**
 * How the invocations of a workgroup share the rows of a kernel: who loads what, and how partial results meet.
 *
 * Four ways. `alone`: one row per invocation, no exchange, for rows of a few values. `subgroup`: one workgroup that is
 * exactly one subgroup per row, so that `subgroupAdd` is the whole exchange; software adapters, where barriers split the
 * compiled loop, want it. `subgroups`: a wide workgroup per row, subgroups first and workgroup memory between them.
 * `memory`: the same with a tree in workgroup memory, for devices without subgroups.
 *
 * @module
 */
import type { Capabilities } from "../device/mod.ts";

/** Invocations that work on one row together. */
export interface RowTeam {
  /** Invocations per row, a power of two; 1 for `alone`. */
  readonly lanes: number;
  readonly exchange: "alone" | "subgroup" | "subgroups" | "memory";
}

/** Rows per workgroup when every invocation has its own row. */
const rowsAlone = 64;

/**
 * Loop iterations an invocation may run on software adapters: lavapipe ends every loop of an invocation, silently, once its
 * loops together have run 65535 times.
 */
const softwareIterations = 64000;

/** Loads per invocation under which another lane does not pay. */
const loadsPerLane = 4;

/** What a kernel asks of its teams. */
export interface TeamOptions {
  /** Most loads that a single invocation may do alone, 0 when the kernel needs a workgroup per row. Default 8. */
  readonly few?: number;
  /** Loop iterations per load, over the whole kernel. Default 4. */
  readonly walks?: number;
}

/**
 * Chooses a team.
 *
 * @param capabilities The device.
 * @param loads Loads per row (vectors or scalars).
 */
export function rowTeam(
  capabilities: Capabilities,
  loads: number,
  { few = 16, walks = 4 }: TeamOptions = {},
): RowTeam {
  if (loads <= few) return { lanes: 1, exchange: "alone" };
  const { software, subgroups, subgroupSizes: [smallest, largest] } = capabilities;
  const fixed = subgroups && smallest === largest && smallest > 1;
  const widest = Math.min(256, capabilities.workgroupSize);
  if (software) {
    const lanes = fixed ? smallest : 1;
    if ((fixed || few > 0) && loads * walks <= lanes * softwareIterations) {
      return { lanes, exchange: fixed ? "subgroup" : "alone" };
    }
    return { lanes: widest, exchange: fixed ? "subgroups" : "memory" };
  }
  const wanted = 2 ** Math.ceil(Math.log2(loads / loadsPerLane));
  const lanes = Math.min(widest, Math.max(32, wanted));
  if (!subgroups || lanes < largest) return { lanes, exchange: "memory" };
  return { lanes, exchange: fixed && lanes === largest ? "subgroup" : "subgroups" };
}

/** The part of a program key that names a team. */
export function teamKey({ lanes, exchange }: RowTeam): string {
  return `${exchange}${lanes}`;
}

/** Workgroups that cover `rows`. */
export function teamGroups({ exchange }: RowTeam, rows: number): number {
  return exchange === "alone" ? Math.ceil(rows / rowsAlone) : rows;
}

/** Whether programs of the team need the subgroups directive. */
export function teamSubgroups({ exchange }: RowTeam): boolean {
  return exchange === "subgroup" || exchange === "subgroups";
}

/**
 * The head of a kernel over `params.rows` rows: declares `row` and `lane` and leaves when there is no such row.
 * Every invocation of a team gets the same row, so control flow stays uniform where it must.
 */
export function teamMain(team: RowTeam, body: string): string {
  const alone = team.exchange === "alone";
  const divided = team.exchange === "subgroups";
  return /* wgsl */ `
@compute @workgroup_size(${alone ? rowsAlone : team.lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32${
    divided ? ", @builtin(subgroup_size) subgroupLanes: u32" : ""
  }) {
  let row = workgroupIndex(group, groups)${alone ? ` * ${rowsAlone}u + index` : ""};
  let lane = ${alone ? "0u" : "index"};
  if (row >= params.rows) { return; }
  ${divided ? "teamLane = index; teamSubgroup = subgroupLanes;" : ""}
  ${team.exchange === "memory" ? "teamLane = index;" : ""}
${body}
}`;
}

/** Loads per loop iteration of {@linkcode teamWalk}. */
const unrolled = 4;

/**
 * WGSL that runs `body` for every load `i` of this lane from `start` to `end`, lanes taking turns; several per loop iteration,
 * because runtimes bound and check every iteration.
 */
export function teamWalk({ lanes }: RowTeam, body: string, start: string, end: string): string {
  const turns = Array.from(
    { length: unrolled },
    (_, n) => `    { let i = next + ${n * lanes}u; ${body} }`,
  );
  return /* wgsl */ `  {
  var next = ${start} + lane;
  for (; next + ${(unrolled - 1) * lanes}u < ${end}; next += ${unrolled * lanes}u) {
${turns.join("\n")}
  }
  for (; next < ${end}; next += ${lanes}u) { let i = next; ${body} }
  }`;
}

/** A reduction over the team. */
export interface Reduction {
  /** Name of the WGSL function, `NAME(value) -> value`; every member of the team gets the result. */
  readonly name: string;
  readonly type: "f32" | "u32" | "vec2<f32>" | "vec4<f32>";
  readonly operation: "add" | "max" | "min";
}

/** WGSL of the reductions a kernel uses; to be put before {@linkcode teamMain}. */
export function teamReductions(team: RowTeam, reductions: readonly Reduction[]): string {
  const state = team.exchange === "subgroups"
    ? "var<private> teamLane: u32;\nvar<private> teamSubgroup: u32;\n"
    : team.exchange === "memory"
    ? "var<private> teamLane: u32;\n"
    : "";
  return state + reductions.map((reduction) => reductionFunction(team, reduction)).join("\n");
}

function reductionFunction({ lanes, exchange }: RowTeam, { name, type, operation }: Reduction) {
  const merge = (a: string, b: string) =>
    operation === "add" ? `${a} + ${b}` : `${operation}(${a}, ${b})`;
  const native = { add: "subgroupAdd", max: "subgroupMax", min: "subgroupMin" }[operation];
  if (exchange === "alone") return `fn ${name}(value: ${type}) -> ${type} { return value; }`;
  if (exchange === "subgroup") {
    return `fn ${name}(value: ${type}) -> ${type} { return ${native}(value); }`;
  }
  // The barrier at the end lets the next reduction of the same name overwrite the parts.
  if (exchange === "memory") {
    const halves = Array.from({ length: Math.log2(lanes) }, (_, i) => lanes >> (i + 1));
    return /* wgsl */ `
var<workgroup> ${name}Parts: array<${type}, ${lanes}>;
fn ${name}(value: ${type}) -> ${type} {
  ${name}Parts[teamLane] = value;
  workgroupBarrier();
${
      halves.map((half) =>
        `  if (teamLane < ${half}u) {
    ${name}Parts[teamLane] = ${
          merge(`${name}Parts[teamLane]`, `${name}Parts[teamLane + ${half}u]`)
        };
  }
  workgroupBarrier();`
      ).join("\n")
    }
  let total = ${name}Parts[0];
  workgroupBarrier();
  return total;
}`;
  }
  return /* wgsl */ `
var<workgroup> ${name}Parts: array<${type}, ${lanes}>;
fn ${name}(value: ${type}) -> ${type} {
  let part = ${native}(value);
  if (teamLane % teamSubgroup == 0u) { ${name}Parts[teamLane / teamSubgroup] = part; }
  workgroupBarrier();
  var total = ${name}Parts[0];
  for (var i = 1u; i < ${lanes}u / teamSubgroup; i++) { total = ${
    merge("total", `${name}Parts[i]`)
  }; }
  workgroupBarrier();
  return total;
}`;
}
