/**
 * Keeps the integer graph in NHWC: transposes that leave NHWC sink through whatever commutes with them until they meet
 * their inverse, a constant, or the edge of the graph.
 */
import type { Attr, Attrs, Dense, Op, Value } from "../ir/module.ts";
import { attr } from "../ir/op.ts";
import { hasTrait, opDef } from "../ir/ops/index.ts";
import { definePass } from "../ir/pass.ts";
import type { Rule, RuleContext } from "../ir/rewriter.ts";
import { sameShape, sizeOf } from "../ir/types.ts";

type Perm = readonly number[];

const permOf = (op: Op): Perm => attr<readonly number[]>(op, "perm");
const inverse = (p: Perm): number[] => p.map((_, i) => p.indexOf(i));
const isIdentity = (p: Perm): boolean => p.every((a, i) => a === i);
const samePerm = (a: Perm, b: Perm): boolean => a.length === b.length && a.every((x, i) => x === b[i]);
/** The transposes `integerize` puts behind NHWC ops: the last axis comes second. */
const leavesNhwc = (p: Perm): boolean => p.length >= 3 && p[0] === 0 && p[1] === p.length - 1;

const transposeOf = (v: Value, ctx: RuleContext): Op | undefined => {
  const d = ctx.def(v);
  return d?.name === "layout.transpose" ? d : undefined;
};

/** transpose(transpose(x, p), q) = transpose(x, p∘q); transpose(x, id) = x. */
const mergeTransposes: Rule = {
  name: "merge-transposes",
  ops: ["layout.transpose"],
  rewrite: (op, [x], ctx) => {
    const q = permOf(op);
    if (isIdentity(q)) return [x!];
    const inner = transposeOf(x!, ctx);
    if (inner === undefined) return undefined;
    const p = permOf(inner);
    return [
      ctx.b.add1(
        "layout.transpose",
        inner.operands,
        { perm: q.map((i) => p[i]!) },
        { loc: op.loc, names: [op.results[0]!.name] },
      ),
    ];
  },
};

/** A transpose that only moves axes of size 1 is a reshape. */
const unitTranspose: Rule = {
  name: "unit-transpose",
  ops: ["layout.transpose"],
  rewrite: (op, [x], ctx) => {
    const moved = permOf(op).filter((i) => x!.type.shape[i] !== 1);
    if (moved.some((a, i) => i > 0 && a < moved[i - 1]!)) return undefined;
    return [
      ctx.b.add1(
        "layout.reshape",
        [x!],
        { shape: op.results[0]!.type.shape },
        { loc: op.loc, names: [op.results[0]!.name] },
      ),
    ];
  },
};

/** reshape(reshape(x)) = reshape(x); reshape(x, shape of x) = x. */
const mergeReshapes: Rule = {
  name: "merge-reshapes",
  ops: ["layout.reshape"],
  rewrite: (op, [x], ctx) => {
    if (sameShape(x!.type.shape, op.results[0]!.type.shape)) return [x!];
    const inner = ctx.def(x!);
    if (inner?.name !== "layout.reshape") return undefined;
    return [
      ctx.b.add1("layout.reshape", inner.operands, op.attrs, { loc: op.loc, names: [op.results[0]!.name] }),
    ];
  },
};

/** Data movement of a constant is a constant. */
const foldConstants: Rule = {
  name: "fold-constant-movement",
  rewrite: (op, operands, ctx) => {
    const def = opDef(op.name);
    if (!def.traits.includes("movement") || operands.length === 0) return undefined;
    const defs = operands.map((v) => ctx.def(v));
    if (defs.some((d) => d?.name !== "const")) return undefined;
    const [value] = def.evaluate(
      defs.map((d) => attr<Dense>(d!, "value")),
      op.attrs,
      op.results.map((r) => r.type),
      operands.map((v) => v.type),
    );
    return [
      ctx.b.add1(
        "const",
        [],
        { value: value! },
        { types: [op.results[0]!.type], names: [op.results[0]!.name] },
      ),
    ];
  },
};

