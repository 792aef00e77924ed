/** One model, all engines, in one process or page. Nothing here knows Node. */

import {
  type Entrant,
  interleave,
  ratioOf,
  type Sampling,
  type Spread,
  spreadOf,
} from "../compiler/cli/bench/sampling.ts";
import type { Model } from "../runtime/instance.ts";
import type { LoadOptions } from "../runtime/load.ts";
import type { LiteRtBuild, LiteRtEntrant } from "./litert.ts";

/** The part of onnxruntime-web that is used. */
export interface Ort {
  readonly env: { readonly wasm: { numThreads?: number; wasmPaths?: { wasm: string } }; logLevel?: string };
  readonly Tensor: new (type: never, data: never, dims: readonly number[]) => unknown;
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options: { executionProviders: string[]; graphOptimizationLevel: Level; logSeverityLevel: 3 },
    ): Promise<OrtSession>;
  };
}
export type Level = "all" | "extended" | "basic" | "disabled";
interface OrtSession {
  run(feeds: { readonly [name: string]: unknown }): Promise<{ readonly [name: string]: { data: Numbers } }>;
}
type Numbers = ArrayLike<number>;

export interface PeerModel {
  readonly label: string;
  readonly onnx: Uint8Array;
  readonly input: ArrayLike<number>;
}

export interface Contest {
  readonly load: (options: LoadOptions) => Promise<Model>;
  readonly input: ArrayLike<number>;
  readonly peers: readonly PeerModel[];
  /** LiteRT.js on the given input, where it takes part. */
  readonly litert?: (input: ReturnType<typeof typedFor>) => Promise<readonly LiteRtEntrant[]>;
  readonly sampling: Sampling;
}

export interface PeerResult extends Spread {
  readonly label: string;
  readonly level: Level;
  /** Why better optimization levels were not used. */
  readonly refused: readonly string[];
  /** Greatest difference to qc's outputs, in the outputs' own units. */
  readonly difference: number;
}

export interface LiteRtResult extends Spread {
  readonly build: LiteRtBuild;
  /** Of neighbouring samples: its time over that of the chosen backend, for the compat build over that of the baseline. */
  readonly ratio: Spread;
  /** Greatest difference to qc's outputs; TFLite rounds otherwise than ONNX. */
  readonly difference: number;
}

export interface RaceResult {
  /** The backend `load` chooses here, and why. */
  readonly backend: "baseline" | "relaxed";
  readonly backendReason: string;
  readonly chosen: Spread;
  readonly baseline: Spread;
  /** Only where the engine's relaxed dot is exact for this model. */
  readonly relaxed?: Spread;
  readonly peers: readonly PeerResult[];
  /** Index of the peer with the least median. */
  readonly best: number;
  /** Of neighbouring samples: that peer's time over that of the chosen backend. */
  readonly ratio: Spread;
  readonly litert?: readonly LiteRtResult[];
  readonly memoryBytes: number;
}

const LEVELS: readonly Level[] = ["all", "extended", "basic", "disabled"];

/** A session at the best optimization level the engine accepts for the model. */
async function openSession(
  ort: Ort,
  model: Uint8Array,
): Promise<{ session: OrtSession; level: Level; refused: string[] }> {
  const refused: string[] = [];
  for (const level of LEVELS) {
    try {
      const session = await ort.InferenceSession.create(model, {
        executionProviders: ["wasm"],
        graphOptimizationLevel: level,
        logSeverityLevel: 3,
      });
      return { session, level, refused };
    } catch (error) {
      refused.push(`${level}: ${error instanceof Error ? error.message : error}`);
    }
  }
  throw new Error(`onnxruntime-web refuses the model: ${refused.join("; ")}`);
}

/** `data` as the typed array of an ONNX element type. */
export function typedFor(dtype: string, data: ArrayLike<number>): Float32Array | Int8Array | Uint8Array {
  if (dtype === "int8") return Int8Array.from(data);
  if (dtype === "uint8") return Uint8Array.from(data);
  return Float32Array.from(data);
}

function greatestDifference(a: Numbers, b: Numbers): number {
  if (a.length !== b.length) throw new Error(`outputs of ${a.length} and ${b.length} elements`);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(Number(a[i]) - Number(b[i])));
  return most;
}

export async function race(ort: Ort, { load, input, peers, litert, sampling }: Contest): Promise<RaceResult> {
  ort.env.wasm.numThreads = 1;
  const chosen = await load({});
  const baseline = await load({ backend: "baseline" });
  const relaxed = chosen.backend === "relaxed" ? chosen : undefined;
  const [name, info] = Object.entries(chosen.inputs)[0]!;
  const [outputName, outputInfo] = Object.entries(chosen.outputs)[0]!;
  const data = { [name]: typedFor(info.dtype, input) };
  const expected = chosen.run(data)[outputName] as Numbers;
  const entrants: Entrant[] = [
    { name: "chosen", run: () => chosen.run(data) },
    { name: "baseline", run: () => baseline.run(data) },
  ];
  const opened: { peer: PeerModel; level: Level; refused: readonly string[]; difference: number }[] = [];
  for (const peer of peers) {
    const { session, level, refused } = await openSession(ort, peer.onnx);
    const moved = peer !== peers[0] && info.dtype === "int8";
    const dtype = moved ? "uint8" : info.dtype;
    const feeds = {
      [name]: new ort.Tensor(dtype as never, typedFor(dtype, peer.input) as never, info.shape),
    };
    const out = (await session.run(feeds))[outputName]!.data;
    const shift = peer !== peers[0] && outputInfo.dtype === "int8" ? 128 : 0;
    opened.push({
      peer,
      level,
      refused,
      difference: greatestDifference(
        Array.from(out, (x) => Number(x) - shift),
        expected,
      ),
    });
    entrants.push({ name: peer.label, run: () => session.run(feeds) });
  }
  const lites = (await litert?.(typedFor(info.dtype, input))) ?? [];
  const liteDifferences: number[] = [];
  for (const { build, run } of lites) {
    liteDifferences.push(greatestDifference(await run(), expected));
    entrants.push({ name: `LiteRT.js ${build}`, run });
  }
  const samples = await interleave(entrants, sampling);
  const results = opened.map(({ peer, level, refused, difference }, i): PeerResult => {
    return { label: peer.label, level, refused, difference, ...spreadOf(samples[i + 2]!) };
  });
  const liteResults = lites.map(({ build }, i): LiteRtResult => {
    const own = samples[2 + opened.length + i]!;
    const ours = samples[build === "compat" ? 1 : 0]!;
    return { build, difference: liteDifferences[i]!, ratio: ratioOf(own, ours), ...spreadOf(own) };
  });
  const best = results.reduce((b, r, i) => (r.median < results[b]!.median ? i : b), 0);
  return {
    backend: chosen.backend,
    backendReason: chosen.backendReason,
    chosen: spreadOf(samples[0]!),
    baseline: spreadOf(samples[1]!),
    ...(relaxed && { relaxed: spreadOf(samples[0]!) }),
    peers: results,
    best,
    ratio: ratioOf(samples[best + 2]!, samples[0]!),
    ...(litert && { litert: liteResults }),
    memoryBytes: chosen.memoryBytes,
  };
}
