/**
 * Text: the tokenizer of the Llama family, decoding as tokens arrive, conversation templates, boxes in text.
 *
 * @module
 */
export type { FileSource, FolderSource } from "../files.ts";
export { type AddedToken, type SpecialTokens, strip } from "./added_token.ts";
export type { BatchOptions, EncodedBatch } from "./batch.ts";
export { blipCaption, blipQuestion, blipWords } from "./blip_text.ts";
export { type BoxFault, type BoxRepair, type TextBox, type TextSpan } from "./box_scanner.ts";
export { boxesPattern, boxPattern, groundedPattern } from "./box_grammar.ts";
export { type GridBox, gridBoxText, gridSize, gridToPixels, pixelsToGrid } from "./box_text.ts";
export {
  type ChatMessage,
  type ChatTemplate,
  chatTemplates,
  findChatTemplate,
  renderChat,
  type TwoSeparatorTemplate,
} from "./chat_template.ts";
export {
  boxIn,
  type GroundedPart,
  type GroundedText,
  type GroundedTextStyle,
  parseGroundedText,
  type TextPhrase,
  writeGroundedText,
} from "./grounded_text.ts";
export {
  type EncodeOptions,
  type LlamaBehaviour,
  LlamaTokenizer,
  type LlamaTokenizerOptions,
} from "./llama_tokenizer.ts";
export {
  type ByteAutomaton,
  byteAutomaton,
  type BytePattern,
  choice,
  literal,
  many,
  noneOf,
  oneOf,
  optional,
  sequence,
} from "./byte_pattern.ts";
export {
  captionInstructions,
  chestReportInstructions,
  drawnOf,
  fillInstruction,
  instructionSlot,
  referInstructions,
  vqaInstructions,
} from "./instruction_pools.ts";
export { PieceDecoder, SentencePiece, spaceSymbol } from "./sentencepiece.ts";
export {
  buildSentencePieceModel,
  parseSentencePieceModel,
  type Piece,
  type PieceType,
  type SentencePieceModel,
  writeSentencePieceModel,
} from "./sentencepiece_model.ts";
export { type DecodeOptions, type DecodingRules, StreamDecoder } from "./stream_decoder.ts";
export { loadLlamaTokenizer, type LoadTokenizerOptions } from "./tokenizer_files.ts";
export { wordModel } from "./word_model.ts";
export {
  type AutomatonTokenizer,
  nextState,
  noState,
  type TokenAutomaton,
  tokenAutomaton,
} from "./token_automaton.ts";
