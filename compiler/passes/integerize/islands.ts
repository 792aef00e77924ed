/**
 * Float islands: ops without an integer form stay float ops, on float32 tensors. Integers reach them through `float.from_int`
 * and leave through `float.to_int`; constants and graph inputs are float32 themselves.
 */
import type { Diagnostic } from "../../ir/diagnostics.ts";
import { floatIsland } from "../../ir/messages-float.ts";
import type { Dense, Op, Port, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { hasTrait } from "../../ir/ops/index.ts";
import { div, isInteger, neg, type Rational, sign, toNumber, ZERO } from "../../ir/rational.ts";
import { F32, type QuantType, sizeOf, tensor } from "../../ir/types.ts";
import { blockedFactor, gatherBlocks } from "./blocks-packed.ts";
import type { Context } from "./context.ts";
import { gatherNeighbours } from "./interpolate.ts";
import { spreadConv } from "./islands-transposed.ts";
import { broadcast } from "./linear.ts";
import { integersOf, isPlain } from "./plain.ts";
import { storageOf } from "./quantizer.ts";
import { at, type Constant, clamped, type Linear, type Rep, type Term } from "./rep.ts";

export interface Islands {
  /** Lifts an op by its integer rule; where that reports an error and floats are allowed, keeps it as a float op. */
  readonly lift: (op: Op, rule: (ctx: Context) => Rep) => Rep;
  /** The float32 tensor of a real value; undefined where an op that is not allowed would have to compute it. */
  readonly real: (v: Value) => Value | undefined;
  /** One note per island. */
  readonly findings: () => readonly Diagnostic[];
}

/** Integers beyond ±2²⁴ have no exact float32. */
const EXACT = 2 ** 24;

const options = (op: Op) => ({ hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) });

