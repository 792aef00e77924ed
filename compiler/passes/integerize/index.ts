/**
 * The pass that removes every float: quantizers become exact integer maps of the integers below them. After it only
 * integer ops remain, and all scales live in `qc.requant`.
 */

import { createBuilder } from "../../ir/builder.ts";
import { type Diagnostic, fail, type Loc, ok } from "../../ir/diagnostics.ts";
import { lookupInFloat } from "../../ir/messages-blocks.ts";
import { nothingToAllow, runtimeScale } from "../../ir/messages-float.ts";
import { constantNotFinite, floatOutput, noQuantizer } from "../../ir/messages-quant.ts";
import {
  type Dense,
  definitions,
  type Func,
  type Module,
  type Op,
  type Port,
  uses,
  type Value,
} from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { hasTrait } from "../../ir/ops/index.ts";
import { definePass } from "../../ir/pass.ts";
import { div, fromNumber, mul, neg, type Rational, sign, toNumber } from "../../ir/rational.ts";
import { dce } from "../../ir/rewriter.ts";
import type { QuantType } from "../../ir/types.ts";
import { liftBlocks } from "./blocks.ts";
import { type Context, poison } from "./context.ts";
import { liftShiftedConv } from "./conv-shifted.ts";
import { liftElementwise } from "./elementwise.ts";
import { exactIntegers, joinIntegers, liftExact } from "./integers.ts";
import { liftInterpolate } from "./interpolate.ts";
import { createIslands, type Islands } from "./islands.ts";
import { liftAveragePool, liftConv, liftMaxPool, liftReduce } from "./linear.ts";
import { liftConvTranspose } from "./linear-transposed.ts";
import { boundsOf, materialize } from "./materialize.ts";
import { liftMatmul } from "./matmul.ts";
import { liftMovement } from "./movement.ts";
import { liftNormalize } from "./normalize.ts";
import { withGrid } from "./normalize-grid.ts";
import { isPlain, liftFromInt, liftPlain, liftToInt } from "./plain.ts";
import { liftQuantize } from "./quantize.ts";
import { at, type Linear, type Rep } from "./rep.ts";
import { explained } from "./runtime-scale.ts";
import { liftSoftmax } from "./softmax.ts";
import { liftThreshold } from "./threshold.ts";
import { integerConst, quantizedConst } from "./weights.ts";

export interface IntegerizeOptions {
  /** Also return every quantizer's tensor, as extra results named after the quantizer's output. */
  readonly keepQuantizers?: boolean;
  /** Ops without an integer form run in float32: all of them, or those of nodes and tensors of these names. */
  readonly allowFloat?: boolean | readonly string[];
}

/** Rules by op name; elementwise float ops and data movement are found by trait. */
const rules: { readonly [name: string]: (ctx: Context, op: Op) => Rep } = {
  const: liftConst,
  "quant.quantize": (ctx, op) => liftExact(ctx, op) ?? liftQuantize(ctx, op),
  "quant.threshold": liftThreshold,
  "quant.dequantize": liftDequantize,
  "quant.dequantize_blocks": liftBlocks,
  "float.gather_blocks": liftLookup,
  "float.conv": (ctx, op) => liftShiftedConv(ctx, op) ?? liftConv(ctx, op),
  "float.conv_transpose": liftConvTranspose,
  "float.matmul": liftMatmul,
  "float.interpolate": liftInterpolate,
  "float.average_pool": liftAveragePool,
  "float.max_pool": liftMaxPool,
  "float.reduce_mean": (ctx, op) => liftReduce(withGrid(ctx, op), op, true),
  "float.reduce_sum": (ctx, op) => liftReduce(withGrid(ctx, op), op, false),
  "float.reduce_max": liftExtreme,
  "float.reduce_min": liftExtreme,
  "float.from_int": liftFromInt,
  "float.to_int": liftToInt,
  "float.softmax": liftSoftmax,
  "float.normalize": liftNormalize,
};

/** Which scale an element has is known in the run only: no integer form. */
function liftLookup(ctx: Context, op: Op): Rep {
  ctx.report(lookupInFloat(op));
  return poison(op.results[0]!.type.shape);
}

function lift(context: Context, op: Op): Rep {
  const ctx: Context = { ...context, report: (d) => context.report(explained(context, op, d)) };
  const rule = rules[op.name];
  if (rule) return rule(ctx, op);
  if (isPlain(op)) return liftPlain(ctx, op);
  if (hasTrait(op, "movement"))
    return (op.name === "layout.concat" ? joinIntegers(ctx, op) : undefined) ?? liftMovement(ctx, op);
  if (hasTrait(op, "elementwise")) return liftElementwise(ctx, op);
  const operand = op.operands[0];
  if (operand === undefined || op.operands.some((v) => ctx.rep(v).kind === "poison"))
    return poison(op.results[0]!.type.shape);
  ctx.report(noQuantizer(ctx, op, operand, boundsOf(ctx.rep(operand))));
  return poison(op.results[0]!.type.shape);
}

