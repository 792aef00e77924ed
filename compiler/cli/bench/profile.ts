/** Where one inference spends its time, kernel by kernel, in cycles and against the engine's peak. */
import { type Backend, createModel } from "../../../runtime/index.ts";
import { type Compiled, type Func, type Module, macsOf } from "../../index.ts";
import { asObject, type Tensors } from "../tensors.ts";
import { cycleReference, peakLoop, REFERENCE_CYCLES } from "./cycles.ts";
import { type Entrant, interleave, quantile, type Sampling } from "./sampling.ts";

export interface KernelTime {
  readonly name: string;
  /** The first op of the fused function the kernel was made from, with its operands' shapes, and what is fused to it. */
  readonly computes: string;
  /** Milliseconds of one call. */
  readonly ms: number;
  readonly macs: number;
  /** Absent for kernels that multiply nothing. */
  readonly macsPerCycle?: number;
}

export interface Profile {
  readonly backend: Backend;
  /** Milliseconds of the exported `run`, without conversion of inputs and outputs. */
  readonly runMs: number;
  /** Estimated: a dependent 64-bit multiply takes 3 cycles on current x86-64 and ARM cores. */
  readonly gigahertz: number;
  /** Of the engine's dot product with operands in registers. */
  readonly peakMacsPerCycle: number;
  /** In the order in which they run. */
  readonly kernels: readonly KernelTime[];
}

type Exports = Readonly<Record<string, unknown>>;

/** What a kernel's function computes, and its multiply-accumulates. */
function describe(func: Func | undefined): { readonly computes: string; readonly macs: number } {
  const root = func?.ops.find((o) => o.name !== "const");
  if (!func || !root) return { computes: "copy", macs: 0 };
  const shape = (v: { type: { shape: readonly number[] } }): string => v.type.shape.join("×");
  const operands = root.operands.map(shape).join(" ");
  const rest = func.ops.filter((o) => o.name !== "const" && o !== root).map((o) => o.name.replace("qc.", ""));
  return {
    computes: `${root.name.replace("qc.", "")} ${operands}${rest.length ? ` + ${rest.join(", ")}` : ""}`,
    macs: macsOf(func),
  };
}

/** The fused function a kernel was made from: kernels take its name, made unique and fit for an identifier. */
function functionOf({ funcs }: Module, kernel: string): Func | undefined {
  const hint = (f: Func): string => f.name.replace(/[^A-Za-z0-9_]+/g, "_").slice(-40);
  return funcs.find((f) => hint(f) === kernel) ?? funcs.find((f) => hint(f) === kernel.replace(/_\d+$/, ""));
}

/** The 20th percentile: what a call takes when nothing disturbs it, steadier than the minimum. */
const low = (samples: readonly number[]): number =>
  quantile(
    [...samples].sort((a, b) => a - b),
    0.2,
  );

/** The kernels' names in the order in which they run. */
const kernelNames = (module: WebAssembly.Module): string[] =>
  WebAssembly.Module.exports(module).flatMap((e) =>
    e.kind === "function" && e.name !== "run" ? [e.name] : [],
  );

/**
 * Calls every kernel by itself, after one whole inference with `inputs`. `compiled` must have been made with `profile: true`.
 * A relaxed profile needs an engine with relaxed SIMD; whether its results are right makes no difference.
 */
export async function profile(
  { manifest, baseline, relaxed, module }: Compiled,
  backend: Backend,
  inputs: Tensors,
  sampling: Sampling,
): Promise<Profile> {
  const compile = (bytes: Uint8Array) => WebAssembly.compile(bytes as BufferSource);
  const base = await compile(baseline);
  const owner = (await WebAssembly.instantiate(base)).exports as Exports;
  const memory = owner.memory as WebAssembly.Memory;
  const active = backend === "relaxed" ? await compile(relaxed!) : base;
  const exports: Exports =
    active === base ? owner : (await WebAssembly.instantiate(active, { env: { memory } })).exports;
  const run = exports.run as () => void;
  createModel(manifest, { memory, run }, { raw: false, backend, backendReason: "profile" }).run(
    asObject(inputs),
  );
  const names = kernelNames(active);
  const peak = peakLoop(backend);
  const entrants: Entrant[] = [
    { name: "reference", run: cycleReference() },
    { name: "peak", run: peak.run },
    { name: "run", run },
    ...names.map((name) => ({ name, run: exports[name] as () => void })),
  ];
  const [referenceMs, peakMs, runMs, ...kernelMs] = (await interleave(entrants, sampling)).map(low);
  const cyclesPerMs = REFERENCE_CYCLES / referenceMs!;
  const kernels = names.map((name, i): KernelTime => {
    const { computes, macs } = describe(functionOf(module, name));
    const ms = kernelMs[i]!;
    return { name, computes, ms, macs, ...(macs > 0 && { macsPerCycle: macs / (ms * cyclesPerMs) }) };
  });
  return {
    backend,
    runMs: runMs!,
    gigahertz: cyclesPerMs / 1e6,
    peakMacsPerCycle: peak.macs / (peakMs! * cyclesPerMs),
    kernels,
  };
}
