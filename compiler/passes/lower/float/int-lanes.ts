/** Elementwise ops on plain integers, comparisons and choices, on four lanes of 32 bits. */
import { c32, type Expr, konst, type OpName, op } from "../../../ir/kernel/ir.ts";
import type { Attrs, Op, Value } from "../../../ir/module.ts";
import type { Relation } from "../../../ir/ops/int-elementwise.ts";
import type { IntType } from "../../../ir/types.ts";
import type { Block } from "../block.ts";
import {
  and,
  fdiv,
  feq,
  fle,
  flt,
  ftrunc,
  i,
  iadd,
  imul,
  isub,
  or,
  sar,
  select,
  shl,
  shuffle,
  toFloat,
  toInt,
} from "./lanes.ts";

type Lanes = (b: Block, args: readonly Expr[], attrs: Attrs, op: Op) => Expr;

const elemOf = (v: Value): IntType => v.type.elem as IntType;
/** Lanes that hold 32 bits without a sign. */
const isWord = (e: IntType): boolean => !e.signed && e.bits === 32;
const words = (o: Op): boolean => o.operands.some((v) => v.type.elem.kind === "int" && isWord(elemOf(v)));

const call =
  (name: OpName) =>
  (a: Expr, b: Expr): Expr =>
    op(name, [a, b]);
const xor = call("xor.i32x4");
const one = i(1);

/** Lanes modulo 2^bits of the result's type. */
function wrapped(x: Expr, o: Op): Expr {
  const { signed, bits } = elemOf(o.results[0]!);
  if (bits === 32) return x;
  return signed ? sar(shl(x, 32 - bits), 32 - bits) : and(x, i(2 ** bits - 1));
}

const wrapping =
  (f: (b: Block, x: Expr, y: Expr, o: Op) => Expr): Lanes =>
  (b, [x, y], _, o) =>
    wrapped(f(b, x!, y!, o), o);

/** Lane by lane with scalars. */
function perLane(b: Block, x: Expr, y: Expr, f: (p: Expr, q: Expr) => Expr): Expr {
  const lanes = [0, 1, 2, 3].map((k) => {
    const p = b.bind(op("lane.i32x4", [x], [k]), "p");
    const q = b.bind(op("lane.i32x4", [y], [k]), "q");
    return b.bind(op("splat.i32x4", [f(p, q)]), "lane");
  });
  const low = b.bind(shuffle(lanes[0]!, lanes[1]!, [0, 4, 1, 5]), "low");
  const high = b.bind(shuffle(lanes[2]!, lanes[3]!, [0, 4, 1, 5]), "high");
  return shuffle(low, high, [0, 1, 4, 5]);
}

/** Quotients of integers of at most 24 bits: the rounded quotient never reaches the next integer. */
const SMALL = 24;

/** x / y toward zero; 0 where y = 0. */
function quotient(b: Block, x: Expr, y: Expr, o: Op): Expr {
  const types = o.operands.map(elemOf);
  if (types.every((t) => t.bits <= SMALL)) {
    const q = toInt(ftrunc(fdiv(toFloat(x), toFloat(y))));
    return and(q, op("ne.i32x4", [y, i(0)]));
  }
  const wide = words(o) ? "extend_u.i32" : "extend_s.i32";
  return perLane(b, x, y, (p, q) => {
    const zero = b.bind(op("eq.i32", [q, c32(0)]), "zero");
    const divisor = op(wide, [op("select.i32", [c32(1), q, zero])]);
    const whole = op("wrap.i64", [op("div_s.i64", [op(wide, [p]), divisor])]);
    return op("select.i32", [c32(0), whole, zero]);
  });
}

/** x − y·trunc(x / y), or with the divisor's sign; 0 where y = 0. */
function modulo(floored: boolean): (b: Block, x: Expr, y: Expr, o: Op) => Expr {
  return (b, x, y, o) => {
    const q = b.bind(quotient(b, x, y, o), "q");
    const some = op("ne.i32x4", [y, i(0)]);
    const rest = b.bind(and(isub(x, imul(q, y)), some), "r");
    if (!floored || words(o)) return rest;
    const apart = op("lt_s.i32x4", [xor(rest, y), i(0)]);
    const more = and(y, and(apart, op("ne.i32x4", [rest, i(0)])));
    return iadd(rest, more);
  };
}

function shift(left: boolean): (b: Block, x: Expr, y: Expr, o: Op) => Expr {
  return (b, x, y, o) => {
    const { signed } = elemOf(o.operands[0]!);
    const name = left ? "shl_v.i32" : signed ? "shr_s_v.i32" : "shr_u_v.i32";
    return perLane(b, x, y, (p, q) => {
      const far = op("lt_u.i32", [c32(31), q]);
      const end = left || !signed ? c32(0) : op("shr_s_v.i32", [p, c32(31)]);
      return op("select.i32", [end, op(name, [p, q]), far]);
    });
  };
}

/** Words compare as signed lanes once their top bits are turned. */
function compareInts(b: Block, x: Expr, y: Expr, relation: Relation, o: Op): Expr {
  if (relation === "equal") return op("eq.i32x4", [x, y]);
  const turn = (e: Expr): Expr => (words(o) ? b.bind(xor(e, i(-(2 ** 31))), "t") : e);
  const [p, q] = [turn(x), turn(y)];
  return relation === "less" ? op("lt_s.i32x4", [p, q]) : xor(op("gt_s.i32x4", [p, q]), i(-1));
}

const FLOAT_RELATIONS = { equal: feq, less: flt, less_equal: fle } as const;

const extreme =
  (which: "min" | "max"): Lanes =>
  (_, [x, y], __, o) =>
    wrapped(op(`${which}_${words(o) ? "u" : "s"}.i32x4`, [x!, y!]), o);

const chosen = (b: Block, [c, x, y]: readonly Expr[]): Expr =>
  select(b.bind(op("ne.i32x4", [c!, i(0)]), "c"), x!, y!);

export const intLanes: { readonly [op: string]: Lanes } = {
  "int.add": wrapping((_, x, y) => iadd(x, y)),
  "int.sub": wrapping((_, x, y) => isub(x, y)),
  "int.mul": wrapping((_, x, y) => imul(x, y)),
  "int.div": wrapping(quotient),
  "int.floor_mod": wrapping(modulo(true)),
  "int.remainder": wrapping(modulo(false)),
  "int.min": extreme("min"),
  "int.max": extreme("max"),
  "int.and": wrapping((_, x, y) => and(x, y)),
  "int.or": wrapping((_, x, y) => or(x, y)),
  "int.xor": wrapping((_, x, y) => xor(x, y)),
  "int.shift_left": wrapping(shift(true)),
  "int.shift_right": wrapping(shift(false)),
  "int.cast": (_, [x], __, o) => wrapped(x!, o),
  "int.compare": (b, [x, y], a, o) => and(compareInts(b, x!, y!, a.relation as Relation, o), one),
  "float.compare": (_, [x, y], a) => and(FLOAT_RELATIONS[a.relation as Relation](x!, y!), one),
  "int.where": (b, args, _, o) => wrapped(chosen(b, args), o),
  "float.where": (b, args) => chosen(b, args),
};

/** All lanes alike: an integer constant of one element. */
export const integerLanes = (value: number): Expr => konst("i32x4", value | 0);
