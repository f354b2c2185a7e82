/**
 * All formats in which phantoms are written.
 *
 * @module
 */
import { llavaMed, roco } from "./captions.ts";
import type { PhantomFormat } from "./format.ts";
import { mecovqa, medplib, saMed2d } from "./masks.ts";
import { omniMedVqa, pathVqa, pmcVqa, slake, vqaMed, vqaRad } from "./questions.ts";
import { indiana, iuXray, mimicCxr, msCxr, openi } from "./radiographs.ts";
import { sheet } from "./sheet.ts";
import { vindr } from "./vindr.ts";
import { ctRate, totalSegmentator } from "./volumes.ts";

export { type CaseOptions, type Kind, type PhantomCase, phantomCases } from "./case.ts";
export type { PhantomFormat } from "./format.ts";

/** Formats by name. */
export const phantomFormats: Readonly<Record<string, PhantomFormat>> = Object.fromEntries(
  [
    ctRate,
    indiana,
    iuXray,
    llavaMed,
    mecovqa,
    medplib,
    mimicCxr,
    msCxr,
    omniMedVqa,
    openi,
    pathVqa,
    pmcVqa,
    roco,
    saMed2d,
    sheet,
    slake,
    totalSegmentator,
    vindr,
    vqaMed,
    vqaRad,
  ].map((format) => [format.name, format]),
);
