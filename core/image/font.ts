/**
 * A bitmap font of 5x7 pixels, with two more rows for descenders, for printable ASCII, so that pictures can be labelled without font files.
 *
 * @module
 */

/** Columns of a glyph. */
export const GLYPH_WIDTH = 5;
/** Rows of a glyph, descenders included. */
export const GLYPH_HEIGHT = 9;
/** Empty columns between glyphs. */
const GAP = 1;

/**
 * From space to tilde; seven to nine rows each, one base-32 digit per row, whose highest bit is the left
 * column.
 */
const GLYPHS = "0000000 4444004 aaa0000 aavavaa 4fke5u4 op248j3 cik8lid 4480000 2488842 8422248 " +
  "04lel40 044v440 00000cc48 000v000 00000cc 01248g0 ehjlphe 4c4444e eh1248v v2421he 26aiv22 " +
  "vgu11he 68guhhe v124888 ehhehhe ehhf12c 0cc0cc0 0cc00cc48 248g842 00v0v00 8421248 eh12404 " +
  "eh1dlle ehhvhhh uhhuhhu ehggghe uhhhhhu vgguggv vgguggg ehgnhhf hhhvhhh e44444e 72222ic " +
  "hikokih ggggggv hrllhhh hhpljhh ehhhhhe uhhuggg ehhhlid uhhukih fgge11u v444444 hhhhhhe " +
  "hhhhha4 hhhllla hha4ahh hhha444 v1248gv e88888e 0g84210 e22222e 4ah0000 000000v 8420000 " +
  "00e1fhf ggmphhu 00egghe 11djhhf 00ehvge 698s888 00fhhhf1e ggmphhh 40c444e 2062222ic ggikoki " +
  "c44444e 00qllhh 00mphhh 00ehhhe 00uhhhugg 00fhhhf11 00mpggg 00ege1u 88s8896 00hhhjd 00hhha4 " +
  "00hhlla 00ha4ah 00hhhhf1e 00v248v 2448442 4444444 8442448 008l200";

const ROWS: readonly Uint8Array[] = GLYPHS.split(" ").map((glyph) =>
  Uint8Array.from(glyph, (digit) => parseInt(digit, 32))
);

/** A text as the font can show it: accents are dropped, other characters outside ASCII become question marks. */
export function printable(text: string): string {
  return text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").replace(/\s/g, " ")
    .replace(/[^ -~]/gu, "?");
}

/** Width of a text in font pixels. */
export function textWidth(text: string): number {
  return Math.max(0, text.length * (GLYPH_WIDTH + GAP) - GAP);
}

/**
 * Calls `dot` for every set font pixel of a text.
 *
 * @param text Printable ASCII.
 * @param dot Takes the column and row in font pixels from the text's upper left corner.
 */
export function forEachDot(text: string, dot: (column: number, row: number) => void): void {
  for (let i = 0; i < text.length; i++) {
    const rows = ROWS[text.charCodeAt(i) - 32] ?? ROWS["?".charCodeAt(0) - 32];
    const left = i * (GLYPH_WIDTH + GAP);
    for (let row = 0; row < rows.length; row++) {
      for (let column = 0; column < GLYPH_WIDTH; column++) {
        if (rows[row] >> (GLYPH_WIDTH - 1 - column) & 1) dot(left + column, row);
      }
    }
  }
}