/**
 * Whether `v` may be moved by p⁻¹: it comes from a transpose by p or from a constant, or p is not its own inverse, so that the
 * transpose this leaves behind never sinks itself.
 */
function canMove(v: Value, p: Perm, ctx: RuleContext): boolean {
  const def = ctx.def(v);
  if (def?.name === "const" || !samePerm(p, inverse(p))) return true;
  return def?.name === "layout.transpose" && samePerm(permOf(def), p);
}

/** Elementwise ops with a channel axis in `attrs.axis`, or none. */
const elementwise = [
  "qc.requant",
  "qc.rescale",
  "qc.threshold",
  "qc.table",
  "qc.clamp",
  "qc.mul",
  "qc.max",
  "qc.min",
];

const withAxis = (attrs: Attrs, p: Perm): Attrs =>
  typeof attrs.axis === "number" ? { ...attrs, axis: p[attrs.axis]! } : attrs;

/**
 * f(transpose(x, p), …) = transpose(f(x, …), p) for elementwise f, the other operands moved by p⁻¹ (constants fold, and a
 * transpose that left NHWC on one side is undone on the other).
 */
const sinkThroughElementwise: Rule = {
  name: "sink-through-elementwise",
  ops: elementwise,
  rewrite: (op, operands, ctx) => {
    const rank = op.results[0]!.type.shape.length;
    const first = operands
      .map((v) => transposeOf(v, ctx))
      .find((t) => t !== undefined && leavesNhwc(permOf(t)));
    if (first === undefined) return undefined;
    const p = permOf(first);
    if (operands.some((v) => v.type.shape.length !== rank || !canMove(v, p, ctx))) return undefined;
    const moved = operands.map((v) => {
      const t = transposeOf(v, ctx);
      return t && samePerm(permOf(t), p)
        ? t.operands[0]!
        : ctx.b.add1("layout.transpose", [v], { perm: inverse(p) });
    });
    const result = op.results[0]!;
    const shape = inverse(p).map((i) => result.type.shape[i]!);
    const y = ctx.b.add1(op.name, moved, withAxis(op.attrs, p), {
      loc: op.loc,
      types: [{ ...result.type, shape }],
      names: [result.name],
    });
    return [ctx.b.add1("layout.transpose", [y], { perm: p })];
  },
};

/** Numbers of up to a byte grow when they become floats. */
const grows = (op: Op): boolean => {
  const elem = op.operands[0]?.type.elem;
  return op.name === "float.from_int" && elem?.kind === "int" && elem.bits <= 8;
};

/**
 * The same in float islands, where all operands come from such transposes but for constants and single numbers: islands between
 * convolutions stay NHWC.
 */
const sinkThroughFloat: Rule = {
  name: "sink-through-float",
  rewrite: (op, operands, ctx) => {
    if (!hasTrait(op, "elementwise") || !(hasTrait(op, "float") || op.name === "qc.sub_product"))
      return undefined;
    const [result] = op.results as [Value];
    const rank = result.type.shape.length;
    const turned = operands.map((v) => transposeOf(v, ctx));
    const first = turned.find((t) => t !== undefined && leavesNhwc(permOf(t)));
    if (first === undefined || grows(op)) return undefined;
    const p = permOf(first);
    const fits = operands.every((v, i) => {
      const t = turned[i];
      if (t) return samePerm(permOf(t), p) && sameShape(v.type.shape, result.type.shape);
      return sizeOf(v.type.shape) === 1 || ctx.def(v)?.name === "const";
    });
    if (!fits) return undefined;
    const moved = operands.map((v, i) => {
      const t = turned[i];
      if (t) return t.operands[0]!;
      const { shape } = v.type;
      if (sizeOf(shape) === 1) return v;
      const full = [...new Array<number>(rank - shape.length).fill(1), ...shape];
      const wide = ctx.b.add1("layout.reshape", [v], { shape: full });
      return ctx.b.add1("layout.transpose", [wide], { perm: inverse(p) });
    });
    const shape = inverse(p).map((i) => result.type.shape[i]!);
    const y = ctx.b.add1(op.name, moved, withAxis(op.attrs, p), {
      loc: op.loc,
      types: [{ ...result.type, shape }],
      names: [result.name],
    });
    return [ctx.b.add1("layout.transpose", [y], { perm: p })];
  },
};

