/** Relaxed programs run as each kind of engine runs them, and the independent check of every certificate. */
import type { Compiled } from "../../compiler/index.ts";
import { interpret } from "../../compiler/ir/interpreter.ts";
import { runProgram } from "../../compiler/ir/kernel/interpreter.ts";
import type { EngineDot } from "../../compiler/ir/kernel/semantics.ts";
import type { Module, Op, Port } from "../../compiler/ir/module.ts";
import { proofOf, rescaleOf } from "../../compiler/ir/ops/integer-rescale.ts";
import { runPipeline } from "../../compiler/ir/pass.ts";
import type { Exactness } from "../../compiler/passes/lower/dot-proof.ts";
import type { LoweredProgram } from "../../compiler/passes/lower/index.ts";
import type { Layout } from "../../compiler/passes/lower/layout.ts";
import { provingPasses, signedPasses } from "../../compiler/pipeline.ts";
import { checkRescale } from "../oracle/rescale-checker.ts";
import { argumentsOf, type Tensors } from "./exact.ts";

export const DOTS: readonly EngineDot[] = ["u8s8", "s8s8", "s8s8-wrap", "pairs16"];

export const isExact = (on: Exactness, dot: EngineDot): boolean =>
  on === "any" || (on as readonly string[]).includes(dot.replace("-wrap", ""));

export const unwrap = <T>(r: { readonly ok: boolean; readonly value?: T }): T => {
  if (!r.ok) throw new Error(JSON.stringify(r));
  return r.value as T;
};

const provedOf = (artifact: Compiled): Module => unwrap(runPipeline(artifact.exact, provingPasses()));
/** The graph for signed bytes. */
export const signedOf = (artifact: Compiled): Module => unwrap(runPipeline(provedOf(artifact), signedPasses));

/** By how much a port's integers exceed those of the same port of the other graph. */
const biasOf = ({ boundary: a }: Port, { boundary: b }: Port): number =>
  a.kind === "dequantize" && b.kind === "dequantize" ? a.zeroPoints[0]! - b.zeroPoints[0]! : 0;

/** The integers of all results as the graph for unsigned bytes has them. */
export function integersOf(module: Module, inputs: Tensors, base = module): Map<string, Int32Array> {
  const results = interpret(module, argumentsOf(module, inputs));
  return new Map(
    module.funcs[0]!.results.map((port, i) => {
      const bias = biasOf(port, base.funcs[0]!.results[i]!);
      return [port.name, Int32Array.from(results[i]!.dense.data, (q: number) => q - bias)];
    }),
  );
}

const ACCESS = {
  u8: "Uint8",
  i8: "Int8",
  u16: "Uint16",
  i16: "Int16",
  i32: "Int32",
  f32: "Float32",
} as const;

/** The same from a program, run as an engine does. */
export function outputsOf(
  { program, inputs: ports, outputs }: LoweredProgram,
  module: Module,
  inputs: Tensors,
  dot: EngineDot | undefined,
  base = module,
): Map<string, Int32Array> {
  const memory = runProgram({ ...program, kernels: [] });
  const element = ({ buffer, container, offset }: Layout) => {
    const bytes = memory.get(buffer)!;
    const size = Number(container.slice(1)) / 8;
    const view = new DataView(bytes.buffer, bytes.byteOffset + offset);
    return {
      get: (i: number) => view[`get${ACCESS[container]}`](i * size, true),
      set: (i: number, v: number) => view[`set${ACCESS[container]}`](i * size, v, true),
    };
  };
  const args = argumentsOf(module, inputs);
  for (const { port, layout } of ports)
    Array.from(args.get(port)!.data).forEach((v, i) => {
      element(layout).set(i, v);
    });
  runProgram(program, memory, { dot });
  return new Map(
    outputs.map(({ port, layout }, i) => {
      const bias = biasOf(port, base.funcs[0]!.results[i]!);
      const count = layout.shape.reduce((n, d) => n * d, 1);
      return [port.name, Int32Array.from({ length: count }, (_, e) => element(layout).get(e) - bias)];
    }),
  );
}

/** What the independent checker says of every rescale of a module of at most `steps` steps. */
export function findings(module: Module, steps = Number.POSITIVE_INFINITY): unknown[] {
  const few = (o: Op) => rescaleOf(o.attrs).hi - rescaleOf(o.attrs).lo <= steps;
  const rescales = module.funcs.flatMap((f) => f.ops.filter((o) => o.name === "qc.rescale" && few(o)));
  const fraction = ({ num, den }: { num: bigint; den: bigint }) => ({ num, den });
  return rescales.flatMap((op) => {
    const r = rescaleOf(op.attrs);
    const proof = proofOf(op.attrs)!;
    const specs = proof.scales.map((scales, c) => ({
      scales: scales.map(fraction),
      offset: fraction(proof.offsets[c]!),
      zeroPoint: fraction(proof.zero_point),
      lo: r.lo,
      hi: r.hi,
      rounding: proof.rounding,
      order: proof.order,
    }));
    const form = { ...r, c: r.c.map(String), cUp: r.cUp.map(String), ranges: proof.ranges };
    const wrong = checkRescale(specs, form);
    return wrong ? [{ tensor: op.results[0]!.name, ...wrong }] : [];
  });
}
