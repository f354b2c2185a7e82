/**
 * Reports and questions about CT phantoms, true to what was drawn.
 *
 * @module
 */
import type { Example, Finding } from "@medvlm/core";
import { Random } from "./random.ts";
import type { VolumePhantom } from "./volume.ts";
import { type VolumeInstance, type VolumeLabel, volumeLabels } from "./volume_findings.ts";
import { structureNames, structureWords } from "./volume_labels.ts";
import { organBoxes } from "./volume_slices.ts";
import {
  capital,
  type GroundedText,
  joinTexts,
  listed,
  numberWord,
  sentence,
  withArticle,
} from "./wording.ts";

/** Marks the draws of texts about volumes. */
const TEXT_DRAWS = 0x76747874;

type Text = GroundedText<VolumeInstance>;

/** How a kind is called within a sentence. */
const names: Readonly<Record<VolumeLabel, string>> = {
  "Lung nodule": "lung nodule",
  "Pleural effusion": "pleural effusion",
  "Liver lesion": "liver lesion",
  "Kidney cyst": "kidney cyst",
};

/** Where a finding lies, as one says it. */
function place({ label, side, structure }: VolumeInstance): string {
  return label === "Liver lesion"
    ? "the liver"
    : label === "Pleural effusion"
    ? `the ${side} pleural space`
    : `the ${structureWords(structure)}`;
}

/** Names of the structures that a volume shows. */
export function shownStructures({ labels }: Pick<VolumePhantom, "labels">): readonly string[] {
  const known = shown.get(labels);
  if (known) return known;
  const seen = new Uint8Array(256);
  for (let at = 0; at < labels.length; at++) seen[labels[at]] = 1;
  const names = structureNames.filter((_, value) => value > 0 && seen[value] === 1);
  shown.set(labels, names);
  return names;
}

/** Counting the voxels takes longer than writing the texts. */
const shown = new WeakMap<Uint8Array, readonly string[]>();

/** The findings of a kind. */
function ofKind({ findings }: Pick<VolumePhantom, "findings">, label: VolumeLabel) {
  return findings.filter((finding) => finding.label === label);
}

/** Which kinds a volume could show: those whose organ is in it. */
export function visibleKinds(phantom: Pick<VolumePhantom, "labels" | "findings">): VolumeLabel[] {
  const inside = shownStructures(phantom).join(" ");
  const organ: Readonly<Record<VolumeLabel, string>> = {
    "Lung nodule": "lung_",
    "Pleural effusion": "lung_",
    "Liver lesion": "liver",
    "Kidney cyst": "kidney_",
  };
  return volumeLabels.filter((label) =>
    inside.includes(organ[label]) || ofKind(phantom, label).length > 0
  );
}

function findingText(finding: VolumeInstance, random: Random): Text {
  const { label, severity, side, millimetres } = finding, targets = [finding];
  if (label === "Pleural effusion") {
    return random.pick([
      () => sentence("there is a ", { text: `${severity} ${side} pleural effusion`, targets }, "."),
      () =>
        sentence(
          { text: `${severity} ${side}-sided pleural effusion`, targets },
          `, ${millimetres} mm deep.`,
        ),
    ])();
  }
  const at = place(finding);
  const thing = label === "Lung nodule"
    ? "nodule"
    : label === "Kidney cyst"
    ? "cyst"
    : random.pick(["hypodense lesion", "lesion"]);
  return random.pick([
    () =>
      sentence(
        { text: `${withArticle(severity)} ${thing} of ${millimetres} mm in ${at}`, targets },
        ".",
      ),
    () => sentence("in ", at, " there is ", { text: `a ${millimetres} mm ${thing}`, targets }, "."),
  ])();
}

/** A report with findings and impression. Organs outside the volume are not mentioned. */
export function volumeReport(
  phantom: VolumePhantom,
  random: Random,
): { findings: Text; impression: Text } {
  const texts: Text[] = [];
  const inside = new Set(shownStructures(phantom));
  for (const label of visibleKinds(phantom)) {
    const found = ofKind(phantom, label);
    if (found.length === 0) {
      texts.push(sentence(random.pick([`no ${names[label]}.`, `there is no ${names[label]}.`])));
    } else texts.push(...found.map((finding) => findingText(finding, random)));
  }
  const normal = ["spleen", "aorta", "heart", "stomach"].filter((name) => inside.has(name));
  if (normal.length > 0) {
    const verb = normal.length > 1 ? "are" : "is";
    texts.push(sentence(`${listed(normal.map((name) => `the ${name}`))} ${verb} normal.`));
  }
  if (texts.length === 0) texts.push(sentence("no abnormality in the part of the body shown."));
  const groups = [...Map.groupBy(phantom.findings, ({ label }) => label).values()];
  const impression = groups.map((targets): Text => {
    const [first] = targets, name = names[first.label];
    const words = targets.length > 1
      ? `${numberWord(targets.length)} ${name}s`
      : first.label === "Pleural effusion"
      ? `${first.severity} ${first.side} ${name}`
      : `${first.severity} ${name}`;
    return sentence({ text: words, targets }, ".");
  });
  if (impression.length === 0) {
    impression.push(sentence(random.pick(["normal CT.", "no abnormality."])));
  }
  return { findings: joinTexts(texts, " "), impression: joinTexts(impression, " ") };
}

function grounded(label: string, targets: readonly VolumeInstance[], span?: [number, number]) {
  return {
    label,
    ...(span ? { span } : {}),
    boxes: [],
    boxes3: targets.map(({ box }) => box),
  } satisfies Finding;
}