/** The extremes of all elements do not depend on their order. */
const extremesOfTransposed: Rule = {
  name: "extremes-of-transposed",
  ops: ["float.reduce_max", "float.reduce_min"],
  rewrite: (op, [v], ctx) => {
    const t = transposeOf(v!, ctx);
    const all = attr<readonly number[]>(op, "axes").length === v!.type.shape.length;
    if (t === undefined || !all) return undefined;
    return [ctx.b.add1(op.name, t.operands, op.attrs, { loc: op.loc, names: [op.results[0]!.name] })];
  },
};

/** f(transpose(x, p)) = transpose(f(x), p) behind an accumulator that nobody else reads: f runs in its registers. */
const sinkBehindAccumulator: Rule = {
  name: "sink-behind-accumulator",
  ops: ["qc.requant", "qc.threshold", "qc.table", "qc.clamp"],
  rewrite: (op, [v, ...more], ctx) => {
    const t = transposeOf(v!, ctx);
    const x = t?.operands[0];
    const made = x && ctx.def(x);
    if (t === undefined || x === undefined || more.length > 0 || ctx.useCount(v!) > 1) return undefined;
    if (made === undefined || !hasTrait(made, "accumulates") || ctx.useCount(x) > 1) return undefined;
    const p = permOf(t);
    const result = op.results[0]!;
    const y = ctx.b.add1(op.name, [x], withAxis(op.attrs, p), {
      loc: op.loc,
      types: [{ ...result.type, shape: x.type.shape }],
      names: [result.name],
    });
    return [ctx.b.add1("layout.transpose", [y], { perm: p })];
  },
};

/** reshape(transpose(x, NHWC → NCHW), [N, C, …]) = transpose(reshape(x, [N, …, C]), N…C → NC…): patches become tokens in place. */
const sinkThroughReshape: Rule = {
  name: "sink-through-reshape",
  ops: ["layout.reshape"],
  rewrite: (op, [v], ctx) => {
    const t = transposeOf(v!, ctx);
    const to = op.results[0]!.type.shape;
    if (t === undefined || !leavesNhwc(permOf(t)) || to.length < 3) return undefined;
    if (permOf(t).some((a, i) => i > 1 && a !== i - 1)) return undefined;
    const [n, c, ...rest] = to as [number, number, ...number[]];
    if (n !== v!.type.shape[0] || c !== v!.type.shape[1]) return undefined;
    const y = ctx.b.add1("layout.reshape", t.operands, { shape: [n, ...rest, c] }, { loc: op.loc });
    const perm = [0, to.length - 1, ...rest.map((_, i) => i + 1)];
    return [ctx.b.add1("layout.transpose", [y], { perm }, { loc: op.loc, names: [op.results[0]!.name] })];
  },
};

/** The axis of `from` that a reshape turns into axis `a` of `to`: as long, with as many elements before it. */
function sourceAxis(from: readonly number[], to: readonly number[], a: number): number | undefined {
  const before = sizeOf(to.slice(0, a));
  const at = from.findIndex((d, i) => d === to[a] && sizeOf(from.slice(0, i)) === before);
  return at < 0 ? undefined : at;
}

