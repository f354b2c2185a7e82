/**
 * PeFoMed: questions about medical images and reports of chest X-rays, parameter-efficient tuning of MiniGPT-v2.
 *
 * @module
 */
export * from "./parts.ts";
