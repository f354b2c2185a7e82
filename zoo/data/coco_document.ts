/**
 * Documents in the manner of COCO: lists whose elements refer to each other by number.
 *
 * @module
 */
import { asFields, asList, FieldError, type Fields, numbered, textOf } from "./fields.ts";
import type { Reading } from "./reader.ts";

/** An element of a list, and its index there. */
export interface Element {
  /** Index from 0, for messages. */
  readonly index: number;
  /** Its fields. */
  readonly fields: Fields;
}

/**
 * The elements of a list by their `id`, a number or a text. Of different elements with one id the first stays and the
 * others are problems, since nobody can tell which of them is meant.
 */
export async function elementsById(
  reading: Reading,
  file: string,
  list: unknown,
  what: string,
): Promise<Map<string, Element>> {
  const found = new Map<string, Element>();
  for (const [index, value] of asList(list, what).entries()) {
    await reading.attempt({ file }, () =>
      numbered(what, index, () => {
        const fields = asFields(value);
        const id = textOf(fields, "id");
        const known = found.get(id);
        if (known === undefined) found.set(id, { index, fields });
        else if (JSON.stringify(known.fields) !== JSON.stringify(fields)) {
          throw new FieldError(`its id ${id} is that of ${what}[${known.index}]`);
        }
      }));
  }
  return found;
}
