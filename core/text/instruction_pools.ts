/**
 * Instructions that systems of the MiniGPT-v2 family were trained with; one of a pool is drawn per sample. Trained weights
 * expect these very words, ends with a blank included.
 *
 * @module
 */

/** Where a text goes in an instruction. */
export const instructionSlot = "{}";

/** Asking for the place of something named (PeFoMed `mscxr_dataset.py`; MiniGPT-v2's pool has a bare `[refer] {}` too). */
export const referInstructions: readonly string[] = [
  "give me the location of {}",
  "where is {} ?",
  "from this image, tell me the location of {}",
  "the location of {} is",
  "could you tell me the location for {} ?",
  "where can I locate the {} ?",
].map((words) => `[refer] ${words}`);

/** Captions of figures (PeFoMed `roco_dataset.py`, `clef_dataset.py`, `medicat_dataset.py`). */
export const captionInstructions: readonly string[] = [
  "Briefly describe this image.",
  "Provide a concise depiction of this image.",
  "Present a short description of this image.",
  "Summarize this image in a few words.",
  "A short image caption:",
  "A short image description:",
  "A photo of ",
  "An image that shows ",
  "Write a short description for the image. ",
  "Write a description for the photo.",
  "Provide a description of what is presented in the photo.",
  "Briefly describe the content of the image.",
  "Can you briefly explain what you see in the image?",
  "Could you use a few words to describe what you perceive in the photo?",
  "Please provide a short depiction of the picture.",
  "Using language, provide a short account of the image.",
  "Use a few words to illustrate what is happening in the picture.",
];

/** Reports of chest X-rays (PeFoMed `iuxray_dataset.py`, `mimiccxr_dataset.py`). */
export const chestReportInstructions: readonly string[] = [
  "Describe the given chest x-ray image in detail.",
  "Take a look at this chest x-ray and describe the findings and impression.",
  "Could you provide a detailed description of the given x-ray image?",
  "Describe the given chest x-ray image as detailed as possible.",
  "What are the key findings in this chest x-ray image?",
  "Could you highlight any abnormalities or concerns in this chest x-ray image?",
  "What specific features of the lungs and heart are visible in this chest x-ray image?",
  "What is the most prominent feature visible in this chest x-ray image, and how is it indicative of the patient's health?",
  "What are the finding and overall impression provided by this chest x-ray image?",
  "How does the size and shape of the heart in this chest x-ray image?",
  "Is the overall impression provided by this chest x-ray image normal or abnormal? Answer based on the observed findings.",
  "Are there any indications of infection or inflammation in this chest x-ray image, and if so, what is the likely cause?",
  "Based on the findings in this chest x-ray image, what is the overall impression?",
  "Are there any visible indications of enlargement or abnormalities in the patient's lymph nodes in this chest x-ray image?",
  "Is there any potential complications or risks are associated with the observed abnormalities in this chest x-ray image? or the x-ray is normal?",
];

/** Short answers to questions (MiniGPT-v2, PeFoMed `vqa_datasets.py`). */
export const vqaInstructions: readonly string[] = [
  "[vqa] {}",
  "[vqa] Based on the image, respond to this question with a short answer: {}",
];

/** Puts a text into an instruction, where its slot is; every slot, as Python's `format` does it with one argument. */
export function fillInstruction(instruction: string, text: string): string {
  return instruction.replaceAll(instructionSlot, () => text);
}

/**
 * One of a pool, drawn by a text such as the name of a sample: the same text draws the same instruction, texts that differ are spread
 * evenly (FNV-1a over UTF-16 units, then a mix so that the last unit counts in all bits).
 *
 * @throws {RangeError} for an empty pool.
 */
export function drawnOf(pool: readonly string[], text: string): string {
  if (pool.length === 0) throw new RangeError("Cannot draw from an empty pool");
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return pool[((hash ^ (hash >>> 16)) >>> 0) % pool.length]!;
}
