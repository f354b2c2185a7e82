/**
 * Scores of radiology reports from the outputs of tools that are not part of this project: RadGraph annotations, CheXbert
 * embeddings, BERTScore (VividMed, table 3).
 *
 * @module
 */

/** An entity of a RadGraph annotation. */
export interface RadGraphEntity {
  /** Words of the entity. */
  readonly tokens: string;
  /** Such as `Observation::definitely present`. */
  readonly label: string;
  /** Relations that start at the entity; only whether there are any counts. */
  readonly relations: readonly unknown[];
}

/** A RadGraph annotation of one report. */
export interface RadGraphReport {
  /** Entities by number. */
  readonly entities: Readonly<Record<string, RadGraphEntity>>;
}

/**
 * RadGraph F1 of one report, 0 to 1: entities agree when their tokens and labels do and both have relations or neither has
 * (the reward that VividMed takes); 0 where undefined.
 */
export function radgraphF1(prediction: RadGraphReport, reference: RadGraphReport): number {
  const facts = ({ entities }: RadGraphReport) =>
    new Set(
      Object.values(entities).map(({ tokens, label, relations }) =>
        JSON.stringify([tokens, label, relations.length > 0])
      ),
    );
  const predicted = facts(prediction), wanted = facts(reference);
  const shared = predicted.intersection(wanted).size;
  if (shared === 0) return 0;
  const precision = shared / predicted.size, recall = shared / wanted.size;
  return 2 * precision * recall / (precision + recall);
}

/** What RadCliQ is made of, for one report. */
export interface RadCliqFeatures {
  /** RadGraph F1, 0 to 1. */
  readonly radgraph: number;
  /** BERTScore F1. */
  readonly bertScore: number;
  /** Cosine of the CheXbert embeddings. */
  readonly chexbert: number;
  /** BLEU-2, 0 to 1. */
  readonly bleu2: number;
}

interface Regression {
  readonly mean: readonly number[];
  readonly scale: readonly number[];
  readonly coefficients: readonly number[];
  readonly intercept: number;
}

/** The published regressions on radgraph, BERTScore, CheXbert and BLEU-2, in this order. */
const regressions: Readonly<Record<"v0" | "v1", Regression>> = {
  v0: {
    mean: [0.5398376019082272, 0.6312549595000001, 0.7716797866672277, 0.4607372064809605],
    scale: [0.3018344440559102, 0.22466950746141123, 0.24750333805236252, 0.30336670936092264],
    coefficients: [
      -0.4796252644863446,
      -0.6762170542369337,
      -0.46366575161751994,
      0.2165861905287535,
    ],
    intercept: 1.641666666666666,
  },
  v1: {
    mean: [0.5379231241355762, 0.6175725628125001, 0.7647942121140658, 0.44738335396242174],
    scale: [0.3028258411486429, 0.22430938459304575, 0.2539439110169773, 0.2989271671041838],
    coefficients: [
      -0.37708368261038905,
      -0.37030009974480316,
      -0.25261621789593225,
      4.315048405024756e-12,
    ],
    intercept: 2.466552561323256e-10,
  },
};

/**
 * RadCliQ (Yu et al., Patterns 2023): the errors that a radiologist would count, estimated; lower is better. VividMed feeds
 * version 1 with features other than those it was fitted on, so its numbers compare with nothing else.
 */
export function radcliq(features: RadCliqFeatures, version: "v0" | "v1" = "v1"): number {
  const { mean, scale, coefficients, intercept } = regressions[version];
  const values = [features.radgraph, features.bertScore, features.chexbert, features.bleu2];
  return values.reduce(
    (sum, value, i) => sum + coefficients[i] * (value - mean[i]) / scale[i],
    intercept,
  );
}

/** Cosine of two embeddings, -1 to 1; NaN when one is zero. @throws {RangeError} for different lengths. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) {
    throw new RangeError(
      `Cannot take the cosine of vectors of ${a.length} and ${b.length} numbers: expected equal lengths`,
    );
  }
  let product = 0, normA = 0, normB = 0;
  for (let i = 0; i < a.length; i++) {
    product += a[i] * b[i];
    normA += a[i] * a[i];
    normB += b[i] * b[i];
  }
  return product / Math.sqrt(normA * normB);
}