function liftConst(ctx: Context, op: Op): Rep {
  const { elem, shape } = op.results[0]!.type;
  const dense = attr<Dense>(op, "value");
  if (elem.kind === "float") {
    const bad = dense.data.findIndex((x) => !Number.isFinite(x));
    if (bad >= 0) {
      ctx.report(constantNotFinite(op, bad, dense.data[bad]!));
      return poison(shape);
    }
    return {
      kind: "constant",
      shape,
      at: (i) => fromNumber(dense.data[i]!),
      ...(op.loc ? { loc: op.loc } : {}),
    };
  }
  if (elem.kind === "int")
    return {
      kind: "integer",
      shape,
      value: ctx.emit("const", [], op.attrs, { type: op.results[0]!.type, hint: op.results[0]!.name }),
    };
  return quantizedConst(dense, elem, shape);
}

/** The ends of a tensor's range are there to make a scale of. */
function liftExtreme(ctx: Context, op: Op): Rep {
  const operand = op.operands[0]!;
  if (ctx.rep(operand).kind !== "poison") ctx.report(runtimeScale(op, operand.name));
  return poison(op.results[0]!.type.shape);
}

/** Real value of a quantizer's integers: S·(q − z). */
function liftDequantize(ctx: Context, op: Op): Rep {
  const operand = op.operands[0]!;
  const rep = ctx.rep(operand);
  const shape = op.results[0]!.type.shape;
  if (rep.kind === "poison" || rep.kind === "constant") return rep;
  // Integers that no quantizer has made, see `liftExact`.
  if (rep.kind === "linear" || rep.kind === "joined") return rep;
  if (rep.kind !== "integer") throw new Error("dequantize of something that is not an integer tensor");
  const scheme = (operand.type.elem as QuantType).scheme;
  const scales = (scheme.kind === "tensor" ? [scheme.scale] : scheme.scales).map(fromNumber);
  const zeros = (scheme.kind === "tensor" ? [scheme.zeroPoint] : scheme.zeroPoints).map(fromNumber);
  return {
    kind: "linear",
    shape,
    terms: [{ value: rep.value, scale: scales }],
    offset: scales.map((s, c) => neg(mul(s, zeros[c]!))),
    axis: scheme.kind === "axis" ? shape.length - scheme.axis : 1,
    ...(op.loc ? { loc: op.loc } : {}),
  };
}

/** Scale and zero point of the conversion at a float output; the zero point may be fractional (a bias). */
function boundaryOf(r: Linear): { axis: number; scales: number[]; zeroPoints: number[] } {
  const scale = r.terms[0]!.scale;
  const n = Math.max(scale.length, r.offset.length);
  const zero = (c: number): Rational => neg(div(at(r.offset, c), at(scale, c)));
  return {
    axis: r.shape.length - r.axis,
    scales: Array.from({ length: n }, (_, c) => toNumber(at(scale, c))),
    zeroPoints: Array.from({ length: n }, (_, c) => toNumber(zero(c))),
  };
}

/** Ops that make the integers of a quantized type. */
const QUANTIZERS: ReadonlySet<string> = new Set(["quant.quantize", "quant.threshold"]);

/** Whether a finding at a place has been made before: several ops of one node may have one thing to say. */
function repeated(): (d: Diagnostic) => boolean {
  const said = new Map<Loc | undefined, Set<string>>();
  return ({ code, message, loc }) => {
    const known = said.get(loc) ?? new Set<string>();
    said.set(loc, known);
    const text = `${code} ${message}`;
    const before = known.has(text);
    known.add(text);
    return before;
  };
}

function integerizeFunc(func: Func, options: IntegerizeOptions): { func: Func; diagnostics: Diagnostic[] } {
  const b = createBuilder(func.name);
  const reps = new Map<Value, Rep>();
  const diagnostics: Diagnostic[] = [];
  const defs = definitions(func);
  const users = uses(func);
  const isRepeated = repeated();
  const ctx: Context = {
    source: func,
    emit: (name, operands, attrs, { type, hint = "", loc } = {}) =>
      b.add1(name, operands, attrs, { names: [hint], loc, ...(type ? { types: [type] } : {}) }),
    param: (port) => b.addParam(port),
    rep: (v) => {
      const r = reps.get(v);
      if (r === undefined) throw new Error(`no representation for ${v.name}`);
      return r;
    },
    report: (d) => {
      if (!isRepeated(d)) diagnostics.push(d);
    },
    definition: (v) => defs.get(v),
    users: (v) => users.get(v) ?? [],
  };
  for (const p of func.params) reps.set(p.value, paramRep(ctx, p));
  const { allowFloat = false } = options;
  const islands = allowFloat === false ? undefined : createIslands(ctx, allowedOps(allowFloat));
  if (typeof allowFloat === "object") diagnostics.push(...unknownNames(func, allowFloat));
  const kept: Port[] = [];
  for (const op of func.ops) {
    const result = op.results[0]!;
    const rep = islands ? islands.lift(op, (trial) => lift(trial, op)) : lift(ctx, op);
    reps.set(result, rep);
    // Quantizers without a name are steps of an operator's arithmetic.
    const asked = options.keepQuantizers && QUANTIZERS.has(op.name) && result.name !== "";
    if (asked && rep.kind === "integer")
      kept.push({
        value: rep.value,
        name: result.name,
        dtype: dtypeOf(result.type.elem as QuantType),
        boundary: { kind: "none" },
      });
  }
  for (const port of func.results) {
    const result = resultPort(ctx, port, islands);
    if (result) b.addResult(result);
  }
  diagnostics.push(...(islands?.findings() ?? []));
  const names = new Set(func.results.map((r) => r.name));
  for (const port of kept) {
    const shown = func.results.find((r) => r.name === port.name);
    // A graph output whose real numbers come straight from a quantizer of the same name keeps its integers apart.
    if (shown === undefined) b.addResult(port);
    else if (ctx.rep(shown.value).kind !== "integer" && !names.has(integersOf(port.name)))
      b.addResult({ ...port, name: integersOf(port.name) });
  }
  return { func: dce(b.build()), diagnostics };
}

