/** Arithmetic on integers of the run: the operators of elementwise.ts on integer types, and those that only integers have. */
import { badOperands, unsupportedForm } from "../../../ir/messages.ts";
import { INT_BINARY } from "../../../ir/ops/int-elementwise.ts";
import { elementOf } from "../../constants.ts";
import { elementwise } from "../../graph-import.ts";
import { forOps, type Importer } from "../../importer.ts";
import { flagAttr, input, type NodeImport, reject, stringAttr } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { type Interval, intervalOf, isIntegers, onIntegers, onPlain } from "../../plain-integers.ts";
import { choose, compare, fold, numberLike } from "./logic.ts";

/** The results of a monotone function of each operand at the corners. */
function corners(a: Interval, b: Interval, f: (x: number, y: number) => number): Interval {
  const values = [a.lo, a.hi].flatMap((x) => [b.lo, b.hi].map((y) => f(x, y)));
  return { lo: Math.min(...values), hi: Math.max(...values) };
}

const magnitude = ({ lo, hi }: Interval): number => Math.max(Math.abs(lo), Math.abs(hi));

/** What a − b·q leaves: smaller than the divisor, of its sign or the dividend's. */
const rest = (a: Interval, b: Interval, floored: boolean): Interval => {
  const most = magnitude(b) - 1;
  const by = floored ? b : a;
  const wide = Math.max(Math.min(most, floored ? most : magnitude(a)), 0);
  return { lo: by.lo < 0 ? -wide : 0, hi: by.hi > 0 ? wide : 0 };
};

/** Least interval of powers of two around both: what bitwise operators keep. */
function bitwise(a: Interval, b: Interval): Interval {
  const most = Math.max(magnitude(a), magnitude(b));
  const top = 2 ** Math.ceil(Math.log2(most + 1)) - 1;
  return { lo: a.lo < 0 || b.lo < 0 ? -top - 1 : 0, hi: top };
}

const INTERVALS: { readonly [name: string]: (a: Interval, b: Interval) => Interval } = {
  "int.add": (a, b) => ({ lo: a.lo + b.lo, hi: a.hi + b.hi }),
  "int.sub": (a, b) => ({ lo: a.lo - b.hi, hi: a.hi - b.lo }),
  "int.mul": (a, b) => corners(a, b, (x, y) => x * y),
  "int.div": (a) => ({ lo: Math.min(a.lo, -a.hi, 0), hi: Math.max(a.hi, -a.lo, 0) }),
  "int.floor_mod": (a, b) => rest(a, b, true),
  "int.remainder": (a, b) => rest(a, b, false),
  "int.min": (a, b) => ({ lo: Math.min(a.lo, b.lo), hi: Math.min(a.hi, b.hi) }),
  "int.max": (a, b) => ({ lo: Math.max(a.lo, b.lo), hi: Math.max(a.hi, b.hi) }),
  "int.and": bitwise,
  "int.or": bitwise,
  "int.xor": bitwise,
  "int.shift_left": (a, b) => corners(a, { lo: 0, hi: b.hi }, (x, y) => x * 2 ** y),
  "int.shift_right": (a) => ({ lo: Math.min(a.lo, 0), hi: Math.max(a.hi, 0) }),
};

/** A binary operator on integers. */
export const arithmetic = (n: NodeImport, name: string, a: Operand, b: Operand): Operand =>
  onPlain(n, name, [a, b], {}, a.dtype, INTERVALS[name]!(intervalOf(n, a), intervalOf(n, b)));

/** The operator on integers that stands for one on real numbers; undefined where there is none. */
const counterpart = (name: string): string | undefined => {
  const own = name.replace(/^float\./, "int.");
  return own in INT_BINARY ? own : undefined;
};

/** A binary operator on real numbers, or its counterpart where integers of the run meet. */
export function binaryOn(n: NodeImport, name: string, a: Operand, b: Operand): Operand {
  const own = onIntegers([a, b]) ? counterpart(name) : undefined;
  return own === undefined ? elementwise(n, name, [a, b]) : arithmetic(n, own, a, b);
}

const UNARY: { readonly [name: string]: (n: NodeImport, x: Operand) => Operand } = {
  "float.neg": (n, x) => arithmetic(n, "int.sub", numberLike(x, 0), x),
  "float.abs": (n, x) =>
    intervalOf(n, x).lo >= 0 ? x : arithmetic(n, "int.max", x, arithmetic(n, "int.sub", numberLike(x, 0), x)),
  "float.sign": (n, x) => {
    const [zero, one] = [numberLike(x, 0), numberLike(x, 1)];
    const positive = choose(n, compare(n, "less", zero, x), one, zero);
    if (intervalOf(n, x).lo >= 0) return positive;
    return choose(n, compare(n, "less", x, zero), numberLike(x, -1), positive);
  },
  "float.floor": (_, x) => x,
  "float.ceil": (_, x) => x,
  "float.round": (_, x) => x,
};

/** A unary operator on real numbers, or what it is on integers of the run. */
export const unaryOn = (n: NodeImport, name: string, x: Operand): Operand =>
  x.kind === "value" && isIntegers(x) && UNARY[name] ? UNARY[name](n, x) : elementwise(n, name, [x]);

const shifts: Importer = {
  op: "BitShift",
  since: 11,
  inputs: [2, 2],
  attributes: { direction: "string" },
  run: (n) => {
    const left = stringAttr(n, "direction") === "LEFT";
    return arithmetic(n, left ? "int.shift_left" : "int.shift_right", input(n, 0), input(n, 1));
  },
};

const BITWISE: { readonly [op: string]: string } = {
  BitwiseAnd: "int.and",
  BitwiseOr: "int.or",
  BitwiseXor: "int.xor",
};

const bits: readonly Importer[] = [
  ...forOps(Object.keys(BITWISE), (op) => ({
    since: 18,
    inputs: [2, 2],
    run: (n) => arithmetic(n, BITWISE[op]!, input(n, 0), input(n, 1)),
  })),
  {
    op: "BitwiseNot",
    since: 18,
    inputs: [1, 1],
    run: (n) => {
      const x = input(n, 0);
      const own = elementOf(x.dtype);
      const ones = own?.kind === "int" && !own.signed ? 2 ** own.bits - 1 : -1;
      return arithmetic(n, "int.xor", x, numberLike(x, ones));
    },
  },
];

/** a − b·⌊a / b⌋, or with fmod the remainder of the dividend's sign; floats have fmod only. */
const mod: Importer = {
  op: "Mod",
  since: 10,
  inputs: [2, 2],
  attributes: { fmod: "int" },
  run: (n) => {
    const [a, b] = [input(n, 0), input(n, 1)];
    const truncated = flagAttr(n, "fmod", false);
    if (a.kind === "constant" && b.kind === "constant") {
      if (b.constant.dense.data.includes(0)) reject(badOperands(n.loc, "a divisor is 0", []));
      return fold(n, a.dtype, (x, y) => (truncated ? x % y : x - y * Math.floor(x / y)));
    }
    if (isIntegers(a) && isIntegers(b))
      return arithmetic(n, truncated ? "int.remainder" : "int.floor_mod", a, b);
    if (isIntegers(a) || isIntegers(b))
      return reject(badOperands(n.loc, `element types ${a.dtype} and ${b.dtype} differ`, []));
    return reject(
      unsupportedForm(
        n.loc,
        "Mod of floats at run time is not supported: float32 cannot hold its steps exactly",
      ),
    );
  },
};

export const intArithmeticImporters: readonly Importer[] = [shifts, ...bits, mod];
