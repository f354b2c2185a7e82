/**
 * Precision, recall and F1 of labels, in the averages of scikit-learn, with intervals.
 *
 * @module
 */
import {
  averageScores,
  bootstrapEach,
  type BootstrapOptions,
  extractLabels,
  type LabelScores,
  labelScores,
} from "@medvlm/core/eval";
import type { Estimate, Estimates } from "./estimates.ts";
import { defined } from "./family.ts";

/** The labels of one example. */
export interface LabelledExample {
  /** Labels that hold. */
  readonly truth: readonly string[];
  /** Labels that the system gave; where absent they are looked for in the text, as LiteGPT does. */
  readonly given?: readonly string[] | undefined;
  /** The system's text. */
  readonly text: string;
  /** Labels that may be given, where the dataset lists them. */
  readonly choices?: readonly string[] | undefined;
}

/** Numbers over all labels, and per label. */
export interface LabelEstimates {
  readonly metrics: Estimates;
  readonly classes: Readonly<Record<string, Estimates>>;
}

/** Labels as they are compared: neither case nor a final s counts, as in `Other disease` and `Other diseases`. */
const plain = (label: string) => label.trim().toLowerCase().replace(/(?<=.)s$/, "");
/** The label that says that there is nothing. */
const nothing = "no finding";
/** What LiteGPT's reports call the opposite of {@linkcode nothing}. */
const something = "Finding";

/** Both label sets of an example; without labels of the system, those of `names` that its text has. */
function labelSets({ truth, given, text }: LabelledExample, names: readonly string[]): LabelSets {
  const inText = () => {
    const flags = extractLabels(text, names.map((name) => name === something ? name : plain(name)));
    return names.filter((_, place) => flags[place] === 1);
  };
  return { truth: new Set(truth.map(plain)), found: new Set((given ?? inText()).map(plain)) };
}

interface LabelSets {
  readonly truth: ReadonlySet<string>;
  readonly found: ReadonlySet<string>;
}

/** F1 of the labels of one example, 0 to 1; without any label on both sides 1. */
export function exampleF1(example: LabelledExample): number {
  const names = [...new Set([...example.choices ?? [], ...example.truth])];
  const { truth, found } = labelSets(example, names);
  if (truth.size + found.size === 0) return 1;
  return 2 * truth.intersection(found).size / (truth.size + found.size);
}

/** One example as counts. */
interface Row {
  /** Per label: 0 neither, 1 only the system, 2 only the truth, 3 both. */
  readonly cells: Uint8Array;
  /** Scores of the example alone. */
  readonly scores: LabelScores;
}

const kinds = 4;

function confusions(counts: Uint32Array) {
  return Array.from({ length: counts.length / kinds }, (_, label) => ({
    trueNegatives: counts[label * kinds],
    falsePositives: counts[label * kinds + 1],
    falseNegatives: counts[label * kinds + 2],
    truePositives: counts[label * kinds + 3],
  }));
}

type Confusions = ReturnType<typeof confusions>;

const pooledCounts = (all: Confusions) => {
  const total = (of: (one: Confusions[number]) => number) =>
    all.reduce((sum, one) => sum + of(one), 0);
  return {
    trueNegatives: total((one) => one.trueNegatives),
    falsePositives: total((one) => one.falsePositives),
    falseNegatives: total((one) => one.falseNegatives),
    truePositives: total((one) => one.truePositives),
  };
};

const meanOf = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function namedScores(suffix: string, { precision, recall, f1 }: LabelScores) {
  return [[`precision${suffix}`, precision], [`recall${suffix}`, recall], [`f1${suffix}`, f1]] as [
    string,
    number,
  ][];
}

/** Share of the findings that were missed. */
const missed = ({ falseNegatives, truePositives }: Confusions[number]) =>
  falseNegatives / (falseNegatives + truePositives);
/** What VividMed calls that: the share of the PREDICTED NEGATIVES that are wrong. */
const missedVividmed = ({ falseNegatives, trueNegatives }: Confusions[number]) =>
  falseNegatives / (falseNegatives + trueNegatives);

/** Every number of a sample of rows, in a fixed order: over all labels, then four per label. */
function numbersOf(rows: readonly Row[], labels: number): [name: string, value: number][] {
  const counts = new Uint32Array(labels * kinds);
  let exact = 0, precision = 0, recall = 0, f1 = 0;
  for (const { cells, scores } of rows) {
    let wrong = 0;
    for (let label = 0; label < labels; label++) {
      const cell = cells[label];
      counts[label * kinds + cell]++;
      if (cell === 1 || cell === 2) wrong++;
    }
    if (wrong === 0) exact++;
    precision += scores.precision;
    recall += scores.recall;
    f1 += scores.f1;
  }
  const all = confusions(counts), pooled = pooledCounts(all), perLabel = all.map(labelScores);
  const n = rows.length;
  return [
    ...namedScores("_micro", labelScores(pooled)),
    ...namedScores("_macro", averageScores(perLabel)),
    ...namedScores("_weighted", averageScores(perLabel, (one) => one.support)),
    ...namedScores("_samples", {
      precision: precision / n,
      recall: recall / n,
      f1: f1 / n,
      support: 0,
    }),
    ["subset_accuracy", exact / n],
    ["fnr_micro", missed(pooled)],
    ["fnr_macro", meanOf(all.map(missed))],
    ["fnr_micro_vividmed", missedVividmed(pooled)],
    ["fnr_macro_vividmed", meanOf(all.map(missedVividmed))],
    ...all.flatMap((one, label) => [
      ...namedScores("", perLabel[label]),
      ["fnr", missed(one)] as [string, number],
    ]),
  ];
}

