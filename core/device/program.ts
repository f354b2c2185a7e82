/**
 * Kernels as data: one description serves the WGSL backend and its typed-array twin.
 *
 * @module
 */

/** The scalar type of an array or parameter. */
export type Scalar = "f32" | "u32" | "i32";

/** An array a kernel reads or writes. */
export interface ArraySpec {
  /** WGSL element type: a scalar, a vector such as `vec4<f32>`, or `atomic<u32>`. */
  readonly type: string;
  /** `read_write` arrays may not alias any other array of the same dispatch. */
  readonly access: "read" | "read_write";
}

/** The typed-array view a host twin gets for an array. */
export type HostArray = Float32Array | Uint32Array | Int32Array;

/** A compiled-once kernel: its interface, its WGSL and the same computation on typed arrays. */
export interface Program {
  /** Unique for the source: kernel family and every constant baked into it, such as `matmul.tile f16 k4096`. */
  readonly key: string;
  /** Arrays by their WGSL name, in binding order: the first is at binding 1. */
  readonly arrays: Readonly<Record<string, ArraySpec>>;
  /** Uniform parameters, available in WGSL as `params.NAME`. */
  readonly parameters: Readonly<Record<string, Scalar>>;
  /** Uses `subgroupAdd` or its kin: the device adds `enable subgroups;` where the runtime wants it. */
  readonly subgroups?: boolean;
  /** WGSL without the declarations of arrays and parameters; the entry point is `main`. */
  readonly wgsl: string;
  /** The same computation on typed arrays, whole dispatch at once. Vectors and packed types appear as flat scalars. */
  // deno-lint-ignore no-explicit-any
  readonly host: (arrays: any, parameters: any) => void;
}

/** Typed-array views of a program's arrays, by name: floats, signed or unsigned words as the WGSL element type says. */
export type HostArrays<A> = {
  [K in keyof A]: A[K] extends { type: infer T } ? T extends `${string}f32${string}` ? Float32Array
    : T extends `${string}i32${string}` ? Int32Array
    : Uint32Array
    : never;
};

const programs = new Map<string, Program>();

/**
 * Builds a program once per key and returns it from then on.
 *
 * @param key Family and every constant that the source depends on.
 * @param build Called the first time only.
 */
export function program<
  const A extends Record<string, ArraySpec>,
  const P extends Record<string, Scalar>,
>(
  key: string,
  build: () => {
    arrays: A;
    parameters: P;
    subgroups?: boolean;
    wgsl: string;
    host: (arrays: HostArrays<A>, parameters: { [K in keyof P]: number }) => void;
  },
): Program {
  let found = programs.get(key);
  if (found === undefined) programs.set(key, found = { key, ...build() });
  return found;
}

/** The scalar inside a WGSL element type, and how many bytes an element takes. */
export function elementLayout(type: string): { scalar: Scalar; bytes: number } {
  const scalar: Scalar = type.includes("f32") ? "f32" : type.includes("i32") ? "i32" : "u32";
  const lanes = type.startsWith("vec2") ? 2 : type.startsWith("vec4") ? 4 : 1;
  return { scalar, bytes: 4 * lanes };
}

/** Complete WGSL of a program: parameters at binding 0, arrays from binding 1 on, in their order. */
export function programSource(program: Program, subgroupsDirective: string): string {
  const names = Object.keys(program.parameters);
  const fields = names.length === 0
    ? ["unused: u32"]
    : names.map((name) => `${name}: ${program.parameters[name]}`);
  const arrays = Object.entries(program.arrays).map(([name, { type, access }], index) =>
    `@group(0) @binding(${index + 1}) var<storage, ${access}> ${name}: array<${type}>;`
  );
  return [
    program.subgroups ? subgroupsDirective : "",
    `struct Params { ${fields.join(", ")} }`,
    "@group(0) @binding(0) var<uniform> params: Params;",
    ...arrays,
    // A dispatch wider than the device's limit is folded into y; kernels take their x index from here.
    "fn workgroupIndex(group: vec3<u32>, count: vec3<u32>) -> u32 { return group.x + group.y * count.x; }",
    program.wgsl,
  ].filter((line) => line !== "").join("\n");
}
