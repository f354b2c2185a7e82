/**
 * UTF-8 decoding one byte at a time, the way SentencePiece decodes byte pieces: every byte that is not part of a
 * valid character gives its own U+FFFD. (The platform's decoder gives one for a whole broken sequence.)
 *
 * @module
 */

/** Decodes a stream of bytes; holds back at most three bytes of an unfinished character. */
export class ByteDecoder {
  #pending: number[] = [];

  /** Takes one byte, 0 to 255, and returns the characters that are now certain. */
  push(byte: number): string {
    this.#pending.push(byte);
    return this.#drain(false);
  }

  /** Ends the stream: what is left cannot become a character any more. */
  flush(): string {
    return this.#drain(true);
  }

  #drain(end: boolean): string {
    let out = "";
    while (this.#pending.length > 0) {
      const { length, code } = firstCharacter(this.#pending);
      if (code === undefined && !end) break;
      out += String.fromCodePoint(code ?? 0xfffd);
      this.#pending.splice(0, code === undefined ? 1 : length);
    }
    return out;
  }
}

/** The first character, U+FFFD with length 1 for a stray byte, or no code while more bytes are needed. */
function firstCharacter(bytes: readonly number[]): { length: number; code?: number } {
  const lead = bytes[0];
  const length = lead < 0x80
    ? 1
    : lead < 0xc0
    ? 0
    : lead < 0xe0
    ? 2
    : lead < 0xf0
    ? 3
    : lead < 0xf8
    ? 4
    : 0;
  const stray = { length: 1, code: 0xfffd };
  if (length === 0) return stray;
  if (length === 1) return { length, code: lead };
  let code = lead & (0xff >> (length + 1));
  for (let i = 1; i < length; i++) {
    if (i >= bytes.length) return { length };
    if ((bytes[i] & 0xc0) !== 0x80) return stray;
    code = (code << 6) | (bytes[i] & 0x3f);
  }
  const least = length === 2 ? 0x80 : length === 3 ? 0x800 : 0x10000;
  const surrogate = code >= 0xd800 && code < 0xe000;
  return code < least || code > 0x10ffff || surrogate ? stray : { length, code };
}
