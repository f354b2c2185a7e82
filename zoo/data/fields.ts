/**
 * Typed access to the fields of records of unknown content.
 *
 * @module
 */
import type { Box } from "@medvlm/core";

/** A record is malformed; the reader adds the place. */
export class FieldError extends Error {
  /** Always `FieldError`. */
  override name = "FieldError";
}

/** Makes something of an element of a list; problems say which element it was. */
export async function numbered<T>(
  list: string,
  index: number,
  make: () => T | Promise<T>,
): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof FieldError) throw new FieldError(`${list}[${index}]: ${error.message}`);
    throw error;
  }
}

/** A record with named fields. */
export type Fields = Readonly<Record<string, unknown>>;

/** The value as a record. */
export function asFields(value: unknown, what = "the record"): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FieldError(`${what} is not an object`);
  }
  return value as Fields;
}

/** The value as a list. */
export function asList(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new FieldError(`${what} is not a list`);
  return value;
}

/** The value as text without blanks around it; numbers and truth values are spelt out. */
export function asText(value: unknown, what: string): string {
  const text = typeof value === "string" ? value.trim() : undefined;
  if (text !== undefined && text !== "") return text;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new FieldError(value === undefined ? `${what} is missing` : `${what} is no text`);
}

/** A field as text; must not be empty. */
export function textOf(fields: Fields, name: string): string {
  return asText(fields[name], `"${name}"`);
}

/** A field as text, or nothing when it is missing or empty. */
export function optionalText(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  if (value === undefined || value === null || value === "") return undefined;
  return typeof value === "string" && value.trim() === "" ? undefined : asText(value, `"${name}"`);
}

/** The value as a finite number; text must hold nothing else. */
export function asNumber(value: unknown, what: string): number {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number)) {
    throw new FieldError(value === undefined ? `${what} is missing` : `${what} is no number`);
  }
  return number;
}

/** A field as a number. */
export function numberOf(fields: Fields, name: string): number {
  return asNumber(fields[name], `"${name}"`);
}

/**
 * The box between two corners, in pixels.
 *
 * @throws {FieldError} when it is empty or turned round.
 */
export function boxOfCorners(corners: unknown, what = "the box"): Box {
  const list = asList(corners, what);
  if (list.length !== 4) throw new FieldError(`${what} has ${list.length} numbers instead of 4`);
  const [x0, y0, x1, y1] = list.map((value) => asNumber(value, what));
  if (x1 <= x0 || y1 <= y0) throw new FieldError(`${what} has no area`);
  return [x0, y0, x1, y1];
}

/** The box at `x, y` of this width and height, in pixels. */
export function boxOfSize(sides: unknown, what = "the box"): Box {
  const list = asList(sides, what);
  if (list.length !== 4) throw new FieldError(`${what} has ${list.length} numbers instead of 4`);
  const [x, y, width, height] = list.map((value) => asNumber(value, what));
  return boxOfCorners([x, y, x + width, y + height], what);
}

/** The texts that are there, by name; nothing when there are none. */
export function attributesOf(
  texts: Readonly<Record<string, string | undefined>>,
): { attributes?: Record<string, string> } {
  const known = Object.entries(texts).filter((entry): entry is [string, string] =>
    entry[1] !== undefined && entry[1] !== ""
  );
  return known.length === 0 ? {} : { attributes: Object.fromEntries(known) };
}

/** `OPEN` and `CLOSED` as the datasets write them; other kinds are left out. */
export function answerTypeOf(fields: Fields): { answerType?: "open" | "closed" } {
  const kind = optionalText(fields, "answer_type")?.toLowerCase();
  return kind === "open" || kind === "closed" ? { answerType: kind } : {};
}
