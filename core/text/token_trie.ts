/**
 * Finds the longest of a set of strings at a position of a text.
 *
 * @module
 */

interface Node {
  next: Map<number, Node>;
  end: boolean;
}

/** A set of strings searched by longest match. Costs one step per UTF-16 unit looked at. */
export class TokenTrie {
  readonly #root: Node = { next: new Map(), end: false };

  /** @param tokens The strings; empty ones are ignored. */
  constructor(tokens: Iterable<string>) {
    for (const token of tokens) {
      if (token === "") continue;
      let node = this.#root;
      for (let i = 0; i < token.length; i++) {
        const unit = token.charCodeAt(i);
        let next = node.next.get(unit);
        if (next === undefined) node.next.set(unit, next = { next: new Map(), end: false });
        node = next;
      }
      node.end = true;
    }
  }

  /** Length, in UTF-16 units, of the longest string of the set that starts at `at`; 0 when none does. */
  longestAt(text: string, at: number): number {
    let node: Node | undefined = this.#root, longest = 0;
    for (let i = at; i < text.length; i++) {
      node = node.next.get(text.charCodeAt(i));
      if (node === undefined) break;
      if (node.end) longest = i + 1 - at;
    }
    return longest;
  }

  /**
   * Cuts a text at the strings of the set, leftmost first and the longest at each place. The parts joined give the
   * text; no part is empty.
   */
  split(text: string): string[] {
    const parts: string[] = [];
    let start = 0;
    for (let at = 0; at < text.length;) {
      const length = this.longestAt(text, at);
      if (length === 0) {
        at++;
        continue;
      }
      if (at > start) parts.push(text.slice(start, at));
      parts.push(text.slice(at, at + length));
      start = at += length;
    }
    if (start < text.length) parts.push(text.slice(start));
    return parts;
  }
}
