/**
 * DICOM files of one grey picture, explicit VR little endian (DICOM PS3.5 and PS3.10).
 *
 * @module
 */

/** What a file says. */
export interface DicomPicture {
  readonly width: number;
  readonly height: number;
  /** Values of `bits` bits, row by row. */
  readonly data: Uint16Array;
  /** Significant bits, 9 to 16. */
  readonly bits: number;
  /** White is 0 (`MONOCHROME1`) or the largest value (`MONOCHROME2`). */
  readonly photometric: "MONOCHROME1" | "MONOCHROME2";
  /** Middle and width of the range from black to white. */
  readonly window: { readonly centre: number; readonly width: number };
  readonly modality: string;
  /** SOP class: digital X-ray for presentation when left out. */
  readonly sopClass?: string;
  /** Number between 0 and 2^128 that makes the identifiers of file, series and study unique. */
  readonly unique: bigint;
  readonly patient: { readonly id: string; readonly sex: "F" | "M"; readonly age: number };
  /** Distance of pixels in millimetres. */
  readonly spacing: number;
}

const encoder = new TextEncoder();
const EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1";
const DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1";
/** Representations whose length has four bytes. */
const LONG = new Set(["OB", "OW", "SQ", "UN", "UT"]);

/** Elements of one group of tags after the other. */
class DataSet {
  readonly #pieces: Uint8Array[] = [];
  /** Bytes so far. */
  size = 0;

  /** Adds an element; its value gets an even length. */
  add(tag: number, vr: string, value: string | number | Uint8Array): this {
    const bytes = this.#value(vr, value),
      long = LONG.has(vr),
      header = new Uint8Array(long ? 12 : 8);
    const view = new DataView(header.buffer);
    view.setUint16(0, tag >>> 16, true);
    view.setUint16(2, tag & 0xffff, true);
    header.set(encoder.encode(vr), 4);
    if (long) view.setUint32(8, bytes.length, true);
    else view.setUint16(6, bytes.length, true);
    this.#pieces.push(header, bytes);
    this.size += header.length + bytes.length;
    return this;
  }

  #value(vr: string, value: string | number | Uint8Array): Uint8Array {
    if (typeof value === "number") {
      const bytes = new Uint8Array(vr === "UL" ? 4 : 2), view = new DataView(bytes.buffer);
      if (vr === "UL") view.setUint32(0, value, true);
      else view.setUint16(0, value, true);
      return bytes;
    }
    const bytes = typeof value === "string" ? encoder.encode(value) : value;
    if (bytes.length % 2 === 0) return bytes;
    const even = new Uint8Array(bytes.length + 1);
    even.set(bytes);
    // Identifiers are padded with a zero byte, texts with a blank.
    if (vr !== "UI" && vr !== "OB") even[bytes.length] = 0x20;
    return even;
  }

  /** All elements. */
  bytes(): Uint8Array {
    const out = new Uint8Array(this.size);
    let at = 0;
    for (const piece of this.#pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }
}

/** A file. The same picture gives the same bytes. */
export function dicomFile(picture: DicomPicture): Uint8Array {
  const { width, height, data, bits, window, patient, spacing } = picture;
  // Identifiers below 2.25 are UUIDs in decimal.
  const uid = (offset: bigint) => `2.25.${(picture.unique + offset) % (1n << 128n)}`;
  const sopClass = picture.sopClass ?? DIGITAL_X_RAY, instance = uid(0n);
  const meta = new DataSet()
    .add(0x00020001, "OB", new Uint8Array([0, 1]))
    .add(0x00020002, "UI", sopClass)
    .add(0x00020003, "UI", instance)
    .add(0x00020010, "UI", EXPLICIT_LITTLE_ENDIAN)
    .add(0x00020012, "UI", "2.25.329800735698586629295641978511506172918");
  const pixels = new Uint8Array(2 * data.length), view = new DataView(pixels.buffer);
  data.forEach((value, i) => view.setUint16(2 * i, value, true));
  const body = new DataSet()
    .add(0x00080016, "UI", sopClass)
    .add(0x00080018, "UI", instance)
    .add(0x00080060, "CS", picture.modality)
    .add(0x00080070, "LO", "Phantom")
    .add(0x00100010, "PN", "Phantom")
    .add(0x00100020, "LO", patient.id)
    .add(0x00100040, "CS", patient.sex)
    .add(0x00101010, "AS", `${String(patient.age).padStart(3, "0")}Y`)
    .add(0x00180015, "CS", "CHEST")
    .add(0x00181164, "DS", `${spacing.toFixed(4)}\\${spacing.toFixed(4)}`)
    .add(0x00185101, "CS", "PA")
    .add(0x0020000d, "UI", uid(1n))
    .add(0x0020000e, "UI", uid(2n))
    .add(0x00200013, "IS", "1")
    .add(0x00280002, "US", 1)
    .add(0x00280004, "CS", picture.photometric)
    .add(0x00280010, "US", height)
    .add(0x00280011, "US", width)
    .add(0x00280100, "US", 16)
    .add(0x00280101, "US", bits)
    .add(0x00280102, "US", bits - 1)
    .add(0x00280103, "US", 0)
    .add(0x00281050, "DS", String(window.centre))
    .add(0x00281051, "DS", String(window.width))
    .add(0x00281052, "DS", "0")
    .add(0x00281053, "DS", "1")
    .add(0x7fe00010, "OW", pixels);
  const group = new DataSet().add(0x00020000, "UL", meta.size);
  const out = new Uint8Array(132 + group.size + meta.size + body.size);
  out.set(encoder.encode("DICM"), 128);
  out.set(group.bytes(), 132);
  out.set(meta.bytes(), 132 + group.size);
  out.set(body.bytes(), 132 + group.size + meta.size);
  return out;
}