export function createIslands(ctx: Context, allowed: (op: Op) => boolean): Islands {
  const made = new Map<Value, Value>();
  /** Ops that run in float, with the first reason given for one. */
  const members = new Map<Op, Diagnostic | undefined>();

  const float32 = (shape: readonly number[], data: Float32Array, hint: string): Value =>
    ctx.emit(
      "const",
      [],
      { value: { kind: "dense", elem: F32, shape, data } },
      { type: tensor(shape, F32), hint },
    );

  const constant = (v: Value, c: Constant): Value => {
    const def = ctx.definition(v);
    const dense = def?.name === "const" ? attr<Dense>(def, "value") : undefined;
    const data =
      dense?.elem.kind === "float" && v.type.elem.kind === "float"
        ? Float32Array.from(dense.data)
        : Float32Array.from({ length: sizeOf(c.shape) }, (_, i) => toNumber(c.at(i)));
    return float32(c.shape, data, v.name);
  };

  /** (t − zero)·scale + offset, with a zero point where there is one. */
  const term = (r: Linear, { value, scale }: Term, offset: readonly Rational[], hint: string): Value => {
    const n = Math.max(scale.length, offset.length);
    const ratios = Array.from({ length: n }, (_, c) =>
      sign(at(scale, c)) === 0 ? undefined : neg(div(at(offset, c), at(scale, c))),
    );
    const zeroed = ratios.every((z) => z !== undefined && isInteger(z) && Math.abs(toNumber(z)) < EXACT);
    const wide = n > 1 ? broadcast(ctx, value, r.shape) : value;
    const attrs = {
      axis: n > 1 ? r.shape.length - r.axis : 0,
      zeros: zeroed ? ratios.map((z) => toNumber(z!)) : [0],
      scales: scale.map((s) => Math.fround(toNumber(s))),
      offsets: zeroed ? [0] : offset.map((o) => Math.fround(toNumber(o))),
    };
    return ctx.emit("float.from_int", [wide], attrs, { hint, ...(r.loc ? { loc: r.loc } : {}) });
  };

  const linear = (v: Value, r: Linear): Value => {
    const [first, ...rest] = r.terms as [Term, ...Term[]];
    const loc = r.loc ? { loc: r.loc } : {};
    let sum = term(r, first, r.offset, v.name);
    for (const t of rest) sum = ctx.emit("float.add", [sum, term(r, t, [ZERO], v.name)], {}, loc);
    sum = broadcast(ctx, sum, r.shape);
    if (!clamped(r)) return sum;
    const bounds = { ...(r.lo && { lo: toNumber(r.lo) }), ...(r.hi && { hi: toNumber(r.hi) }) };
    return ctx.emit("float.clip", [sum], bounds, { hint: v.name, ...loc });
  };

  /** A float graph input as it is, once. */
  const input = (port: Port): Value => {
    const known = made.get(port.value);
    if (known) return known;
    const value: Value = { name: port.value.name, type: tensor(port.value.type.shape, F32) };
    ctx.param({ ...port, value, boundary: { kind: "none" } });
    made.set(port.value, value);
    return value;
  };

  /** The op itself, on float32 operands. */
  const compute = (op: Op, why: Diagnostic | undefined): Value | undefined => {
    if (!allowed(op) || op.results.length !== 1) return undefined;
    if (!hasTrait(op, "float") && !hasTrait(op, "movement") && !isPlain(op)) return undefined;
    if (op.name.startsWith("quant.")) return undefined;
    if (op.name === "float.gather_blocks") {
      const rows = gatherBlocks(ctx, op);
      if (rows !== undefined) members.set(op, members.get(op) ?? why);
      return rows;
    }
    const packed = op.name === "float.matmul" ? blockedFactor(ctx, op.operands[1]!) : undefined;
    const operands = (packed ? op.operands.slice(0, 1) : op.operands).map(given);
    if (operands.some((v) => v === undefined)) return undefined;
    members.set(op, members.get(op) ?? why);
    if (packed !== undefined) {
      const [x] = operands as [Value];
      const { q, scales, zeros, block } = packed;
      return ctx.emit("float.matmul_blocks", [x, q, scales, zeros], { block }, options(op));
    }
    // Islands have one width.
    if (op.name === "float.cast") return operands[0];
    if (isWholeWindow(op)) return greatest(op, operands[0]!);
    if (op.name === "float.conv_transpose") return spreadConv(ctx, op, operands as [Value, Value]);
    if (op.name === "float.interpolate") return gatherNeighbours(ctx, op, operands[0]!);
    const { type } = op.results[0]!;
    const chosen = type.elem.kind === "int" ? { type } : {};
    return ctx.emit(op.name, operands as Value[], op.attrs, { ...options(op), ...chosen });
  };

  /** An operand of a float op: real, or the integers it is. */
  const given = (v: Value): Value | undefined =>
    v.type.elem.kind === "float" ? real(v) : integersOf(ctx, v);

  /** A max pool of one window per channel, as rows. */
  const greatest = (op: Op, x: Value): Value => {
    const [n, c, h, ...w] = x.type.shape as [number, number, number, ...number[]];
    const flat = { shape: [n * c, h * sizeOf(w)] };
    const rows = ctx.emit("layout.reshape", [x], flat, options(op));
    const top = ctx.emit("float.reduce_max", [rows], { axes: [1], keepdims: true }, options(op));
    return ctx.emit("layout.reshape", [top], { shape: op.results[0]!.type.shape }, options(op));
  };

  const materialize = (v: Value, r: Rep): Value | undefined => {
    const def = ctx.definition(v);
    switch (r.kind) {
      case "float":
        return r.value;
      case "constant":
        return constant(v, r);
      case "linear":
        return r.terms.length > 0 ? linear(v, r) : undefined;
      case "input":
        return def === undefined ? input(r.port) : compute(def, undefined);
      case "integer":
      case "poison":
        return undefined;
      default:
        return def && compute(def, undefined);
    }
  };

  const real = (v: Value): Value | undefined => {
    const known = made.get(v);
    if (known) return known;
    const value = materialize(v, ctx.rep(v));
    if (value) made.set(v, value);
    return value;
  };

  const quantize = (op: Op): Rep | undefined => {
    const q = op.results[0]!.type.elem as QuantType;
    const { scales, zeroPoints: zeros } =
      q.scheme.kind === "axis" ? q.scheme : { scales: [q.scheme.scale], zeroPoints: [q.scheme.zeroPoint] };
    const after = attr<string>(op, "order") === "round_then_shift" || zeros.every((z) => z === 0);
    if (after && !zeros.every(Number.isInteger)) return undefined;
    const far = [q.lo, q.hi].some((x) => zeros.some((z) => Math.abs(x - z) > EXACT));
    if (far && zeros.some((z) => z !== 0)) return undefined;
    const x = allowed(op) ? real(op.operands[0]!) : undefined;
    if (x === undefined) return undefined;
    const attrs = {
      axis: q.scheme.kind === "axis" ? q.scheme.axis : 0,
      scales: scales.map(Math.fround),
      zeros,
      lo: q.lo,
      hi: q.hi,
      rounding: op.attrs.rounding!,
      order: after ? "round_then_shift" : "shift_then_round",
    };
    const { shape } = op.results[0]!.type;
    const value = ctx.emit("float.to_int", [x], attrs, { ...options(op), type: tensor(shape, storageOf(q)) });
    return { kind: "integer", shape, value };
  };

  const float = (op: Op, why: Diagnostic): Rep | undefined => {
    if (op.name === "quant.quantize") return quantize(op);
    const { shape, elem } = op.results[0]!.type;
    if (op.name === "const") {
      if (elem.kind !== "float") return undefined;
      const { data } = attr<Dense>(op, "value");
      return { kind: "float", shape, value: float32(shape, Float32Array.from(data), op.results[0]!.name) };
    }
    const value = compute(op, why);
    return value && { kind: value.type.elem.kind === "float" ? "float" : "integer", shape, value };
  };

  return {
    real,
    lift: (op, rule) => {
      const found: Diagnostic[] = [];
      const params: Port[] = [];
      const rep = rule({ ...ctx, report: (d) => void found.push(d), param: (p) => void params.push(p) });
      const error = found.find((d) => d.severity === "error");
      const floated = error && float(op, error);
      if (floated) return floated;
      for (const p of params) ctx.param(p);
      for (const d of found) ctx.report(d);
      return rep;
    },
    findings: () => islandsOf(ctx, members).map(([ops, why]) => floatIsland(ops, why)),
  };
}

