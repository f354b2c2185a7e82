/**
 * Runs rows of the kernel benchmark: checks every contender's numbers, then times all of them in turns.
 *
 * @module
 */
import type { Device } from "../core/device/mod.ts";
import {
  type Contender,
  interleave,
  type MeasureOptions,
  pairedRatio,
  type Timing,
} from "./measure.ts";
import { openPeer, type Peer, type Provider } from "./peer.ts";
import { checksum, type KernelRow, largestError, type PreparedRow } from "./row.ts";

/** One contender in one row. */
export interface Measured extends Timing {
  /** GFLOPS or GB/s at the median. */
  readonly rate: number;
  /** Largest difference from double precision, over the root mean square of the output. */
  readonly error: number;
  /** What computed it. */
  readonly note: string;
}

/** A contender that could not run. */
export interface Failed {
  readonly failure: string;
}

/** One row of results. */
export interface KernelResult {
  readonly name: string;
  readonly unit: "GFLOPS" | "GB/s";
  readonly ours: Measured;
  readonly webgpu: Measured | Failed;
  readonly wasm: Measured | Failed;
  /** How many times as fast ours is: median over the rounds, and by the best turns. */
  readonly ratios: Readonly<Record<Provider, { readonly median: number; readonly best: number }>>;
}

const providers: readonly Provider[] = ["webgpu", "wasm"];

/** A check that failed: the numbers of a contender are wrong, so its time means nothing. */
export class WrongResult extends Error {
  override readonly name = "WrongResult";
}

async function oursOnce(device: Device, row: PreparedRow): Promise<Float32Array> {
  using scope = device.scope();
  const output = scope.keep(row.ours());
  try {
    return await output.readFloats();
  } finally {
    output.dispose();
  }
}

function checked(name: string, who: string, error: number, tolerance: number): number {
  if (!(error <= tolerance)) {
    throw new WrongResult(
      `Cannot time ${who} on ${name}: the result is off by ${error} times its root mean square, at most ${tolerance} is allowed`,
    );
  }
  return error;
}

/**
 * Checks and times one row. Peers that refuse the row or get it wrong are reported, not timed.
 *
 * @throws {WrongResult} when our result is not what double precision gives.
 * @throws {DeviceError} when our work was invalid: an invalid device refuses to finish.
 */
export async function runRow(
  device: Device,
  row: KernelRow,
  options: MeasureOptions,
): Promise<KernelResult> {
  using prepared = row.prepare(device);
  const first = await oursOnce(device, prepared);
  const error = checked(row.name, "our kernel", largestError(prepared, first), prepared.tolerance);
  const opened: Peer[] = [];
  const peers = new Map<Provider, { peer: Peer; error: number } | Failed>();
  for (const provider of providers) {
    try {
      const peer = await openPeer(provider, prepared.peers[provider]);
      opened.push(peer);
      const off = largestError(prepared, await peer.output());
      const error = checked(row.name, provider, off, prepared.peerTolerance);
      peers.set(provider, { peer, error });
    } catch (cause) {
      peers.set(provider, { failure: cause instanceof Error ? cause.message : String(cause) });
    }
  }

  const ours: Contender = {
    async run(times) {
      for (let i = 0; i < times; i++) {
        using _outputs = device.scope();
        prepared.ours();
      }
      await device.finish();
    },
  };
  const running = providers.filter((provider) => "peer" in peers.get(provider)!);
  const contenders = running.map((provider) => (peers.get(provider) as { peer: Peer }).peer);
  const timings = await interleave([ours, ...contenders], options);

  const again = checksum(await oursOnce(device, prepared));
  checked(row.name, "our kernel", Math.abs(again / checksum(first) - 1), 1e-6);
  for (const peer of opened) await peer.close();

  const work = (row.flops ?? row.bytes ?? 0) / 1e6;
  const measured = (timing: Timing, error: number, note: string): Measured => ({
    ...timing,
    rate: work / timing.median,
    error,
    note,
  });
  const result = (provider: Provider): Measured | Failed => {
    const found = peers.get(provider)!;
    if ("failure" in found) return found;
    const timing = timings[1 + running.indexOf(provider)]!;
    return measured(timing, found.error, prepared.peers[provider].note);
  };
  const own = measured(timings[0]!, error, "ours");
  const [webgpu, wasm] = [result("webgpu"), result("wasm")];
  const ratio = (peer: Measured | Failed) => ({
    median: "failure" in peer ? NaN : pairedRatio(peer, own),
    best: "failure" in peer ? NaN : peer.best / own.best,
  });
  return {
    name: row.name,
    unit: row.flops === undefined ? "GB/s" : "GFLOPS",
    ours: own,
    webgpu,
    wasm,
    ratios: { webgpu: ratio(webgpu), wasm: ratio(wasm) },
  };
}
