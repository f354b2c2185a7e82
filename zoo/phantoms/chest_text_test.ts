import { assert, assertEquals } from "@std/assert";
import { type ChestPhantom, chestPhantom } from "./chest.ts";
import { chestLabels } from "./chest_findings.ts";
import { findingNames, ofLabel } from "./chest_report.ts";
import { chestExamples, closedExamples, globalLabels } from "./chest_text.ts";
import { maskBox } from "./field.ts";

const SIZE = 64;
const phantoms = Array.from(
  { length: 50 },
  (_, seed) => chestPhantom({ size: SIZE, seed, index: 3 * seed }),
);

/** Says what is untrue in a report, by rules that know nothing of how it was made. */
function untrue(text: string, phantom: ChestPhantom): string[] {
  const problems: string[] = [];
  const has = (label: typeof chestLabels[number]) => ofLabel(phantom, label);
  const degrees = { mild: "small", moderate: "moderate", marked: "large" } as const;
  for (const line of text.replace(/^(Findings|Impression):/gm, "").split(/\.(?:\s|$)/)) {
    const words = line.toLowerCase().trim();
    if (/^(no|there is no) /.test(words)) {
      for (const label of chestLabels) {
        if (words.includes(findingNames[label]) && has(label).length > 0) problems.push(line);
      }
      continue;
    }
    for (
      const [label, pattern] of [
        ["Pleural effusion", /effusion/],
        ["Pneumothorax", /pneumothorax/],
        ["Consolidation", /consolidation/],
        ["Atelectasis", /atelectasis/],
      ] as const
    ) {
      if (!pattern.test(words)) continue;
      const severity = /small|moderate|large/.exec(words)?.[0];
      const zone = /(upper|middle|lower) zone/.exec(words)?.[1];
      const sides = words.includes("bilateral")
        ? ["right", "left"]
        : [/right|left/.exec(words)?.[0]];
      for (const side of sides) {
        const found = has(label).some((finding) =>
          finding.side === side && finding.severity === severity &&
          (zone === undefined || finding.zone === zone)
        );
        if (!found) problems.push(line);
      }
    }
    const degree = /(mild|moderate|marked)(?:ly)? /.exec(words)?.[1] as keyof typeof degrees;
    const heart = /cardiomegaly|heart is .*enlarged|enlargement of the cardiac/.test(words);
    if (heart && !has("Cardiomegaly").some(({ severity }) => severity === degrees[degree])) {
      problems.push(line);
    }
    const aorta = /aort.*enlarge/.test(words);
    if (aorta && !has("Aortic enlargement").some(({ severity }) => severity === degrees[degree])) {
      problems.push(line);
    }
    if (
      /normal in size|within normal|heart size is normal/.test(words) && has("Cardiomegaly").length
    ) {
      problems.push(line);
    }
    const many = /(one|two|three|four|five) (pulmonary )?nodules/.exec(words)?.[1];
    const number = ["one", "two", "three", "four", "five"].indexOf(many ?? "") + 1;
    if (many && number !== has("Nodule/Mass").length) problems.push(line);
    if (!many && /nodule/.test(words) && has("Nodule/Mass").length !== 1) problems.push(line);
    for (const [, count, side, zone] of words.matchAll(/(\w+) in the (\w+) (\w+) zone/g)) {
      const here = has("Nodule/Mass").filter((one) => one.side === side && one.zone === zone);
      const said = ["one", "two", "three", "four", "five"].indexOf(count) + 1;
      if (said > 0 && said !== here.length) problems.push(line);
    }
    if (
      /lungs are clear|normal chest|no acute/.test(words) &&
      phantom.findings.some(({ side }) => side)
    ) {
      problems.push(line);
    }
  }
  return problems;
}

Deno.test("reports are true, complete and point at the right boxes, over 50 seeds", () => {
  let abnormal = 0;
  for (const phantom of phantoms) {
    const examples = chestExamples(phantom);
    const report = examples.find(({ id }) => id.endsWith("/grounded-report"))!;
    assertEquals(untrue(report.answer, phantom), [], phantom.id);
    const pointed = new Set(report.findings!.flatMap(({ boxes }) => boxes.map(String)));
    assertEquals(pointed, new Set(phantom.findings.map(({ box }) => String(box))));
    for (const { span, boxes, masks, label } of report.findings!) {
      const phrase = report.answer.slice(...span!);
      assertEquals(phrase.trim(), phrase);
      assert(boxes.length > 0 && boxes.length === masks!.length);
      masks!.forEach((mask, i) => assertEquals(maskBox(mask), boxes[i]));
      for (const box of boxes) {
        assert(
          ofLabel(phantom, label as typeof chestLabels[number]).some((one) => one.box === box),
        );
      }
    }
    if (phantom.findings.length > 0) abnormal++;
  }
  assert(abnormal > 20 && abnormal < 45, `${abnormal} abnormal`);
});

