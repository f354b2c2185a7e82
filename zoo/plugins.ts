/**
 * The plugins by name. Each is imported only when it is used.
 *
 * @module
 */
import { InputError, type Plugin } from "@medvlm/core";
import { nearest } from "./nearest.ts";

const available: Readonly<Record<string, () => Promise<Plugin<unknown>>>> = {
  medplib: async () => (await import("@medvlm/medplib")).medplib as Plugin<unknown>,
  pefomed: async () => (await import("@medvlm/pefomed")).pefomed as Plugin<unknown>,
  pfmvg: async () => (await import("@medvlm/pfmvg")).pfmvg as Plugin<unknown>,
};

/** Systems the zoo is meant to hold and does not yet. */
const planned: readonly string[] = ["litegpt", "vividmed"];

/** Names of the plugins that can be used. */
export const pluginNames: readonly string[] = Object.keys(available);

/**
 * Imports a plugin.
 *
 * @throws {InputError} code `UNKNOWN_PLUGIN`, or `PLUGIN_NOT_AVAILABLE` for the systems that are not implemented yet.
 */
export async function loadPlugin(name: string): Promise<Plugin<unknown>> {
  if (Object.hasOwn(available, name)) return await available[name]();
  if (planned.includes(name)) {
    throw new InputError(
      "PLUGIN_NOT_AVAILABLE",
      `Cannot use --plugin ${name}: it is not available yet; available now: ${
        pluginNames.join(", ")
      }`,
    );
  }
  throw new InputError(
    "UNKNOWN_PLUGIN",
    `Cannot use --plugin ${
      JSON.stringify(name.slice(0, 60))
    }: there is no such plugin; did you mean ${nearest(name, [...pluginNames, ...planned])}`,
  );
}
