/**
 * One question per finding, for systems that answer with one mask or one kind of box at a time.
 *
 * @module
 */
import type { Example } from "@medvlm/core";

const questions: Readonly<Partial<Record<Example["task"], (name: string) => string>>> = {
  "ground-box": (name) => `Where in this image is the following: ${name}?`,
  "ground-mask": (name) => `Segment in this image: ${name}.`,
  "ground-instances": (name) => `Segment every instance in this image of: ${name}.`,
};

/** The example divided by its findings; itself where it asks for at most one, or not for places. */
export function perFinding(example: Example): Example[] {
  const question = questions[example.task];
  const { findings = [] } = example;
  if (question === undefined || findings.length < 2) return [example];
  const groups = [...Map.groupBy(findings, ({ label }) => label)];
  if (groups.length < 2) return [example];
  const { labels: _, ...rest } = example;
  return groups.map(([label, members]) => {
    const name = label.replaceAll("_", " ");
    return {
      ...rest,
      id: `${example.id}/${label}`,
      prompt: question(name),
      answer: `${name}.`,
      // Places in the answer of the whole do not fit the part.
      findings: members.map(({ span: _span, ...finding }) => finding),
    };
  });
}