/** f(reshape(x)) = reshape(f(x)) for elementwise f with one operand, if the channel axis survives or all channels are alike. */
const sinkReshape: Rule = {
  name: "sink-reshape",
  ops: ["qc.requant", "qc.threshold", "qc.table", "qc.clamp"],
  rewrite: (op, operands, ctx) => {
    const reshape = ctx.def(operands[0]!);
    if (operands.length !== 1 || reshape?.name !== "layout.reshape") return undefined;
    const lists = [
      ...((op.attrs.scales ?? []) as readonly Attr[][]),
      (op.attrs.offset ?? []) as readonly Attr[],
      (op.attrs.mirrored ?? []) as readonly Attr[],
    ];
    const x = reshape.operands[0]!;
    const result = op.results[0]!;
    let attrs = op.attrs;
    if (typeof op.attrs.axis === "number") {
      const uniform = lists.every((l) => l.length <= 1);
      const axis = uniform
        ? Math.max(0, x.type.shape.length - 1)
        : sourceAxis(x.type.shape, result.type.shape, op.attrs.axis);
      if (axis === undefined) return undefined;
      attrs = { ...op.attrs, axis };
    }
    const y = ctx.b.add1(op.name, [x], attrs, {
      loc: op.loc,
      types: [{ ...result.type, shape: x.type.shape }],
      names: [result.name],
    });
    return [ctx.b.add1("layout.reshape", [y], { shape: result.type.shape })];
  },
};

/** concat(transpose(x, p), …; a) = transpose(concat(x, …; p[a]), p). */
const sinkThroughConcat: Rule = {
  name: "sink-through-concat",
  ops: ["layout.concat"],
  rewrite: (op, operands, ctx) => {
    const ts = operands.map((v) => transposeOf(v, ctx));
    const first = ts.find((t) => t !== undefined && leavesNhwc(permOf(t)));
    if (first === undefined) return undefined;
    const p = permOf(first);
    if (operands.some((v) => !canMove(v, p, ctx))) return undefined;
    const moved = operands.map((v, i) => {
      const t = ts[i];
      return t && samePerm(permOf(t), p)
        ? t.operands[0]!
        : ctx.b.add1("layout.transpose", [v], { perm: inverse(p) });
    });
    const y = ctx.b.add1(
      "layout.concat",
      moved,
      { axis: p[attr<number>(op, "axis")]! },
      { loc: op.loc, names: [op.results[0]!.name] },
    );
    return [ctx.b.add1("layout.transpose", [y], { perm: p })];
  },
};

/** Attributes of a one-operand movement op on the tensor before transpose p. */
const movedAttrs: { readonly [name: string]: (attrs: Attrs, p: Perm) => Attrs } = {
  "layout.pad": (a, p) => ({ ...a, before: unpermute(a.before, p), after: unpermute(a.after, p) }),
  "layout.tile": (a, p) => ({ ...a, repeats: unpermute(a.repeats, p) }),
  "layout.expand": (a, p) => ({ ...a, shape: unpermute(a.shape, p) }),
  "layout.slice": (a, p) => ({ ...a, axes: (a.axes as readonly number[]).map((x) => p[x]!) }),
  "layout.gather": (a, p) => ({ ...a, axis: p[a.axis as number]! }),
  "qc.softmax": (a, p) => ({ ...a, axis: p[a.axis as number]! }),
  "qc.insert_channels": (a, p) => ({ ...a, axis: p[a.axis as number]! }),
};
const unpermute = (list: Attr | undefined, p: Perm): number[] =>
  inverse(p).map((i) => (list as readonly number[])[i]!);

/** m(transpose(x, p)) = transpose(m′(x), p) for data movement along axes, and softmax. */
const sinkThroughMovement: Rule = {
  name: "sink-through-movement",
  ops: Object.keys(movedAttrs),
  rewrite: (op, [v], ctx) => {
    const t = transposeOf(v!, ctx);
    if (
      t === undefined ||
      !leavesNhwc(permOf(t)) ||
      op.results[0]!.type.shape.length !== v!.type.shape.length
    )
      return undefined;
    const p = permOf(t);
    const result = op.results[0]!;
    const shape = inverse(p).map((i) => result.type.shape[i]!);
    const y = ctx.b.add1(op.name, t.operands, movedAttrs[op.name]!(op.attrs, p), {
      loc: op.loc,
      types: [{ ...result.type, shape }],
      names: [result.name],
    });
    return [ctx.b.add1("layout.transpose", [y], { perm: p })];
  },
};

