/**
 * Checks that no file of the tree mentions a folder of somebody's machine or the host of a package registry.
 *
 * @module
 */

const letters = (...parts: string[]) => parts.join("");

/** Spelled in pieces, so that this file passes its own check. */
const patterns: readonly (readonly [string, RegExp])[] = [
  [
    "a folder of a machine",
    new RegExp(letters("(?<![\\w.~/-])/", "(?:work|root|tmp|home|Users|private|mnt)", "/[\\w.-]")),
  ],
  ["a folder of a machine", new RegExp(letters("\\b[A-Z]:", "\\\\\\\\?Users\\b"))],
  ["a package registry's host", new RegExp(letters("registry\\.", "yarnpkg"), "i")],
  ["a package registry's host", new RegExp(letters("\\b(?:npm\\.)?", "jsr", "\\.io\\b"), "i")],
  [
    "a package registry's host",
    new RegExp(letters("\\b(?:www\\.)?", "npmjs", "\\.(?:com|org)"), "i"),
  ],
  ["a package registry's host", new RegExp(letters("\\b", "pypi", "\\.org\\b"), "i")],
  ["a package registry's host", new RegExp(letters("\\b", "crates", "\\.io\\b"), "i")],
  ["a package registry's host", new RegExp(letters("\\bproxy\\.", "golang", "\\.org\\b"), "i")],
];

/** Lines of a text file that mention what they must not. `hosts` are further hosts, such as a proxy of this machine. */
export function textProblems(path: string, text: string, hosts: readonly string[] = []): string[] {
  return text.split("\n").flatMap((line, index) => {
    const place = `${path}:${index + 1}`;
    const found = patterns.flatMap(([what, pattern]) => {
      const match = line.match(pattern);
      return match ? [`${place}: ${what}: ${match[0]}`] : [];
    });
    const own = hosts.filter((host) => line.includes(host))
      .map((host) => `${place}: a package registry's host: ${host}`);
    return [...found, ...own];
  });
}

/** The text of a file, or undefined when it is binary. */
export function decodeText(bytes: Uint8Array): string | undefined {
  if (bytes.subarray(0, 8000).includes(0)) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
