/** Layouts of the releases of which no sample may be passed on, in files made up here. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type FolderSource, InputError } from "@medvlm/core";
import { collect, folderOf, readAllExamples } from "./readers_testing.ts";
import { datasets } from "./mod.ts";

Deno.test("MS-CXR as a table: official parts, or drawn ones with a seed", async () => {
  const header = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split\n";
  const path = (patient: number) => `files/p10/p${10000000 + patient}/s1/d.jpg`;
  const rows = Array.from(
    { length: 20 },
    (_, index) =>
      `d,Edema,"mild, diffuse",${path(index >> 1)},1,2,30,40,100,200,${
        index < 18 ? "val" : "test"
      }\n`,
  );
  const files = Object.fromEntries(rows.map((_, index) => [path(index >> 1), ""]));
  const folder = folderOf({
    ...files,
    "MS_CXR_Local_Alignment_v1.1.0.csv": header + rows.join(""),
  });
  const official = await readAllExamples("ms_cxr", folder, { split: "validate" });
  assertEquals(official.examples.length, 18);
  assertEquals(official.examples[0], {
    id: "line 2",
    image: path(0),
    task: "ground-box",
    prompt: "mild, diffuse",
    answer: "mild, diffuse",
    findings: [{ label: "Edema", span: [0, 13], boxes: [[1, 2, 31, 42]] }],
    labels: ["Edema"],
    category: "Edema",
    patient: "p10000000",
    split: "validate",
    attributes: { size: "100x200" },
  });
  const drawn = await readAllExamples("ms_cxr", folder, { seed: 3 });
  const patients = Map.groupBy(drawn.examples, ({ split }) => split);
  assertEquals(patients.get("train")?.length, 14);
  assertEquals(patients.get("test")?.length, 4);
  for (const both of Map.groupBy(drawn.examples, ({ patient }) => patient).values()) {
    assertEquals(both[0].split, both[1].split);
  }
});

Deno.test("MIMIC-CXR with pictures and the official parts", async () => {
  const report =
    "                                 FINAL REPORT\n FINDINGS AND IMPRESSION:\n\n No change.\n";
  const folder = folderOf({
    "mimic-cxr-2.0.0-split.csv":
      "dicom_id,study_id,subject_id,split\na,51,10,train\nb,52,10,test\nc,53,10,holiday\n",
    "files/p10/p10000001/s51.txt": report,
    "files/p10/p10000001/s51/b.jpg": "",
    "files/p10/p10000001/s51/a.jpg": "",
    "files/p10/p10000001/s52.txt": "WET READ: 3:40 PM\n\n Right lower lobe\n pneumonia.\n",
    "files/p10/p10000001/s52/c.dcm": "",
    "files/p10/p10000001/s54.txt": " \n",
    "files/p10/index.html": "",
  });
  const { examples, problems } = await readAllExamples("mimic_cxr", folder);
  assertEquals(
    examples.map(({ id, image, moreImages, answer, split }) => [
      id,
      image,
      moreImages,
      answer,
      split,
    ]),
    [
      [
        "s51",
        "files/p10/p10000001/s51/a.jpg",
        ["files/p10/p10000001/s51/b.jpg"],
        "No change.",
        "train",
      ],
      [
        "s52",
        "files/p10/p10000001/s52/c.dcm",
        undefined,
        "3:40 PM Right lower lobe pneumonia.",
        "test",
      ],
    ],
  );
  assertEquals(problems.map(({ message }) => message), [
    'unknown part "holiday"',
    "the report is empty",
  ]);
  assertEquals((await readAllExamples("mimic_cxr", folder, { split: "test" })).examples.length, 1);
});

Deno.test("ROCOv2, ImageCLEF and lists of captions", async () => {
  const { examples } = await readAllExamples(
    "roco",
    folderOf({
      "train_captions.csv": 'ID,Caption\nROCOv2_1,"CT of the ""chest"",\naxial"\n',
      "train_concepts.csv": "ID,CUIs\nROCOv2_1,C1;C2\n",
      "train/ROCOv2_1.jpg": "",
      "caption_prediction_valid.csv": "ID\tcaption\nclef_1\tan X-ray, frontal\n",
      "valid/clef_1.jpg": "",
      "medicat_test.json": '[{"image": "a/b/m.png", "caption": "Ultrasound"}]',
      "images/m.png": "",
    }),
  );
  assertEquals(examples.map(({ image, answer, split, labels }) => [image, answer, split, labels]), [
    ["train/ROCOv2_1.jpg", 'CT of the "chest",\naxial', "train", ["C1", "C2"]],
    ["valid/clef_1.jpg", "an X-ray, frontal", "validate", undefined],
    ["images/m.png", "Ultrasound", "test", undefined],
  ]);
});

Deno.test("PMC-VQA in both versions", async () => {
  const first = await readAllExamples(
    "pmc_vqa",
    folderOf({
      "train.csv":
        "Figure_path,Question,Answer,Choice A,Choice B,Choice C,Choice D,Answer_label\n" +
        "f.jpg,What?,Focal,A:Diffuse, B:Focal ,C:None,D:Other,B\n",
      "images/f.jpg": "",
    }),
  );
  const second = await readAllExamples(
    "pmc_vqa",
    folderOf({
      "test_2.csv":
        "index,Figure_path,Caption,Question,Choice A,Choice B,Choice C,Choice D,Answer,split\n" +
        "0,f.jpg,A figure,What?, A:Diffuse, B:Focal, C:None, D:Other,B,test\n" +
        "1,f.jpg,A figure,What?, A:Diffuse, B:Focal, C:None, D:Other,E,test\n",
      "figures/f.jpg": "",
    }),
  );
  for (const { examples } of [first, second]) {
    assertEquals(examples.map(({ answer, choices }) => [answer, choices]), [[
      "Focal",
      ["Diffuse", "Focal", "None", "Other"],
    ]]);
  }
  assertEquals([first.examples[0].split, second.examples[0].split], ["train", "test"]);
  assertEquals(second.problems, [{
    file: "test_2.csv",
    line: 3,
    message: "the answer is none of the choices",
  }]);
});

Deno.test("VQA-Med 2020 and 2021: answers in a file of their own, several right ones", async () => {
  const test = "Task1-VQA-2021-TestSet-w-GroundTruth/Task1-VQA-2021-TestSet-";
  const { examples, problems } = await readAllExamples(
    "vqa_med",
    folderOf({
      "VQAMed2020-VQAnswering-TrainingSet/VQAnswering_2020_Train_QA_pairs.txt":
        "synpic1|what is abnormal?|cyst#bone cyst\r\nsynpic1|only a question\n\n",
      "VQAMed2020-VQAnswering-TrainingSet/VQAnswering_2020_Train_images/synpic1.jpg": "",
      [`${test}Questions.txt`]: "synpic2|is it normal?\nsynpic3|is it normal?\n",
      [`${test}ReferenceAnswers.txt`]: "synpic2|meningioma|a meningioma\n",
      "VQA-2021-TestSet-Images/synpic2.jpg": "",
      "VQA-2021-TestSet-Images/synpic3.jpg": "",
      "VQA-Med-2021-Tasks-1-2-NewValidationSets/VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt":
        "synpic2|is it normal?|yes\n",
    }),
  );
  assertEquals(
    examples.map(({ image, answer, alternatives, split, answerType }) => [
      image.split("/").at(-1),
      answer,
      alternatives,
      split,
      answerType,
    ]).sort(),
    [
      ["synpic1.jpg", "cyst", ["bone cyst"], "train", "open"],
      ["synpic2.jpg", "meningioma", ["a meningioma"], "test", "open"],
      ["synpic2.jpg", "yes", undefined, "validate", "closed"],
    ],
  );
  assertEquals(problems.map(({ line, message }) => [line, message]), [
    [2, 'the answers do not name "synpic3"'],
    [2, "expected picture|question|answer, none of them empty"],
  ]);
});

Deno.test("LLaVA-Med: alignment with its misspelt field, and conversations", async () => {
  const turn = (from: string, value: string) => ({ from, value });
  const folder = folderOf({
    "alignment/llava_med_alignment_500k.json": JSON.stringify([{
      id: "1",
      image: "f.jpg",
      domain: { chest_xray: true, mri: false },
      conversatons: [turn("human", "Describe it.\n<image>"), turn("gpt", "A chest X-ray.")],
    }]),
    "instruct/llava_med_instruct_10k.json": JSON.stringify([
      {
        id: "2",
        image: "f.jpg",
        conversations: [
          turn("human", "<image>\nWhat?"),
          turn("gpt", "This."),
          turn("human", "Where?"),
          turn("gpt", "There."),
        ],
      },
      { id: "3", image: "f.jpg", conversations: [turn("gpt", "Hello."), turn("human", "?")] },
    ]),
    "images/f.jpg": "",
  });
  const { examples, problems } = await readAllExamples("llava_med", folder);
  assertEquals(
    examples.map(({ task, prompt, answer, history }) => [task, prompt, answer, history]),
    [
      ["caption", "Describe it.", "A chest X-ray.", undefined],
      ["vqa", "What?", "This.", undefined],
      ["vqa", "Where?", "There.", [{ question: "What?", answer: "This." }]],
    ],
  );
  assertEquals(examples[0].attributes, { modality: "chest_xray" });
  assertEquals(problems.map(({ message }) => message), ['a turn of "gpt" where "human" speaks']);
});

Deno.test("MeCoVQA's release: folders of parts, names without ending", async () => {
  const record = {
    image: "./images/mr_t1--SET--case--x_0001",
    conversations: [
      { from: "human", value: "<image>\nSegment $& here." },
      { from: "gpt", value: "It is <SEG>. <mask>masks/mr_t1--SET--case--x_0001--0007_001</mask>" },
    ],
  };
  const twice = structuredClone(record);
  twice.conversations[1].value += "<mask>masks/b</mask>";
  const { examples, problems } = await readAllExamples(
    "mecovqa",
    folderOf({
      "train/MeCoVQA-Grounding.json": JSON.stringify([record, twice]),
      "test/MeCoVQA_Grounding_test.json": JSON.stringify([record]),
      "images/mr_t1--SET--case--x_0001.png": "",
      "masks/mr_t1--SET--case--x_0001--0007_001.png": "",
    }),
  );
  assertEquals(examples.map(({ split }) => split), ["train", "test"]);
  assertEquals(examples[0].findings, [{
    label: "0007",
    span: [6, 11],
    boxes: [],
    maskFiles: ["masks/mr_t1--SET--case--x_0001--0007_001.png"],
  }]);
  assertEquals(examples[0].attributes, { modality: "mr" });
  assertEquals(problems.map(({ message }) => message), ["a turn has 2 <mask> tags"]);
});

Deno.test("TotalSegmentator: volumes, masks and the table of cases", async () => {
  const folder = folderOf({
    "meta.csv":
      "image_id;age;gender;institute;study_type;split\ns0000;64;m;A;ct abdomen;train\ns0001;;f;A;;val\n",
    "s0000/ct.nii.gz": "",
    "s0000/segmentations/aorta.nii.gz": "",
    "s0000/segmentations/kidney_left.nii.gz": "",
    "s0001/mri.nii.gz": "",
    "s0001/segmentations/liver.nii.gz": "",
    "notes/readme.txt": "",
  });
  const { examples } = await readAllExamples("total_segmentator", folder);
  assertEquals(examples.map(({ image, split, answer }) => [image, split, answer]), [
    ["s0000/ct.nii.gz", "train", "aorta, kidney left."],
    ["s0001/mri.nii.gz", "validate", "liver."],
  ]);
  assertEquals(examples[0].findings?.[1], {
    label: "kidney_left",
    boxes: [],
    maskFiles: ["s0000/segmentations/kidney_left.nii.gz"],
  });
  assertEquals(examples[0].attributes, {
    modality: "CT",
    study: "ct abdomen",
    age: "64",
    gender: "m",
  });
});

Deno.test("CT-RATE with labels; Indiana with projections; lists of reports", async () => {
  const ct = await readAllExamples(
    "ct_rate",
    folderOf({
      "radiology_text_reports/validation_reports.csv":
        "VolumeName,ClinicalInformation_EN,Technique_EN,Findings_EN,Impressions_EN\nvalid_1_a_2.nii.gz,,,Clear.,\n",
      "multi_abnormality_labels/valid_predicted_labels.csv":
        "VolumeName,Emphysema,Lung nodule\nvalid_1_a_2.nii.gz,0,1\n",
      "dataset/valid_fixed/valid_1/valid_1_a/valid_1_a_2.nii.gz": "",
    }),
  );
  assertEquals(
    ct.examples.map(({ image, labels, patient, split }) => [image, labels, patient, split]),
    [
      [
        "dataset/valid_fixed/valid_1/valid_1_a/valid_1_a_2.nii.gz",
        ["Lung nodule"],
        "valid_1",
        "validate",
      ],
    ],
  );
  const indiana = await readAllExamples(
    "indiana",
    folderOf({
      "indiana_reports.csv": "uid,findings,impression,Problems\n1,Clear.,Normal.,a;b\n2,,,\n",
      "indiana_projections.csv": "uid,filename,projection\n1,l.png,Lateral\n1,f.png,Frontal\n",
      "images/images_normalized/l.png": "",
      "images/images_normalized/f.png": "",
    }),
  );
  assertEquals(
    indiana.examples.map(({ image, moreImages, labels }) => [image, moreImages, labels]),
    [
      ["images/images_normalized/f.png", ["images/images_normalized/l.png"], ["a", "b"]],
    ],
  );
  assertEquals(indiana.problems.length, 1);
  const lists = await readAllExamples(
    "report_lists",
    folderOf({
      "train.json": '{"p/a.jpg": ["First.", "Second."]}',
      "test.json": '[{"image_path": "b.png", "report": "Third."}]',
      "p/a.jpg": "",
      "images/b.png": "",
    }),
  );
  assertEquals(lists.examples.map(({ image, answer, split }) => [image, answer, split]), [
    ["images/b.png", "Third.", "test"],
    ["p/a.jpg", "First.", "train"],
  ]);
});

Deno.test("VQA-RAD's public file marks the test questions; NIH's lists the parts", async () => {
  const record = (qid: number, phrase: string) => ({
    qid,
    phrase_type: phrase,
    image_name: "a.jpg",
    question: " Q? ",
    answer: 3,
    answer_type: "CLOSED ",
  });
  const rad = await readAllExamples(
    "vqa_rad",
    folderOf({
      "VQA_RAD Dataset Public.json": JSON.stringify([
        record(1, "freeform"),
        record(2, "test_freeform"),
      ]),
      "VQA_RAD Image Folder/a.jpg": "",
    }),
  );
  assertEquals(
    rad.examples.map(({ split, prompt, answer, answerType }) => [
      split,
      prompt,
      answer,
      answerType,
    ]),
    [["train", "Q?", "3", "closed"], ["test", "Q?", "3", "closed"]],
  );
  const nih = await readAllExamples(
    "nih14",
    folderOf({
      "Data_Entry_2017.csv": "Image Index,Finding Labels\n00000001_000.png,No Finding\n",
      "test_list.txt": "00000001_000.png\n",
      "images_007/images/00000001_000.png": "",
    }),
  );
  assertEquals(nih.examples.map(({ image, split, patient }) => [image, split, patient]), [
    ["images_007/images/00000001_000.png", "test", "00000001"],
  ]);
});

Deno.test("pickles that would run something are refused", async () => {
  const folder = folderOf({ "qas/test/test_qa.pkl": "cos\nsystem\n(S'true'\ntR." });
  const error = await assertRejects(
    () => collect(datasets.path_vqa.read(folder)),
    InputError,
  );
  assertEquals(error.code, "UNSAFE_GLOBAL");
});

Deno.test("damage in every reader's files is an error or a counted problem", async () => {
  const names = [
    "MS_CXR_Local_Alignment_v1.0.0.json",
    "annotation.json",
    "SAMed2D_v1.json",
    "image2label_train.json",
    "MeCoVQA-Complex.json",
    "llava_med_instruct_10k.json",
    "train.json",
    "ChestX_Det_train.json",
    "train.csv",
    "Data_Entry_2017.csv",
    "BBox_List_2017.csv",
    "indiana_reports.csv",
    "annotations/annotations_train.csv",
    "radiology_text_reports/train_reports.csv",
    "radiology/captions.txt",
    "questions.txt",
    "imgs/a/detection.json",
    "ecgen-radiology/1.xml",
    "qas/test/test_qa.pkl",
    "QA_information/Open-access/a.json",
    "files/p10/p1/s1.txt",
    "s0/segmentations/a.nii.gz",
    "annotations/instances_val2017.json",
    "boxes.json",
    "x.png",
    "x-mask.png",
  ];
  const contents = [
    "",
    "\n",
    "[]",
    "{}",
    "[1, null, {}, [[]]]",
    '{"a": 1, "b": [3]}',
    '[{"a"',
    "\0\xff",
    "a,b\n1,2\n",
  ];
  for (const content of contents) {
    const folder: FolderSource = folderOf(Object.fromEntries(names.map((name) => [name, content])));
    for (const reader of Object.values(datasets)) {
      const reading = reader.read(folder, { missingImages: "keep" });
      try {
        await collect(reading);
      } catch (error) {
        if (!(error instanceof InputError)) {
          throw new Error(`${reader.name} on ${content}`, { cause: error });
        }
        assertStringIncludes(error.message, "Cannot read");
      }
    }
  }
});