const integersOf = (name: string): string => `${name}/integers`;

const dtypeOf = ({ storage }: QuantType): string =>
  `${storage.signed ? "int" : "uint"}${storage.bits <= 8 ? 8 : storage.bits <= 16 ? 16 : 32}`;

function paramRep(ctx: Context, p: Port): Rep {
  const { shape, elem } = p.value.type;
  if (elem.kind === "float") return { kind: "input", shape, port: p, moves: [] };
  const type = elem.kind === "quant" ? elem.storage : elem;
  const v: Value = { name: p.value.name, type: { shape, elem: type } };
  ctx.param({ ...p, value: v });
  return { kind: "integer", shape, value: v };
}

/** Names that an op answers to: its node's, and its tensor's. */
const namesOf = (op: Op): readonly string[] => [
  ...(op.loc?.kind === "node" ? [op.loc.name, op.loc.output] : []),
  ...op.results.map((v) => v.name),
];

function allowedOps(allowFloat: true | readonly string[]): (op: Op) => boolean {
  if (allowFloat === true) return () => true;
  const names = new Set(allowFloat);
  return (op) => namesOf(op).some((n) => names.has(n));
}

function unknownNames(func: Func, names: readonly string[]): Diagnostic[] {
  const known = new Set(func.ops.flatMap(namesOf));
  return names.filter((n) => !known.has(n)).map(nothingToAllow);
}

function resultPort(ctx: Context, port: Port, islands: Islands | undefined): Port | undefined {
  const rep = ctx.rep(port.value);
  if (rep.kind === "poison") return undefined;
  if (rep.kind === "integer") return { ...port, value: rep.value, boundary: { kind: "none" } };
  if (rep.kind === "linear" && port.value.type.elem.kind === "quant")
    return { ...port, value: exactIntegers(ctx, port, rep), boundary: { kind: "none" } };
  if (rep.kind === "constant" && rep.grid) {
    const value = integerConst(ctx, rep.grid.q, rep.shape, port.name);
    const scales = rep.grid.scale.map(toNumber);
    return {
      ...port,
      value,
      boundary: { kind: "dequantize", axis: rep.grid.axis, scales, zeroPoints: scales.map(() => 0) },
    };
  }
  const op = ctx.definition(port.value);
  const r =
    rep.kind === "linear" && op ? materialize({ ...ctx, report: () => {} }, op, rep, port.value) : undefined;
  if (r === undefined || r.terms.length !== 1 || r.terms[0]!.scale.some((s) => sign(s) === 0)) {
    const value = islands?.real(port.value);
    if (value) return { ...port, value, boundary: { kind: "none" } };
    ctx.report(floatOutput(ctx, port.name, port.value));
    return undefined;
  }
  return { ...port, value: r.terms[0]!.value, boundary: { kind: "dequantize", ...boundaryOf(r) } };
}

export const integerize = definePass({
  name: "integerize",
  summary: "Turn quantized float arithmetic into exact integer arithmetic; scales move into qc.requant.",
  ensures: ["lifted"],
  options: {
    keepQuantizers: {
      doc: "also return every quantizer's tensor, named after the quantizer's output",
      default: false,
    },
    allowFloat: {
      doc: "let ops without an integer form run in float32: true, or a list of node and tensor names",
      default: false,
    },
  },
  run: (module, { options }) => integerizeModule(module, options as IntegerizeOptions),
});

export function integerizeModule(module: Module, options: IntegerizeOptions = {}) {
  const done = module.funcs.map((f) => integerizeFunc(f, options));
  const diagnostics = done.flatMap((d) => d.diagnostics);
  return diagnostics.some((d) => d.severity === "error")
    ? fail(...diagnostics)
    : ok<Module>({ funcs: done.map((d) => d.func) }, diagnostics);
}
