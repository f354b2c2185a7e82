/**
 * Structures of the CT phantoms, by the names TotalSegmentator gives them.
 *
 * @module
 */

/** Vertebrae from the lowest, so that every 28 mm upwards is the next. */
export const vertebrae: readonly string[] = [
  ...["L3", "L2", "L1"],
  ...Array.from({ length: 12 }, (_, n) => `T${12 - n}`),
];

/** Name of every value of a label volume; 0 is none. */
export const structureNames: readonly string[] = [
  "background",
  "lung_upper_lobe_right",
  "lung_middle_lobe_right",
  "lung_lower_lobe_right",
  "lung_upper_lobe_left",
  "lung_lower_lobe_left",
  "heart",
  "aorta",
  "liver",
  "spleen",
  "kidney_right",
  "kidney_left",
  "stomach",
  "inferior_vena_cava",
  "trachea",
  "gallbladder",
  "sternum",
  ...vertebrae.map((name) => `vertebrae_${name}`),
  ...Array.from({ length: 12 }, (_, n) => `rib_right_${n + 1}`),
  ...Array.from({ length: 12 }, (_, n) => `rib_left_${n + 1}`),
];

/** Value of a structure in a label volume. @throws {RangeError} when there is no such structure. */
export function structureValue(name: string): number {
  const value = structureNames.indexOf(name);
  if (value < 0) throw new RangeError(`There is no structure ${JSON.stringify(name)}`);
  return value;
}

/** Values that the drawing uses, looked up once. */
export const values = {
  lung: { right: [1, 2, 3], left: [4, 5] },
  heart: structureValue("heart"),
  aorta: structureValue("aorta"),
  liver: structureValue("liver"),
  spleen: structureValue("spleen"),
  kidney: { right: structureValue("kidney_right"), left: structureValue("kidney_left") },
  stomach: structureValue("stomach"),
  cava: structureValue("inferior_vena_cava"),
  trachea: structureValue("trachea"),
  gallbladder: structureValue("gallbladder"),
  sternum: structureValue("sternum"),
  vertebra: structureValue("vertebrae_L3"),
  rib: { right: structureValue("rib_right_1"), left: structureValue("rib_left_1") },
} as const;

/** The name as one says it, such as `upper lobe of the right lung`. */
export function structureWords(name: string): string {
  const lobe = /^lung_(\w+)_lobe_(right|left)$/.exec(name);
  if (lobe) return `${lobe[1]} lobe of the ${lobe[2]} lung`;
  const sided = /^(\w+)_(right|left)(?:_(\d+))?$/.exec(name);
  if (sided) return `${sided[2]} ${sided[1]}${sided[3] ? ` ${sided[3]}` : ""}`;
  return name.replace(/^vertebrae_/, "vertebra ").replaceAll("_", " ");
}