function questionPairs(phantom: VolumePhantom, random: Random): [string, "yes" | "no"][] {
  const yes: [string, "yes"][] = [], no: [string, "no"][] = [];
  const ask = (question: string, is: boolean) =>
    is ? yes.push([question, "yes"]) : no.push([question, "no"]);
  for (const label of visibleKinds(phantom)) {
    const found = ofKind(phantom, label);
    ask(`Is there ${withArticle(names[label])}?`, found.length > 0);
    if (label === "Liver lesion" || found.length === 0) continue;
    for (const side of ["right", "left"] as const) {
      ask(
        `Is there ${withArticle(names[label])} on the ${side}?`,
        found.some((finding) => finding.side === side),
      );
    }
  }
  const inside = new Set(shownStructures(phantom));
  for (const organ of ["liver", "spleen", "heart", "kidney_left", "kidney_right"]) {
    ask(`Does this CT scan show the ${structureWords(organ)}?`, inside.has(organ));
  }
  ask("Is this CT scan normal?", phantom.findings.length === 0);
  const pairs = Math.min(3, yes.length, no.length);
  return random.shuffled([
    ...random.shuffled(yes).slice(0, pairs),
    ...random.shuffled(no).slice(0, pairs),
  ]);
}

function openPairs(phantom: VolumePhantom): [string, string, string][] {
  const pairs: [string, string, string][] = [["modality", "Which imaging modality is this?", "CT"]];
  for (const label of visibleKinds(phantom)) {
    const found = ofKind(phantom, label), name = names[label];
    if (label !== "Pleural effusion") {
      pairs.push(["count", `How many ${name}s are there?`, String(found.length)]);
    }
    if (found.length !== 1) continue;
    const [{ severity, millimetres, side }] = found;
    pairs.push(["severity", `How large is the ${name}?`, severity]);
    if (label === "Pleural effusion") {
      pairs.push(["side", `On which side is the ${name}?`, side!]);
    } else {
      pairs.push([
        "size",
        `What is the diameter of the ${name} in millimetres?`,
        String(millimetres),
      ]);
      if (label !== "Liver lesion") {
        pairs.push(["place", `Where is the ${name}?`, place(found[0]).replace(/^the /, "")]);
      }
    }
  }
  return pairs;
}

/** The organs that are shown, with their boxes. */
function organAnswer(phantom: VolumePhantom): Pick<Example, "answer" | "findings" | "labels"> {
  const organs = organBoxes(phantom);
  const answer = organs.length === 0
    ? "None."
    : `${capital(organs.map(({ name }) => name).join(", "))}.`;
  let at = 0;
  const findings = organs.map(({ name, box }): Finding => {
    at = answer.toLowerCase().indexOf(name, at);
    return { label: name, span: [at, at += name.length], boxes: [], boxes3: [box] };
  });
  return { answer, findings, labels: organs.map(({ name }) => name) };
}

/**
 * All examples of a CT phantom: report, report with boxes, closed (as many yes as no) and open questions, organs and findings
 * with boxes in voxels. Regions and masks are those of slices, see {@linkcode sliceExamples}. The same phantom gives the same examples.
 *
 * @param image Name that the examples give the volume. Default: its id with `.nii.gz`.
 */
export function volumeExamples(phantom: VolumePhantom, image = `${phantom.id}.nii.gz`): Example[] {
  const random = new Random(phantom.seed, phantom.index, TEXT_DRAWS);
  const { id, sex, age } = phantom;
  const report = volumeReport(phantom, random);
  const common = { image, patient: id, attributes: { sex, age: String(age), modality: "CT" } };
  const whole = joinTexts(
    [
      joinTexts([{ text: "Findings:", phrases: [] }, report.findings], " "),
      joinTexts([{ text: "Impression:", phrases: [] }, report.impression], " "),
    ],
    "\n",
  );
  const attributes = {
    ...common.attributes,
    findings: report.findings.text,
    impression: report.impression.text,
  };
  const prompt = "Describe the findings and the impression of this CT scan.";
  const answer = whole.text;
  const findings = whole.phrases.map(({ span: [start, end], targets }) =>
    grounded(targets[0].label, targets, [start, end])
  );
  const closed = questionPairs(phantom, random).map(([question, reply], number): Example => ({
    ...common,
    id: `${id}/closed/${number}`,
    task: "vqa",
    prompt: question,
    answer: reply,
    answerType: "closed",
    choices: ["yes", "no"],
    category: "presence",
  }));
  const open = openPairs(phantom).map(([category, question, reply], number): Example => ({
    ...common,
    id: `${id}/open/${number}`,
    task: "vqa",
    prompt: question,
    answer: reply,
    answerType: "open",
    category,
  }));
  const kinds = volumeLabels.filter((label) => ofKind(phantom, label).length > 0);
  return [
    { ...common, id: `${id}/report`, task: "report", prompt, answer, attributes },
    {
      ...common,
      id: `${id}/grounded-report`,
      task: "report",
      category: "grounded report",
      prompt: `${prompt} Mark every finding.`,
      answer,
      findings,
      attributes,
    },
    ...closed,
    ...open,
    {
      ...common,
      id: `${id}/organs`,
      task: "ground-box",
      prompt: "Which organs does this CT scan show, and where?",
      ...organAnswer(phantom),
      category: "organs",
    },
    {
      ...common,
      id: `${id}/local`,
      task: "ground-box",
      prompt: "Which findings does this CT scan show, and where?",
      answer: kinds.length === 0 ? "No finding." : `${kinds.join(", ")}.`,
      findings: kinds.map((label) => grounded(label, ofKind(phantom, label))),
      labels: kinds.length === 0 ? ["No finding"] : kinds,
      category: "local",
    },
  ];
}