/** Whether each channel is one window. */
const isWholeWindow = (op: Op): boolean =>
  op.name === "float.max_pool" &&
  attr<readonly number[]>(op, "pads").every((p) => p === 0) &&
  attr<readonly number[]>(op, "kernel").every((k, i) => k === op.operands[0]!.type.shape[i + 2]);

/** Members joined by their tensors, in graph order. */
function islandsOf(
  ctx: Context,
  members: ReadonlyMap<Op, Diagnostic | undefined>,
): (readonly [readonly Op[], Diagnostic | undefined])[] {
  const order = ctx.source.ops.filter((op) => members.has(op));
  const leader = new Map<Op, Op>(order.map((op) => [op, op]));
  const find = (op: Op): Op => {
    let top = op;
    while (leader.get(top) !== top) top = leader.get(top)!;
    return top;
  };
  for (const op of order)
    for (const v of op.operands) {
      const from = ctx.definition(v);
      if (from && members.has(from)) leader.set(find(op), find(from));
    }
  const groups = new Map<Op, Op[]>();
  for (const op of order) groups.set(find(op), [...(groups.get(find(op)) ?? []), op]);
  return [...groups.values()].map((ops) => [
    ops,
    ops.map((op) => members.get(op)).find((d) => d !== undefined),
  ]);
}
