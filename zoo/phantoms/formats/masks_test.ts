import { assert, assertEquals } from "@std/assert";
import { checkPictures, written } from "./formats_testing.ts";
import { pictureStem } from "./masks.ts";
import { shortQuestions } from "./questions.ts";

for (const kind of ["cxr", "ct"] as const) {
  Deno.test(`SA-Med2D-20M: every mask with its class: ${kind}`, async () => {
    const set = await written("sa-med2d", { kind }), examples = await set.read();
    assertEquals(examples.length, set.cases.length);
    await checkPictures(set, examples);
    for (const [i, { image, findings, patient, attributes }] of examples.entries()) {
      const one = set.cases[i];
      assertEquals(image, `images/${pictureStem(one)}.png`);
      assertEquals(patient, `Phantoms--case_${String(i).padStart(5, "0")}`);
      assertEquals(attributes!.modality, kind === "ct" ? "ct" : "x");
      const groups = [...Map.groupBy(one.things, ({ label }) => label)];
      assertEquals(findings!.map(({ label }) => label), groups.map(([label]) => label));
      for (const [n, [, things]] of groups.entries()) {
        const files = findings![n].maskFiles!;
        assertEquals(files.length, things.length);
        for (const [m, { mask }] of things.entries()) assertEquals(await set.mask(files[m]), mask);
      }
    }
  });

  for (const name of ["mecovqa", "medplib"]) {
    Deno.test(`${name}: questions, regions and masks are those of the phantoms: ${kind}`, async () => {
      const set = await written(name, { kind }), examples = await set.read();
      await checkPictures(set, examples);
      const byImage = Map.groupBy(examples, ({ image }) => image);
      assertEquals(byImage.size, set.cases.length);
      for (const one of set.cases) {
        const own = byImage.get(`images/${pictureStem(one)}.png`)!;
        assert(own.every(({ split }) => split === one.split));
        const questions = own.filter(({ task }) => task === "vqa");
        assertEquals(
          questions.map(({ prompt, answer, answerType }) => [prompt, answer, answerType]),
          shortQuestions(one).map(({ prompt, answer, answerType }) => [prompt, answer, answerType]),
        );
        const regions = own.filter(({ task }) => task === "region-vqa");
        const truth = one.examples.filter(({ task }) => task === "region-vqa");
        assertEquals(regions.length, truth.length);
        for (const [n, { prompt, answer, regions: pointed }] of regions.entries()) {
          assertEquals(prompt, truth[n].prompt);
          assertEquals(answer, `This region shows the ${truth[n].answer}.`);
          const [region] = pointed!, [meant] = truth[n].regions!;
          assert(region.kind === "mask-file");
          const mask = await set.mask(region.file);
          const same = one.things.filter((thing) =>
            thing.name === truth[n].answer && String(thing.mask.data) === String(mask.data)
          );
          assert(same.length > 0);
          if (meant.kind === "mask") assertEquals(mask, meant.mask);
          if (meant.kind === "box") assertEquals(String(same[0].box), String(meant.box));
        }
        const grounding = own.filter(({ task }) => task === "ground-mask");
        const groups = [...Map.groupBy(one.things, ({ name }) => name)];
        assertEquals(grounding.length, groups.length);
        for (const [n, { prompt, answer, findings }] of grounding.entries()) {
          const [spoken, things] = groups[n], [finding] = findings!;
          assert(prompt.includes(things.length > 1 ? `every ${spoken}` : `the ${spoken}`));
          assertEquals(answer.slice(...finding.span!), "<SEG>");
          assertEquals(finding.label, things[0].label);
          const mask = await set.mask(finding.maskFiles![0]);
          const all = mask.data.map((_, at) => things.some((thing) => thing.mask.data[at]) ? 1 : 0);
          assertEquals(mask.data, all);
        }
      }
    });
  }
}

Deno.test("MeCoVQA's lists hold their kinds", async () => {
  const examples = await (await written("mecovqa")).read();
  const tasks = { Complex: "vqa", Region: "region-vqa", Grounding: "ground-mask" } as const;
  for (const { category, task } of examples) {
    assertEquals(task, tasks[category as keyof typeof tasks]);
  }
  assertEquals(new Set(examples.map(({ category }) => category)).size, 3);
});
