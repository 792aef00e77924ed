/**
 * Where one inference spends its time, kernel by kernel: `npx node bench/kernels.ts [--relaxed] [--quick] [model …]`.
 * Cycles are estimated from a chain of dependent 64-bit multiplies (3 cycles each on current x86-64 and ARM cores), timed in turn
 * with the kernels. `--relaxed` runs the relaxed kernels even where their results would be wrong.
 */
import { parseArgs } from "node:util";
import { compileModel } from "../compiler/compile.ts";
import { macsOf } from "../compiler/ir/macs.ts";
import type { Func, Module } from "../compiler/ir/module.ts";
import { sources } from "./cases.ts";
import { cycleReference, REFERENCE_CYCLES } from "./cycles.ts";
import { table } from "./report.ts";
import { type Entrant, interleave, quantile } from "./sampling.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { relaxed: { type: "boolean", default: false }, quick: { type: "boolean", default: false } },
});
const SAMPLING = values.quick ? { rounds: 21, sampleMs: 0.5 } : { rounds: 61, sampleMs: 1 };

type Kernels = { readonly [name: string]: unknown };

/** Instantiates the module under test. */
function kernelsOf(baseline: Uint8Array, relaxed: Uint8Array | undefined): Kernels {
  const module = (bytes: Uint8Array) => new WebAssembly.Module(bytes as BufferSource);
  const base = new WebAssembly.Instance(module(baseline)).exports;
  if (!relaxed) return base;
  return new WebAssembly.Instance(module(relaxed), { env: { memory: base.memory as WebAssembly.Memory } })
    .exports;
}

/** What a kernel's function computes: its first op, the shapes, and its multiply-accumulates. */
function describe(func: Func | undefined): { what: string; macs: number } {
  const root = func?.ops.find((o) => o.name !== "const");
  if (!func || !root) return { what: "copy", macs: 0 };
  const shape = (v: { type: { shape: readonly number[] } }): string => v.type.shape.join("×");
  const operands = root.operands.map(shape).join(" ");
  const rest = func.ops.filter((o) => o.name !== "const" && o !== root).map((o) => o.name.replace("qc.", ""));
  return {
    what: `${root.name.replace("qc.", "")} ${operands}${rest.length ? ` + ${rest.join(", ")}` : ""}`,
    macs: macsOf(func),
  };
}

/** The fused function a kernel was made from: kernels take its name, made unique and fit for an identifier. */
function functionOf({ funcs }: Module, kernel: string): Func | undefined {
  const hint = (f: Func): string => f.name.replace(/[^A-Za-z0-9_]+/g, "_").slice(-40);
  return funcs.find((f) => hint(f) === kernel) ?? funcs.find((f) => hint(f) === kernel.replace(/_\d+$/, ""));
}

const low = (samples: readonly number[]): number =>
  quantile(
    [...samples].sort((a, b) => a - b),
    0.2,
  );

for (const source of sources(positionals)) {
  const compiled = await compileModel(source.onnx, { target: "wasm", profile: true });
  if (!compiled.ok) throw new Error(compiled.diagnostics.map((d) => d.message).join("\n"));
  const { baseline, relaxed, module } = compiled.value;
  const exports = kernelsOf(baseline, values.relaxed ? relaxed : undefined);
  const names = Object.keys(exports).filter((n) => n !== "run" && typeof exports[n] === "function");
  const reference = cycleReference();
  const entrants: Entrant[] = ["run", ...names].map((name) => ({ name, run: exports[name] as () => void }));
  const samples = await interleave([...entrants, { name: "reference", run: reference }], SAMPLING);
  const cyclesPerMs = REFERENCE_CYCLES / low(samples.at(-1)!);
  const ms = samples.map(low);
  const total = ms.slice(1, -1).reduce((a, b) => a + b, 0);
  const rows = names.map((name, i) => {
    const { what, macs } = describe(functionOf(module, name));
    const time = ms[i + 1]!;
    return {
      time,
      cells: [
        name.slice(-34),
        (time * 1000).toFixed(1),
        `${((100 * time) / total).toFixed(1)} %`,
        macs ? (macs / 1e6).toFixed(3) : "",
        macs ? (macs / (time * cyclesPerMs)).toFixed(2) : "",
        what,
      ],
    };
  });
  const macs = compiled.value.manifest.macs.executed;
  console.log(
    `\n${source.name}, ${values.relaxed ? "relaxed" : "baseline"}: run ${(ms[0]! * 1000).toFixed(0)} µs, sum of kernels ` +
      `${(total * 1000).toFixed(0)} µs, ${(cyclesPerMs / 1e6).toFixed(2)} GHz, ` +
      `${(macs / (ms[0]! * cyclesPerMs)).toFixed(2)} executed MAC/cycle`,
  );
  rows.sort((a, b) => b.time - a.time);
  console.log(
    table(
      ["kernel", "µs", "share", "M MAC", "MAC/cycle", "computes"],
      rows.map((r) => r.cells),
    ),
  );
}
