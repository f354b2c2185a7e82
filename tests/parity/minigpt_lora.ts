/**
 * Reference case of the language model's adapters: beside the weights, switched off, merged; both spellings of their names.
 *
 * @module
 */
import { openCheckpoint } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import {
  adapterParameters,
  attachAdapters,
  feedForward,
  joinParts,
  type MinigptConfig,
  paper,
  readLlamaConfig,
} from "@medvlm/core/minigpt";
import {
  denseFeedForwardParameters,
  llama,
  llamaParameters,
  loadParameters,
  type Parameters,
  projection,
  TraceCollector,
} from "@medvlm/core/nn";
import { gatherRows, linear, matmul, rmsNorm, type Tensor, tensor } from "@medvlm/core/tensor";
import { openFolder } from "@medvlm/core";
import { openCase } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";
import { compare } from "./medplib_parts.ts";

/** `minigpt-v2/lora`. */
export async function runLora(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const { lora } = files.config;
  const config: MinigptConfig = {
    ...paper,
    llama: await readLlamaConfig(await openFolder(`${dir}/llama`)),
    adapters: {
      rank: lora.r,
      alpha: lora.lora_alpha,
      dropout: lora.lora_dropout,
      targets: lora.target_modules,
    },
  };
  const specs = [
    ...llamaParameters(
      config.llama,
      "F16",
      (_, prefix) => denseFeedForwardParameters(config.llama, prefix, "F16"),
    ),
    ...adapterParameters(config),
  ];
  const tolerance = files.case.tolerance as Tolerance;
  using language = await openCheckpoint(`${dir}/llama`);
  const ids = Int32Array.from((await files.inputs.get("input_ids")).values);
  for (const file of Object.keys(files.case.files).filter((name) => name.endsWith(".pth"))) {
    using trained = await openCheckpoint(`${dir}/${file}`, { key: "model" });
    const parts = { language, vision: trained, trained };
    const p = await loadParameters(device, specs, joinParts(dir, parts), {
      ignore: [/^visual_encoder\./, /rotary_emb\.inv_freq$/],
    });
    const adapters = attachAdapters(p, config);
    using _scope = device.scope();
    const run = (collected?: TraceCollector): Tensor => {
      const embedded = gatherRows(p.weight("model.embed_tokens.weight"), tensor(device, ids));
      const positions = tensor(device, Uint32Array.from(ids.keys()));
      const hidden = llama(p.at("model."), embedded, config.llama, {
        batch: 1,
        positions,
        feedForward,
        trace: collected?.trace,
      });
      return linear(hidden, p.weight("lm_head.weight"));
    };
    const collected = new TraceCollector((name) => name.startsWith("hidden"));
    const against = async (name: string, value: Tensor) =>
      await compare(report, files, name, value, tolerance);
    await against("logits", run(collected));
    for (let n = 0; n < config.llama.layers; n++) {
      const name = n + 1 < config.llama.layers ? `hidden.${n + 1}` : "hidden.last";
      const { values } = await files.expected.get(`layer.${n}`);
      report.close(`layer.${n}`, (await collected.values(name))!, values, tolerance);
    }
    await compareModule(p, ids, config, against);
    adapters.activate([]);
    await against("logits_adapter_disabled", run());
    adapters.activate(adapters.names);
    adapters.merge();
    await against("logits_merged", run());
    for (const module of ["q_proj", "v_proj"]) {
      const name = `merged.layer.0.${module}.weight`;
      const { values } = await files.expected.get(name);
      const own = await p.weight(`model.layers.0.self_attn.${module}.weight`).readFloats();
      report.close(name, own, values, tolerance);
    }
    p.dispose();
  }
}

/** The adapted matrices of the first layer, and the factors of one of them. */
async function compareModule(
  p: Parameters,
  ids: Int32Array<ArrayBuffer>,
  { llama: { epsilon } }: MinigptConfig,
  against: (name: string, value: Tensor) => Promise<void>,
): Promise<void> {
  const layer = p.at("model.layers.0.");
  const embedded = gatherRows(p.weight("model.embed_tokens.weight"), tensor(p.device, ids));
  const x = rmsNorm(embedded, layer.tensor("input_layernorm.weight"), epsilon);
  await against("layer.0.q_proj.in", x);
  for (const module of ["q_proj", "v_proj"]) {
    await against(`layer.0.${module}.out`, projection(layer.at("self_attn."), module, x));
  }
  const { a, b } = layer.adaptersOf("self_attn.q_proj.weight")[0]!;
  const first = matmul(x, a, { transposeB: true });
  await against("layer.0.q_proj.lora_A.out", first);
  await against("layer.0.q_proj.lora_B.out", matmul(first, b, { transposeB: true }));
}
