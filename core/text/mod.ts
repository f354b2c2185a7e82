/**
 * Text: the tokenizer of the Llama family, decoding as tokens arrive, and conversation templates.
 *
 * @module
 */
export type { FileSource, FolderSource } from "../files.ts";
export { type AddedToken, type SpecialTokens, strip } from "./added_token.ts";
export type { BatchOptions, EncodedBatch } from "./batch.ts";
export {
  type ChatMessage,
  type ChatTemplate,
  chatTemplates,
  findChatTemplate,
  renderChat,
  type TwoSeparatorTemplate,
} from "./chat_template.ts";
export {
  type EncodeOptions,
  type LlamaBehaviour,
  LlamaTokenizer,
  type LlamaTokenizerOptions,
} from "./llama_tokenizer.ts";
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