/** Collects the labels of examples. Names of labels are compared without regard to case and a final s. */
export class LabelTally {
  readonly #examples: LabelledExample[] = [];
  /** Labels left out of everything. */
  readonly #without: ReadonlySet<string>;

  /**
   * A tally.
   *
   * @param without labels that do not count, such as `No finding` where the findings alone are asked for
   */
  constructor(without: readonly string[] = []) {
    this.#without = new Set(without.map(plain));
  }

  /** Examples so far. */
  get count(): number {
    return this.#examples.length;
  }

  /** Takes the labels of an example. */
  add(example: LabelledExample): void {
    this.#examples.push(example);
  }

  /** Choices in their order, then the other labels by name, each as it was first written. */
  #names(): string[] {
    const choices = new Map<string, string>(), others = new Map<string, string>();
    for (const { truth, given = [], choices: listed = [] } of this.#examples) {
      for (const label of listed) if (!choices.has(plain(label))) choices.set(plain(label), label);
      for (const label of [...truth, ...given]) {
        const written = others.get(plain(label));
        if (written === undefined || label < written) others.set(plain(label), label.trim());
      }
    }
    const rest = [...others].filter(([key]) => !choices.has(key)).sort(([a], [b]) =>
      a < b ? -1 : 1
    );
    return [...choices, ...rest].filter(([key]) => !this.#without.has(key)).map(([, name]) => name);
  }

  /**
   * The scores so far, over the labels that occur or are listed as choices. Where one of them says that there is nothing,
   * its opposite has a row too, which counts in no average (LiteGPT's table 1).
   */
  estimates(options: BootstrapOptions): LabelEstimates {
    const names = this.#names();
    if (this.#examples.length === 0 || names.length === 0) return { metrics: {}, classes: {} };
    const sets = this.#examples.map((example) => labelSets(example, names));
    const rows = sets.map((one) => rowOf(names.map((name) => cellOf(one, plain(name)))));
    const numbers = this.#estimate(rows, names.length, options);
    const overall = numbers.length - 4 * names.length;
    const classes = Object.fromEntries(names.map((name, label) => {
      const support = rows.filter(({ cells }) => cells[label] >= 2).length;
      const own = numbers.slice(overall + 4 * label, overall + 4 * label + 4);
      return [
        name,
        defined(Object.fromEntries(own.map(([key, one]) => [key, { ...one, n: support }]))),
      ];
    }));
    return {
      metrics: defined(Object.fromEntries(numbers.slice(0, overall))),
      classes: { ...classes, ...this.#opposite(names, sets, options) },
    };
  }

  #opposite(
    names: readonly string[],
    sets: readonly LabelSets[],
    options: BootstrapOptions,
  ): Record<string, Estimates> {
    if (!names.some((name) => plain(name) === nothing) || names.includes(something)) return {};
    const rows = sets.map((one) => rowOf([3 - cellOf(one, nothing)]));
    const support = rows.filter(({ cells }) => cells[0] >= 2).length;
    const own = this.#estimate(rows, 1, options).slice(-4);
    return {
      [something]: defined(
        Object.fromEntries(own.map(([key, one]) => [key, { ...one, n: support }])),
      ),
    };
  }

  #estimate(rows: Row[], labels: number, options: BootstrapOptions): [string, Estimate][] {
    const names = numbersOf(rows, labels).map(([name]) => name);
    const intervals = bootstrapEach(
      rows,
      (sample) => numbersOf(sample, labels).map(([, value]) => value),
      options,
    );
    return intervals.map(({ estimate, low, high }, index) => [
      names[index],
      { n: rows.length, value: estimate, low, high },
    ]);
  }
}

function cellOf({ truth, found }: LabelSets, key: string): number {
  return (found.has(key) ? 1 : 0) + (truth.has(key) ? 2 : 0);
}

function rowOf(cells: readonly number[]): Row {
  const count = (cell: number) => cells.filter((one) => one === cell).length;
  return {
    cells: Uint8Array.from(cells),
    scores: labelScores({
      trueNegatives: count(0),
      falsePositives: count(1),
      falseNegatives: count(2),
      truePositives: count(3),
    }),
  };
}
