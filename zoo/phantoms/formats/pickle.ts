/**
 * Python pickles of lists of records, protocol 2 (PEP 307), as PathVQA's are.
 *
 * @module
 */

const encoder = new TextEncoder();

/** The string with its length in four bytes. */
function unicode(text: string): Uint8Array {
  const bytes = encoder.encode(text), out = new Uint8Array(5 + bytes.length);
  out[0] = 0x58;
  new DataView(out.buffer).setUint32(1, bytes.length, true);
  out.set(bytes, 5);
  return out;
}

/** A list of dictionaries of strings. */
export function pickledRecords(records: readonly Readonly<Record<string, string>>[]): Uint8Array {
  const mark = Uint8Array.of(0x28);
  // Protocol 2; an empty list, then all elements, appended at once.
  const pieces: Uint8Array[] = [Uint8Array.of(0x80, 2, 0x5d), mark];
  for (const record of records) {
    pieces.push(Uint8Array.of(0x7d), mark);
    for (const [name, value] of Object.entries(record)) pieces.push(unicode(name), unicode(value));
    pieces.push(Uint8Array.of(0x75));
  }
  pieces.push(Uint8Array.of(0x65, 0x2e));
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
