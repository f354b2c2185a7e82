/**
 * The command line as a library: run a plugin on an image, look at the machine, find a plugin by name.
 *
 * @example Answer the demo question
 * ```ts ignore
 * import { loadPlugin, processTerminal, run } from "@medvlm/zoo";
 *
 * await run(await loadPlugin("medplib"), { out: "./out" }, processTerminal);
 * ```
 *
 * @module
 */
export { doctor, type DoctorReport, doctorText, examine, type PresetReport } from "./doctor.ts";
export { loadPlugin, pluginNames } from "./plugins.ts";
export { run, type RunOptions } from "./run.ts";
export { processTerminal, type Terminal } from "./terminal.ts";
