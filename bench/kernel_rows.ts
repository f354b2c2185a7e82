/**
 * The rows of the kernel benchmark: sizes of the models in this repository.
 *
 * @module
 */
import type { KernelRow } from "./row.ts";
import { decodeRow, sequenceRow } from "./rows_attention.ts";
import { matmulRow, vectorRow } from "./rows_matmul.ts";
import { layerNormRow } from "./rows_norm.ts";

/** All rows, in the order of the table. */
export const kernelRows: readonly KernelRow[] = [
  matmulRow(512, 512, 512),
  matmulRow(1024, 1024, 1024),
  // The first layer of the perceptron in CLIP ViT-L/14-336: 577 tokens, 1024 to 4096.
  matmulRow(577, 1024, 4096),
  matmulRow(127, 257, 333),
  // Projections of a 7B LLaMA for one token: 4096 to 4096, and 4096 to 11008 in its perceptron.
  vectorRow(4096, 4096, "f32"),
  vectorRow(4096, 4096, "f16"),
  vectorRow(4096, 4096, "q8"),
  vectorRow(4096, 4096, "q4"),
  vectorRow(4096, 11008, "f16"),
  vectorRow(4096, 11008, "q4"),
  sequenceRow(1024, 8, 64, false),
  sequenceRow(577, 16, 64, false),
  sequenceRow(256, 32, 128, true),
  decodeRow(2048, 32, 128),
  layerNormRow(1024, 4096),
  layerNormRow(577, 1024),
];