Deno.test("the checker of reports finds wrong sides, sizes, counts and denials", () => {
  const phantom = phantoms.find((one) => ofLabel(one, "Pleural effusion").length === 1)!;
  const [{ side, severity }] = ofLabel(phantom, "Pleural effusion");
  const other = side === "left" ? "right" : "left";
  assertEquals(untrue(`A ${severity} ${side} pleural effusion.`, phantom), []);
  assertEquals(untrue(`A ${severity} ${other} pleural effusion.`, phantom).length, 1);
  assertEquals(untrue("No pleural effusion.", phantom).length, 1);
  const size = severity === "small" ? "large" : "small";
  assertEquals(untrue(`A ${size} ${side} pleural effusion.`, phantom).length, 1);
});

Deno.test("yes and no are balanced, and every answer follows from the picture", () => {
  let yes = 0, no = 0;
  for (const phantom of phantoms) {
    for (const { task, prompt, answer, answerType, category } of chestExamples(phantom)) {
      if (task !== "vqa") continue;
      const lower = prompt.toLowerCase();
      const label = chestLabels.find((one) => lower.includes(findingNames[one]));
      const found = label ? ofLabel(phantom, label) : [];
      const side = /right|left/.exec(lower)?.[0];
      if (answerType === "closed") {
        if (answer === "yes") yes++;
        else no++;
        if (category !== "normality") {
          const here = side === undefined ? found : found.filter((one) => one.side === side);
          assertEquals(answer, here.length > 0 ? "yes" : "no", prompt);
        }
      } else if (category === "count") assertEquals(answer, String(found.length));
      else if (category === "zone") assertEquals(answer, `${found[0].side} ${found[0].zone} zone`);
      else if (category === "side") {
        assert(answer === "both" || found.every((one) => one.side === answer), prompt);
      }
    }
  }
  assertEquals(yes, no);
});

Deno.test("every closed question is asked once, and its answer follows from the picture", () => {
  for (const phantom of phantoms) {
    const examples = closedExamples(phantom);
    assertEquals(closedExamples(phantom), examples);
    const asked = new Map(examples.map(({ category, answer }) => [category!, answer]));
    assertEquals(asked.size, examples.length);
    for (const label of chestLabels) {
      const found = ofLabel(phantom, label);
      assertEquals(asked.get(label), found.length > 0 ? "yes" : "no");
      const lies = found.some(({ side }) => side !== undefined);
      for (const side of ["right", "left"]) {
        const here = found.some((finding) => finding.side === side) ? "yes" : "no";
        assertEquals(asked.get(`${label}, ${side}`), lies ? here : undefined);
      }
    }
    const normal = phantom.findings.length === 0;
    assertEquals(
      [asked.get("normal"), asked.get("abnormal")],
      normal ? ["yes", "no"] : ["no", "yes"],
    );
  }
});

Deno.test("regions and masks are those of the phantom; the same phantom gives the same examples", () => {
  const phantom = phantoms.find(({ findings }) => findings.length > 3)!;
  const examples = chestExamples(phantom);
  assertEquals(new Set(examples.map(({ id }) => id)).size, examples.length);
  assertEquals(chestExamples(phantom), examples);
  for (const { findings } of examples) {
    for (const { boxes, masks } of findings ?? []) {
      masks!.forEach((mask, i) => assertEquals(maskBox(mask), boxes[i]));
    }
  }
  assert(examples.some(({ task }) => task === "region-vqa"));
  assert(examples.some(({ task }) => task === "ground-mask"));
});

Deno.test("diagnoses follow from the findings", () => {
  assertEquals(globalLabels({ findings: [] }), ["No finding"]);
  for (const phantom of phantoms) {
    const labels = globalLabels(phantom);
    assertEquals(labels.includes("No finding"), phantom.findings.length === 0);
    assertEquals(labels.includes("Pneumonia"), ofLabel(phantom, "Consolidation").length > 0);
  }
});
