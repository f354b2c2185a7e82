/**
 * The merging loop of SentencePiece's BPE: always the best-scored adjacent pair, the leftmost among equals.
 *
 * @module
 */

/** What the merging needs to know about the vocabulary. */
export interface MergeTable {
  /** Length of the longest piece, in UTF-16 units. */
  readonly longest: number;
  /** Id of a piece that may take part in merges, or undefined. */
  find(text: string): number | undefined;
  /** Its float32 score. */
  score(id: number): number;
  /** Whether the piece is UNUSED: it may merge on the way but is split again at the end. */
  unused(id: number): boolean;
}

/** A max-heap of candidate merges in flat arrays: higher score first, then the smaller left index. */
class Agenda {
  readonly #score: number[] = [];
  readonly #left: number[] = [];
  readonly #right: number[] = [];
  readonly #size: number[] = [];
  readonly #heap: number[] = [];

  push(left: number, right: number, score: number, size: number): void {
    const entry = this.#score.length, heap = this.#heap;
    this.#score.push(score);
    this.#left.push(left);
    this.#right.push(right);
    this.#size.push(size);
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(entry, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = entry;
  }

  pop(): { left: number; right: number; size: number } | undefined {
    const heap = this.#heap, top = heap[0], last = heap.pop();
    if (last === undefined) return undefined;
    if (heap.length > 0) {
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && this.#before(heap[child + 1], heap[child])) child++;
        if (!this.#before(heap[child], last)) break;
        heap[at] = heap[child];
        at = child;
      }
      heap[at] = last;
    }
    return { left: this.#left[top], right: this.#right[top], size: this.#size[top] };
  }

  #before(a: number, b: number): boolean {
    const difference = this.#score[a] - this.#score[b];
    return difference > 0 || (difference === 0 && this.#left[a] < this.#left[b]);
  }
}

/**
 * Merges symbols into pieces in O(n log n). Source: Sennrich et al. 2016 with the priority rules of
 * google/sentencepiece `bpe_model.cc`.
 *
 * @param symbols The text cut into its starting symbols; together they are the text.
 * @param frozen Which symbols never merge (user-defined pieces), or undefined for none.
 * @returns The texts of the final symbols; they need not all be pieces.
 */
export function mergeSymbols(
  symbols: readonly string[],
  frozen: readonly boolean[] | undefined,
  table: MergeTable,
): string[] {
  const count = symbols.length;
  const texts = symbols.slice();
  const previous = Int32Array.from({ length: count }, (_, i) => i - 1);
  const next = Int32Array.from({ length: count }, (_, i) => i + 1 < count ? i + 1 : -1);
  const agenda = new Agenda();
  const halves = new Map<string, [string, string]>();

  const consider = (left: number, right: number) => {
    if (left < 0 || right < 0 || frozen?.[left] || frozen?.[right]) return;
    const size = texts[left].length + texts[right].length;
    if (size > table.longest) return;
    const text = texts[left] + texts[right];
    const id = table.find(text);
    if (id === undefined) return;
    agenda.push(left, right, table.score(id), size);
    if (table.unused(id)) halves.set(text, [texts[left], texts[right]]);
  };

  for (let i = 0; i + 1 < count; i++) consider(i, i + 1);
  for (let top = agenda.pop(); top !== undefined; top = agenda.pop()) {
    const { left, right, size } = top;
    // Either half may have merged with something else since this pair was noted; sizes only grow.
    if (texts[left] === "" || texts[right] === "") continue;
    if (texts[left].length + texts[right].length !== size) continue;
    texts[left] += texts[right];
    texts[right] = "";
    next[left] = next[right];
    if (next[left] >= 0) previous[next[left]] = left;
    consider(previous[left], left);
    consider(left, next[left]);
  }

  const merged: string[] = [];
  for (let i = count > 0 ? 0 : -1; i >= 0; i = next[i]) {
    if (halves.size === 0) merged.push(texts[i]);
    else splitUnused(texts[i], halves, table, merged);
  }
  return merged;
}

/** Undoes merges into UNUSED pieces, left half first. Every split shortens the text, so this ends. */
function splitUnused(
  text: string,
  halves: ReadonlyMap<string, [string, string]>,
  table: MergeTable,
  out: string[],
): void {
  const pending = [text];
  for (let one = pending.pop(); one !== undefined; one = pending.pop()) {
    const id = table.find(one);
    const pair = id !== undefined && table.unused(id) ? halves.get(one) : undefined;
    if (pair === undefined) out.push(one);
    else pending.push(pair[1], pair[0]);
  }
}
