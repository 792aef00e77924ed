/** The greater or smaller of two tensors: integers of one grid are compared at once, others behind the quantizer that follows. */
import type { Op, Value } from "../../ir/module.ts";
import { eq, sign } from "../../ir/rational.ts";
import { type IntType, int, intMax, intMin, intTypeFor, sizeOf, stridesOf } from "../../ir/types.ts";
import type { Context } from "./context.ts";
import { broadcast } from "./linear.ts";
import { applyClamp } from "./materialize.ts";
import { intElem } from "./ranges.ts";
import { type Constant, clamped, type Linear, perTensor, type Rep } from "./rep.ts";

const picks: { readonly [op: string]: "max" | "min" } = { "float.max": "max", "float.min": "min" };

/** max or min of operands of which at most one is constant. */
export function extremeOf(ctx: Context, op: Op, reps: readonly Rep[]): Rep | undefined {
  const pick = picks[op.name];
  if (pick === undefined || reps.length !== 2 || reps.every((r) => r.kind === "constant")) return undefined;
  const shape = op.results[0]!.type.shape;
  const whole = reps.map((r) => spread(ctx, r, shape));
  const parts = whole.flatMap((p) => (p ? [p] : []));
  if (parts.length < whole.length) return undefined;
  return (
    onOneGrid(ctx, op, pick, parts) ?? {
      kind: "extreme",
      shape,
      pick,
      parts: parts.flatMap((p) => (p.kind === "extreme" && p.pick === pick ? p.parts : [p])),
      ...(op.loc ? { loc: op.loc } : {}),
    }
  );
}

/** Two tensors of integers with one scale and one offset: the comparison of the integers. */
function onOneGrid(ctx: Context, op: Op, pick: "max" | "min", parts: readonly Rep[]): Linear | undefined {
  const plain = parts.map((p) => (p.kind === "linear" ? (clamped(p) ? applyClamp(ctx, p) : p) : undefined));
  const [a, b] = plain;
  if (a === undefined || b === undefined || ![a, b].every((p) => p.terms.length === 1 && perTensor(p)))
    return undefined;
  const [s, t] = [a.terms[0]!, b.terms[0]!];
  if (sign(s.scale[0]!) <= 0 || !eq(s.scale[0]!, t.scale[0]!) || !eq(a.offset[0]!, b.offset[0]!))
    return undefined;
  const type = { shape: a.shape, elem: wider(s.value, t.value) };
  const options = { type, hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) };
  const value = ctx.emit(`qc.${pick}`, [s.value, t.value], {}, options);
  return { ...a, terms: [{ value, scale: s.scale }] };
}

/** An integer type that holds what either holds. */
function wider(a: Value, b: Value): IntType {
  const [x, y] = [intElem(a), intElem(b)];
  return intTypeFor(Math.min(intMin(x), intMin(y)), Math.max(intMax(x), intMax(y))) ?? int(true, 32);
}

/** The same at a larger shape; undefined where the representation has no such form. */
function spread(ctx: Context, r: Rep, shape: readonly number[]): Rep | undefined {
  const same = r.shape.length === shape.length && r.shape.every((d, i) => d === shape[i]);
  switch (r.kind) {
    case "linear":
      return {
        ...r,
        shape,
        terms: r.terms.map((t) => ({ ...t, value: broadcast(ctx, t.value, shape) })),
      };
    case "mapped":
      return { ...r, shape, input: broadcast(ctx, r.input, shape) };
    case "extreme": {
      const parts = r.parts.flatMap((p) => spread(ctx, p, shape) ?? []);
      return parts.length === r.parts.length ? { ...r, shape, parts } : undefined;
    }
    case "constant":
      return { kind: "constant", shape, at: spreadAt(r, shape), ...(r.loc ? { loc: r.loc } : {}) };
    case "softmax":
    case "normalized":
    case "joined":
      return same ? r : undefined;
    default:
      return undefined;
  }
}

/** Elements of a constant, by the index in a shape that it is broadcast to. */
function spreadAt(c: Constant, shape: readonly number[]): Constant["at"] {
  const strides = stridesOf(c.shape);
  const lead = shape.length - c.shape.length;
  return (index) => {
    let rest = index;
    let from = 0;
    for (let a = shape.length - 1; a >= lead; a--) {
      const i = rest % shape[a]!;
      rest = (rest - i) / shape[a]!;
      if (c.shape[a - lead]! > 1) from += i * strides[a - lead]!;
    }
    return c.at(from);
  };
}

/** Ops that keep order: f(max(a, b)) = max(f(a), f(b)). */
const increasing: ReadonlySet<string> = new Set([
  "float.relu",
  "float.clip",
  "float.max",
  "float.min",
  "float.sigmoid",
  "float.tanh",
]);

/** An increasing function of an extreme is the extreme of the function. `each`: its rule for one part. */
export function liftExtreme(
  op: Op,
  reps: readonly Rep[],
  each: (reps: readonly Rep[]) => Rep | undefined,
): Rep | undefined {
  const at = reps.findIndex((r) => r.kind === "extreme");
  const r = reps[at];
  if (r?.kind !== "extreme" || reps.some((o, i) => i !== at && o.kind !== "constant")) return undefined;
  if (!increasing.has(op.name) && !shiftsOrGrows(op, reps, at)) return undefined;
  const parts = r.parts.flatMap((p) => each(reps.map((o, i) => (i === at ? p : o))) ?? []);
  return parts.length === r.parts.length ? { ...r, shape: op.results[0]!.type.shape, parts } : undefined;
}

/** x + c, c + x, x − c, x·c, c·x and x / c for positive c. */
function shiftsOrGrows(op: Op, reps: readonly Rep[], at: number): boolean {
  const c = reps[1 - at];
  if (c?.kind !== "constant") return false;
  if (op.name === "float.add" || (op.name === "float.sub" && at === 0)) return true;
  if (op.name !== "float.mul" && !(op.name === "float.div" && at === 0)) return false;
  return Array.from({ length: sizeOf(c.shape) }, (_, i) => c.at(i)).every((x) => sign(x) > 0);
}
