/**
 * Values of configuration files with their types checked.
 *
 * @module
 */
import { InputError } from "./errors.ts";

/** A JSON object. */
type Json = Readonly<Record<string, unknown>>;

/** Most that a size in a configuration may be. */
const largest = 2 ** 24;

/**
 * The values of a JSON object, each asked for by its type. An absent key and null are the same. Every error is an
 * `InputError` with code `INVALID_CONFIG` that names file, key and value.
 */
export class JsonFields {
  readonly #file: string;
  readonly #json: Json;

  /**
   * Wraps an object.
   *
   * @param file Name for messages.
   */
  constructor(file: string, json: Json) {
    this.#file = file;
    this.#json = json;
  }

  /** Says that a value cannot be used. @throws {InputError} always. */
  refuse(key: string, expected: string): never {
    const value = JSON.stringify(this.#json[key])?.slice(0, 80) ?? "missing";
    throw new InputError(
      "INVALID_CONFIG",
      `Cannot use "${this.#file}": "${key}" is ${value}, expected ${expected}`,
    );
  }

  /** Whether the key is there and not null. */
  has(key: string): boolean {
    return (this.#json[key] ?? undefined) !== undefined;
  }

  /** Whether a key has exactly this plain value. */
  is(key: string, value: unknown): boolean {
    return this.#json[key] === value;
  }

  /** Refuses any other value than these; an absent key is among them. @throws {InputError} as the class says. */
  only(key: string, values: readonly unknown[], expected: string): void {
    if (this.has(key) && !values.includes(this.#json[key])) this.refuse(key, expected);
  }

  /** A whole number from 1 to 2^24. @throws {InputError} as the class says. */
  count(key: string, fallback?: number): number {
    const value = this.#json[key] ?? fallback;
    if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > largest) {
      this.refuse(key, "a positive whole number");
    }
    return value as number;
  }

  /** A finite number. @throws {InputError} as the class says. */
  number(key: string, fallback?: number): number {
    const value = this.#json[key] ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) this.refuse(key, "a number");
    return value as number;
  }

  /** A text, or undefined when the value is none. */
  text(key: string): string | undefined {
    const value = this.#json[key];
    return typeof value === "string" ? value : undefined;
  }

  /** A list of whole numbers from 0 on. @throws {InputError} as the class says. */
  counts(key: string): readonly number[] {
    const value = this.#json[key];
    if (!Array.isArray(value) || !value.every((one) => Number.isSafeInteger(one) && one >= 0)) {
      this.refuse(key, "a list of whole numbers");
    }
    return value as number[];
  }

  /** A list of texts. @throws {InputError} as the class says. */
  texts(key: string, fallback?: readonly string[]): readonly string[] {
    const value = this.#json[key] ?? fallback;
    if (!Array.isArray(value) || !value.every((one) => typeof one === "string")) {
      this.refuse(key, "a list of texts");
    }
    return value as string[];
  }

  /** The object under a key, or an empty one where there is none. @throws {InputError} as the class says. */
  object(key: string): JsonFields {
    const value = this.#json[key] ?? {};
    if (typeof value !== "object" || Array.isArray(value)) this.refuse(key, "an object");
    return new JsonFields(`${this.#file}" "${key}`, value as Json);
  }
}
