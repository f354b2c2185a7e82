/**
 * Ways to search for an answer that some systems have and others do not.
 *
 * @module
 */
import { InputError } from "./errors.ts";

/** Ways to search for an answer, which some systems have and others do not, see `Plugin.searchOptions`. */
export interface SearchOptions {
  /** Answers followed at once by beam search, 1 to 128, at temperature 0; tokens then arrive at the end. Default 1: none. */
  readonly beams?: number | undefined;
  /** Exponent of the length that a beam's score is divided by. Default 1. */
  readonly lengthPenalty?: number | undefined;
  /**
   * Answers drawn at random, 1 to 128, of which the one is given that agrees best with the others; tokens then arrive at the end. They
   * are drawn at the temperature, or at 1 where that is 0. Not together with beams. Default 1: none.
   */
  readonly consensus?: number | undefined;
  /** Tokens that would leave the grammar of the system's answers are forbidden. Default false. */
  readonly constrained?: boolean | undefined;
}

/** The options by their flags. */
const searchFlags: Readonly<Record<keyof SearchOptions, string>> = {
  beams: "--beams",
  lengthPenalty: "--length-penalty",
  consensus: "--consensus",
  constrained: "--constrained",
};

/**
 * Refuses ways of searching that a system does not have.
 *
 * @param system Its name.
 * @param supported As `Plugin.searchOptions` declares them.
 * @throws {InputError} code `UNSUPPORTED_OPTION` for the first that was asked for and is not among them.
 */
export function checkSearchOptions(
  system: string,
  supported: readonly (keyof SearchOptions)[],
  options: SearchOptions,
): void {
  for (const [name, flag] of Object.entries(searchFlags) as [keyof SearchOptions, string][]) {
    const { [name]: value } = options;
    if (value === undefined || value === false || supported.includes(name)) continue;
    const others = supported.map((one) => searchFlags[one]);
    throw new InputError(
      "UNSUPPORTED_OPTION",
      `Cannot use ${flag} with ${system}: it has ${
        others.length === 0 ? "no search of this kind" : `${others.join(" and ")} only`
      }; leave ${flag} out or choose a system that has it`,
    );
  }
}
