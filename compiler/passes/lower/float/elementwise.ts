/** Chains of elementwise ops of float islands, conversions from and to integers included: one loop, four lanes at a time. */
import type { Expr } from "../../../ir/kernel/ir.ts";
import type { Attrs, Op, Value } from "../../../ir/module.ts";
import { attr } from "../../../ir/op.ts";
import { hasTrait } from "../../../ir/ops/index.ts";
import { F32 } from "../../../ir/types.ts";
import { type Block, createKernel } from "../block.ts";
import { constantLayout, operandLayout, paramBuffers } from "../elementwise.ts";
import { broadcastStrides } from "../elementwise-load.ts";
import { mapElements, type Strided } from "../elementwise-map.ts";
import { createEpilogue } from "../epilogue.ts";
import { constantOf, stepsOf } from "../epilogue-stage.ts";
import { fillHalo } from "../halo.ts";
import type { Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import * as fn from "./functions.ts";
import * as inverse from "./functions-inverse.ts";
import { integerLanes, intLanes } from "./int-lanes.ts";
import {
  and,
  f,
  fabs,
  fadd,
  fceil,
  fdiv,
  ffloor,
  fle,
  flt,
  fmax,
  fmin,
  fmul,
  fnearest,
  fneg,
  fsqrt,
  fsub,
  ftrunc,
  i,
  iadd,
  imul,
  isub,
  or,
  select,
  toFloat,
  toInt,
} from "./lanes.ts";

type Lanes = (b: Block, args: readonly Expr[], attrs: Attrs, op: Op) => Expr;

const real = (attrs: Attrs, name: string): Expr => f(attrs[name] as number);
const plain =
  (g: (...args: readonly Expr[]) => Expr): Lanes =>
  (_, args) =>
    g(...args);
const unary =
  (g: fn.Fn): Lanes =>
  (b, [x]) =>
    g(b, x!);
const within = (x: Expr, lo: Expr, hi: Expr): Expr => fmin(fmax(x, lo), hi);
/** `low` where x < 0. */
const below = (x: Expr, low: Expr): Expr => select(flt(x, f(0)), low, x);
const one = f(1);
const zero = f(0);

/** Every float op of one result element per operand element, on lanes. */
export const lanesOf: { readonly [op: string]: Lanes } = {
  "float.add": plain((a, b) => fadd(a!, b!)),
  "float.sub": plain((a, b) => fsub(a!, b!)),
  "float.mul": plain((a, b) => fmul(a!, b!)),
  "float.div": plain((a, b) => fdiv(a!, b!)),
  "float.pow": (b, [x, y]) => fn.pow(b, x!, y!),
  "float.min": plain((a, b) => fmin(a!, b!)),
  "float.max": plain((a, b) => fmax(a!, b!)),
  "float.prelu": plain((a, b) => below(a!, fmul(a!, b!))),
  "float.neg": plain((x) => fneg(x!)),
  "float.abs": plain((x) => fabs(x!)),
  "float.sqrt": plain((x) => fsqrt(x!)),
  "float.reciprocal": plain((x) => fdiv(one, x!)),
  "float.exp": unary(fn.exp),
  "float.log": unary(fn.log),
  "float.erf": unary(fn.erf),
  "float.sigmoid": unary(fn.sigmoid),
  "float.tanh": unary(fn.tanh),
  "float.softplus": unary(fn.softplus),
  "float.softsign": plain((x) => fdiv(x!, fadd(one, fabs(x!)))),
  "float.relu": plain((x) => fmax(x!, zero)),
  "float.floor": plain((x) => ffloor(x!)),
  "float.ceil": plain((x) => fceil(x!)),
  "float.round": plain((x) => fnearest(x!)),
  // x where it is neither less nor greater than 0: zero and NaN.
  "float.sign": plain((x) => select(flt(zero, x!), one, select(flt(x!, zero), f(-1), x!))),
  "float.sin": unary(fn.sin),
  "float.cos": unary(fn.cos),
  "float.asin": unary(inverse.asin),
  "float.acos": unary(inverse.acos),
  "float.atan": unary(inverse.atan),
  "float.sinh": unary(inverse.sinh),
  "float.asinh": unary(inverse.asinh),
  "float.acosh": unary(inverse.acosh),
  "float.atanh": unary(inverse.atanh),
  "float.hard_swish": plain((x) => fmul(x!, within(fadd(fdiv(x!, f(6)), f(0.5)), zero, one))),
  "float.mish": unary(fn.mish),
  "float.silu": (b, [x]) => fmul(x!, fn.sigmoid(b, x!)),
  "float.gelu": (b, [x], a) => (a.approximate === "tanh" ? fn.geluTanh(b, x!) : fn.geluErf(b, x!)),
  "float.clip": (_, [x], a) => within(x!, real(a, "lo"), real(a, "hi")),
  "float.leaky_relu": (_, [x], a) => below(x!, fmul(x!, real(a, "alpha"))),
  "float.elu": (b, [x], a) => below(x!, fmul(fn.expm1(b, x!), real(a, "alpha"))),
  "float.selu": (b, [x], a) => {
    const low = fmul(fn.expm1(b, x!), real(a, "alpha"));
    return fmul(real(a, "gamma"), select(fle(x!, zero), low, x!));
  },
  "float.celu": (b, [x], a) => {
    const e = fn.expm1(b, b.bind(fdiv(x!, real(a, "alpha")), "q"));
    return fadd(fmax(x!, zero), fmin(fmul(e, real(a, "alpha")), zero));
  },
  "float.thresholded_relu": (_, [x], a) => and(x!, flt(real(a, "alpha"), x!)),
  "float.hard_sigmoid": (_, [x], a) => within(fadd(fmul(x!, real(a, "alpha")), real(a, "beta")), zero, one),
  ...intLanes,
  "float.cast": (_, [x]) => x!,
  "qc.sub_product": plain((x, a, b) => isub(x!, imul(a!, b!))),
  "float.from_int": (_, [t, z, s, o], a) => {
    const zeros = a.zeros as readonly number[];
    const offsets = a.offsets as readonly number[];
    const moved = zeros.every((v) => v === 0) ? t! : isub(t!, z!);
    const product = fmul(toFloat(moved), s!);
    return offsets.every((v) => v === 0) ? product : fadd(product, o!);
  },
  "float.to_int": (b, [x, s, z], a) => toInteger(b, b.bind(fdiv(x!, s!), "v"), z!, a),
};

/** clamp(R(v) + z, lo, hi), or the zero inside R. */
function toInteger(b: Block, v: Expr, z: Expr, a: Attrs): Expr {
  const [lo, hi] = [a.lo as number, a.hi as number];
  const inside = a.order === "shift_then_round";
  const x = inside ? b.bind(fadd(v, z), "v") : v;
  const zeros = inside ? [0] : (a.zeros as readonly number[]);
  const r = b.bind(round(b, x, a.rounding as string), "r");
  // Far outside the range the integers saturate first; there the zeros are 0.
  const t = zeros.every((k) => k === 0)
    ? toInt(r)
    : iadd(toInt(within(r, f(-(2 ** 25)), f(2 ** 25))), toInt(z));
  const clamped = clampInt(b.bind(t, "t"), lo, hi);
  return select(or(fle(x, zero), fle(zero, x)), clamped, i(lo));
}

/** Integers between bounds that are integers of 32 bits. */
function clampInt(t: Expr, lo: number, hi: number): Expr {
  const low = lo > -(2 ** 31) ? opMax(t, lo) : t;
  return hi < 2 ** 31 - 1 ? opMin(low, hi) : low;
}
const opMax = (t: Expr, x: number): Expr => ({
  k: "op",
  type: "i32x4",
  op: "max_s.i32x4",
  args: [t, i(x)],
  imm: [],
});
const opMin = (t: Expr, x: number): Expr => ({
  k: "op",
  type: "i32x4",
  op: "min_s.i32x4",
  args: [t, i(x)],
  imm: [],
});

function round(b: Block, x: Expr, rule: string): Expr {
  switch (rule) {
    case "half_even":
      return fnearest(x);
    case "ceil":
      return fceil(x);
    case "floor":
      return ffloor(x);
    case "down":
      return ftrunc(x);
    default: {
      // Away from zero or toward it, by the fraction of |x|, which is exact.
      const a = b.bind(fabs(x), "a");
      const whole = b.bind(ffloor(a), "w");
      const rest = fsub(a, whole);
      const away =
        rule === "half_up" ? fle(f(0.5), rest) : rule === "half_down" ? flt(f(0.5), rest) : flt(zero, rest);
      return or(fadd(whole, and(away, one)), and(x, i(-(2 ** 31))));
    }
  }
}

/** Lists per channel as tensors that broadcast along the op's axis. */
function listsOf(op: Op): readonly (readonly number[])[] {
  const list = (name: string): readonly number[] => attr<readonly number[]>(op, name);
  if (op.name === "float.from_int") return [list("zeros"), list("scales"), list("offsets")];
  if (op.name === "float.to_int") return [list("scales"), list("zeros")];
  return [];
}

/** Whether the op belongs to this family. */
export const isFloatElementwise = (op: Op): boolean => op.name in lanesOf && hasTrait(op, "elementwise");

export function lowerFloatElementwise(stage: Stage): Lowered | undefined {
  const steps = stepsOf(stage);
  if (steps.length === 0 || !steps.every(isFloatElementwise)) return undefined;
  const wide = steps.some(
    ({ name, operands }) =>
      !(name in intLanes) &&
      operands.some(({ type: { elem } }) => elem.kind === "int" && !elem.signed && elem.bits > 31),
  );
  if (wide) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const inner = new Set(steps.flatMap((op) => op.results));
  const inputs: Strided[] = [];
  const known = new Map<Value, number>();
  const strided = (l: Layout): number => inputs.push({ ...l, strides: broadcastStrides(l, y.shape) }) - 1;
  const outside = (v: Value): number => {
    const at = known.get(v) ?? strided(operandLayout(stage, k.block, v));
    known.set(v, at);
    return at;
  };
  /** Per op and list: an input, or the one constant. */
  const tables = new Map(
    steps.map((op) => [op, listsOf(op).map((list, n) => table(k.block, op, list, n, strided))] as const),
  );
  for (const op of steps) for (const v of op.operands) if (!inner.has(v) && !scalar(stage, v)) outside(v);
  if (inputs.length === 0) return undefined;
  const last = steps.at(-1)!.results[0]!;
  const epilogue =
    last.type.elem.kind === "float"
      ? undefined
      : createEpilogue({ block: k.block, rescale: null, channels: 1, pad: 4, container: y.container });
  fillHalo(k.block, y);
  mapElements(
    k.block,
    y.shape,
    inputs,
    y,
    y.shape.map(() => 0),
    (b, groups, channel) => {
      const values = groups[0]!.map((_, j) => {
        const env = new Map<Value, Expr>();
        const read = (v: Value): Expr => env.get(v) ?? scalar(stage, v) ?? groups[known.get(v)!]![j]!;
        for (const op of steps) {
          const more = tables.get(op)!.map((t) => (typeof t === "number" ? groups[t]![j]! : t));
          const args = [...op.operands.map(read), ...more];
          env.set(
            op.results[0]!,
            b.bind(power(stage, b, op, args) ?? lanesOf[op.name]!(b, args, op.attrs, op), "f"),
          );
        }
        return env.get(last)!;
      });
      return epilogue ? epilogue.emit(b, [[values]], channel) : values;
    },
  );
  return k.finish(paramBuffers(stage), [y.buffer]);
}

/** x to a constant power. */
function power(stage: Stage, b: Block, op: Op, [x]: readonly Expr[]): Expr | undefined {
  const d = op.name === "float.pow" ? constantOf(stage, op.operands[1]!) : undefined;
  return d?.data.length === 1 ? fn.constantPower(b, x!, d.data[0]!) : undefined;
}

/** The lanes of a constant of one element. */
function scalar(stage: Stage, v: Value): Expr | undefined {
  const d = constantOf(stage, v);
  if (d?.data.length !== 1) return undefined;
  return d.elem.kind === "float" ? f(d.data[0]!) : integerLanes(d.data[0]!);
}

/** One number as lanes; several as a further input. Zeros of `from_int` are integers, all else floats. */
function table(
  block: Block,
  op: Op,
  list: readonly number[],
  index: number,
  strided: (l: Layout) => number,
): Expr | number {
  const integers = op.name === "float.from_int" && index === 0;
  if (list.every((x) => x === list[0])) return integers ? i(list[0] ?? 0) : f(list[0] ?? 0);
  const { shape } = op.results[0]!.type;
  const axis = attr<number>(op, "axis");
  const dims = shape.map((_, a) => (a === axis ? list.length : 1));
  const elem = integers ? ({ kind: "int", signed: true, bits: 32 } as const) : F32;
  const data = integers ? Int32Array.from(list) : Float32Array.from(list);
  return strided(constantLayout(block, { kind: "dense", elem, shape: dims, data }));
}
