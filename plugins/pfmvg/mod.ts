/**
 * PFMVG: phrases of radiology reports grounded by boxes written as text, two-stage tuning of MiniGPT-v2.
 *
 * @module
 */
export * from "./parts.ts";