/** Σ over axes of transpose(x, p) = transpose(Σ over p[axes] of x). */
const sinkThroughReduce: Rule = {
  name: "sink-through-reduce",
  ops: ["qc.reduce_sum"],
  rewrite: (op, [v], ctx) => {
    const t = transposeOf(v!, ctx);
    if (t === undefined) return undefined;
    const p = permOf(t);
    const axes = attr<readonly number[]>(op, "axes");
    const keepdims = attr<boolean>(op, "keepdims");
    const moved = axes.map((a) => p[a]!).toSorted((a, b) => a - b);
    const result = op.results[0]!;
    const kept = p.filter((_, i) => !axes.includes(i));
    const order = kept.toSorted((a, b) => a - b);
    const source = t.operands[0]!.type.shape;
    const shape = keepdims ? source.map((d, i) => (moved.includes(i) ? 1 : d)) : order.map((i) => source[i]!);
    const y = ctx.b.add1(
      "qc.reduce_sum",
      t.operands,
      { axes: moved, keepdims },
      { loc: op.loc, types: [{ ...result.type, shape }], names: [result.name] },
    );
    return [ctx.b.add1("layout.transpose", [y], { perm: keepdims ? p : kept.map((a) => order.indexOf(a)) })];
  },
};

/** reshape(transpose(x, NHWC → NCHW)) · W = reshape(x) · W with its rows in NHWC order. */
const permuteWeightRows: Rule = {
  name: "permute-weight-rows",
  ops: ["qc.matmul"],
  rewrite: (op, [a, b], ctx) => {
    const flat = ctx.def(a!);
    const weights = ctx.def(b!);
    if (flat?.name !== "layout.reshape" || weights?.name !== "const" || b!.type.shape.length !== 2)
      return undefined;
    if (attr<boolean>(op, "transpose_b")) return undefined;
    const t = transposeOf(flat.operands[0]!, ctx);
    if (t === undefined) return undefined;
    const p = permOf(t);
    const from = flat.operands[0]!.type.shape;
    const to = flat.results[0]!.type.shape;
    if (p[0] !== 0 || to.length !== 2 || to[0] !== from[0]) return undefined;
    const n = b!.type.shape[1]!;
    // Rows of W as [C, H, W, N] → the order of x's axes.
    const tail = from.slice(1);
    const back = inverse(p)
      .slice(1)
      .map((i) => i - 1);
    const wide = ctx.b.add1("layout.reshape", [b!], { shape: [...tail, n] });
    const turned = ctx.b.add1("layout.transpose", [wide], { perm: [...back, tail.length] });
    const rows = ctx.b.add1("layout.reshape", [turned], { shape: b!.type.shape });
    const x = ctx.b.add1("layout.reshape", t.operands, { shape: to });
    return [
      ctx.b.add1("qc.matmul", [x, rows], op.attrs, {
        loc: op.loc,
        types: [op.results[0]!.type],
        names: [op.results[0]!.name],
      }),
    ];
  },
};

export const layoutNhwc = definePass({
  name: "layout-nhwc",
  summary:
    "Sink transposes that leave NHWC until they cancel, fold into constants, or reach the graph's edge.",
  rules: [
    foldConstants,
    mergeTransposes,
    unitTranspose,
    mergeReshapes,
    permuteWeightRows,
    sinkThroughElementwise,
    sinkThroughFloat,
    extremesOfTransposed,
    sinkBehindAccumulator,
    sinkReshape,
    sinkThroughReshape,
    sinkThroughConcat,
    sinkThroughMovement,
    sinkThroughReduce,
  ],
});
