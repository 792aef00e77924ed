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
  readonly litert?: (build: LiteRtBuild, input: ReturnType<typeof typedFor>) => Promise<LiteRtEntrant>;
  /** The float model behind the contest's. */
  readonly float?: { readonly onnx: Uint8Array; readonly input: ArrayLike<number> };
  /** onnxruntime outside the engine on the first peer's model, at the first of the levels it accepts. */
  readonly native?: (level: Level) => Promise<() => Promise<unknown>>;
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

/** An engine or model that no target is set against. */
export interface Aside extends Spread {
  readonly level: Level;
  /** Of neighbouring samples: its time over that of the chosen backend. */
  readonly ratio: Spread;
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
  /** onnxruntime-web with the float model. */
  readonly float?: Aside;
  /** onnxruntime-node. */
  readonly native?: Aside;
  readonly memoryBytes: number;
}

const LEVELS: readonly Level[] = ["all", "extended", "basic", "disabled"];

/** What `open` gives at the first optimization level it accepts, from the best on. Throws an Error if there is none. */
async function atBestLevel<T>(
  open: (level: Level) => Promise<T>,
  levels: readonly Level[] = LEVELS,
): Promise<{ readonly made: T; readonly level: Level; readonly refused: readonly string[] }> {
  const refused: string[] = [];
  for (const level of levels) {
    try {
      return { made: await open(level), level, refused };
    } catch (error) {
      refused.push(`${level}: ${error instanceof Error ? error.message : error}`);
    }
  }
  throw new Error(`onnxruntime refuses the model: ${refused.join("; ")}`);
}

/** A session of onnxruntime-web, one thread. Throws an Error if it accepts the model at none of the levels. */
export async function openSession(ort: Ort, model: Uint8Array, levels: readonly Level[] = LEVELS) {
  const open = (graphOptimizationLevel: Level) =>
    ort.InferenceSession.create(model, {
      executionProviders: ["wasm"],
      graphOptimizationLevel,
      logSeverityLevel: 3,
    });
  const { made, level, refused } = await atBestLevel(open, levels);
  return { session: made, level, refused };
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

export async function race(ort: Ort, contest: Contest): Promise<RaceResult> {
  const { load, input, peers, litert, sampling } = contest;
  ort.env.wasm.numThreads = 1;
  const chosen = await load({});
  const relaxed = chosen.backend === "relaxed";
  const baseline = relaxed ? await load({ backend: "baseline" }) : chosen;
  const [name, info] = Object.entries(chosen.inputs)[0]!;
  const [outputName, outputInfo] = Object.entries(chosen.outputs)[0]!;
  const own = typedFor(info.dtype, input);
  const expected = chosen.run({ [name]: own })[outputName] as Numbers;

  const entrants: Entrant[] = [];
  /** Takes the entrant's place in the rounds: its samples, once there are some. */
  const enter = (label: string, run: () => unknown): (() => readonly number[]) => {
    const index = entrants.push({ name: label, run }) - 1;
    return () => samples[index]!;
  };
  const chosenSamples = enter("chosen", () => chosen.run({ [name]: own }));
  const baselineSamples = relaxed ? enter("baseline", () => baseline.run({ [name]: own })) : chosenSamples;

  const opened: (() => PeerResult & { readonly samples: readonly number[] })[] = [];
  for (const peer of peers) {
    const { session, level, refused } = await openSession(ort, peer.onnx);
    const moved = peer !== peers[0];
    const dtype = moved && info.dtype === "int8" ? "uint8" : info.dtype;
    const tensor = new ort.Tensor(dtype as never, typedFor(dtype, peer.input) as never, info.shape);
    const out = (await session.run({ [name]: tensor }))[outputName]!.data;
    const shift = moved && outputInfo.dtype === "int8" ? 128 : 0;
    const difference = greatestDifference(
      Array.from(out, (x) => Number(x) - shift),
      expected,
    );
    const of = enter(peer.label, () => session.run({ [name]: tensor }));
    opened.push(() => ({ label: peer.label, level, refused, difference, ...spreadOf(of()), samples: of() }));
  }
  const lites: (() => LiteRtResult)[] = [];
  for (const build of litert ? (["default", "compat"] as const) : []) {
    const { run } = await litert!(build, own);
    const difference = greatestDifference(await run(), expected);
    const of = enter(`LiteRT.js ${build}`, run);
    lites.push(() => {
      const ratio = ratioOf(of(), build === "compat" ? baselineSamples() : chosenSamples());
      return { build, difference, ratio, ...spreadOf(of()) };
    });
  }
  const aside = (run: () => unknown, level: Level, label: string): (() => Aside) => {
    const of = enter(label, run);
    return () => ({ level, ratio: ratioOf(of(), chosenSamples()), ...spreadOf(of()) });
  };
  let float: (() => Aside) | undefined;
  if (contest.float) {
    const { session, level } = await openSession(ort, contest.float.onnx);
    const data = Float32Array.from(contest.float.input);
    const tensor = new ort.Tensor("float32" as never, data as never, info.shape);
    float = aside(() => session.run({ [name]: tensor }), level, "float");
  }
  let native: (() => Aside) | undefined;
  if (contest.native) {
    const { made, level } = await atBestLevel(contest.native);
    native = aside(made, level, "native");
  }

  const samples = await interleave(entrants, sampling);
  const timed = opened.map((result) => result());
  const best = timed.reduce((b, r, i) => (r.median < timed[b]!.median ? i : b), 0);
  return {
    backend: chosen.backend,
    backendReason: chosen.backendReason,
    chosen: spreadOf(chosenSamples()),
    baseline: spreadOf(baselineSamples()),
    ...(relaxed && { relaxed: spreadOf(chosenSamples()) }),
    peers: timed.map(({ samples: _, ...result }) => result),
    best,
    ratio: ratioOf(timed[best]!.samples, chosenSamples()),
    ...(lites.length > 0 && { litert: lites.map((result) => result()) }),
    ...(float && { float: float() }),
    ...(native && { native: native() }),
    memoryBytes: chosen.memoryBytes,
  };
}
