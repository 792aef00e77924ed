/** Gathers and scatters by indices of the run, and running sums: one element or one run of neighbours after another. */
import { add, c32, type Expr, op, scale, store } from "../../../ir/kernel/ir.ts";
import type { Op } from "../../../ir/module.ts";
import { attr } from "../../../ir/op.ts";
import type { ScatterReduction } from "../../../ir/ops/index-select.ts";
import { type Block, createKernel } from "../block.ts";
import { operandLayout, paramBuffers } from "../elementwise.ts";
import { type Axis, loadScalar, nest } from "../elementwise-load.ts";
import { stepsOf } from "../epilogue-stage.ts";
import { fillHalo } from "../halo.ts";
import type { Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import { f, fadd, fmax, fmin, fmul, splatLoad } from "./lanes.ts";
import { copyAxes, inside, storeScalar } from "./scalar.ts";

/** What a family writes: its operands' layouts and the result's. */
type Body = (b: Block, root: Op, operands: readonly Layout[], y: Layout) => void;

const range = (n: number, from = 0): number[] => Array.from({ length: Math.max(n, 0) }, (_, i) => from + i);

/** The axes of x in y: `pairs` of an axis of x and the axis of y it is. */
const together = (x: Layout, y: Layout, pairs: readonly (readonly [number, number])[]): Axis[] =>
  pairs.map(([a, c]) => ({ size: x.shape[a]!, steps: [x.strides[a]!, y.strides[c]!] }));

const gather: Body = (b, root, [x, indices], y) => {
  const axis = attr<number>(root, "axis");
  const rank = indices!.shape.length;
  const outer = together(
    x!,
    y,
    range(axis).map((a) => [a, a]),
  );
  const inner = together(
    x!,
    y,
    range(x!.shape.length - axis - 1, axis + 1).map((a) => [a, a - 1 + rank]),
  );
  const picks: Axis[] = indices!.shape.map((size, a) => ({
    size,
    steps: [indices!.strides[a]!, y.strides[axis + a]!],
  }));
  nest(b, outer, [c32(0), c32(0)], (c, [from, to]) => {
    nest(c, picks, [c32(0), to!], (d, [at, place]) => {
      const k = d.bind(inside(d.bind(loadScalar(indices!, at!, indices!.offset), "i"), x!.shape[axis]!), "k");
      const start = d.bind(add(from!, scale(k, x!.strides[axis]!)), "from");
      copyAxes(d, x!, start, y, place!, inner);
    });
  });
};

/** Every position of the indices, with the place it stands for in x: another index along `axis`. */
function eachElement(
  b: Block,
  x: Layout,
  indices: Layout,
  other: Layout,
  axis: number,
  body: (b: Block, inX: Expr, inOther: Expr) => void,
): void {
  const axes = indices.shape.map(
    (size, a): Axis => ({
      size,
      steps: [indices.strides[a]!, other.strides[a]!, a === axis ? 0 : x.strides[a]!],
    }),
  );
  nest(b, axes, [c32(0), c32(0), c32(0)], (c, [at, place, from]) => {
    const k = c.bind(inside(c.bind(loadScalar(indices, at!, indices.offset), "i"), x.shape[axis]!), "k");
    body(c, c.bind(add(from!, scale(k, x.strides[axis]!)), "in_x"), place!);
  });
}

const gatherElements: Body = (b, root, [x, indices], y) => {
  eachElement(b, x!, indices!, y, attr<number>(root, "axis"), (c, from, to) => {
    storeScalar(c, y, to, loadScalar(x!, from, x!.offset));
  });
};

/** Every tuple of indices, with where it points to in x and where `other` has its part. */
function eachTuple(
  b: Block,
  x: Layout,
  indices: Layout,
  other: Layout,
  batch: number,
  body: (b: Block, inX: Expr, inOther: Expr) => void,
): void {
  const depth = indices.shape.at(-1)!;
  const axes = indices.shape.slice(0, -1).map(
    (size, a): Axis => ({
      size,
      steps: [indices.strides[a]!, other.strides[a]!, a < batch ? x.strides[a]! : 0],
    }),
  );
  nest(b, axes, [c32(0), c32(0), c32(0)], (c, [at, place, from]) => {
    let start = from!;
    for (let d = 0; d < depth; d++) {
      const given = c.bind(loadScalar(indices, at!, indices.offset + d * indices.strides.at(-1)!), "i");
      const k = c.bind(inside(given, x.shape[batch + d]!), "k");
      start = c.bind(add(start, scale(k, x.strides[batch + d]!)), "from");
    }
    body(c, start, place!);
  });
}

const gatherNd: Body = (b, root, [x, indices], y) => {
  const batch = attr<number>(root, "batch");
  const first = batch + indices!.shape.at(-1)!;
  const lead = indices!.shape.length - 1;
  const inner = together(
    x!,
    y,
    range(x!.shape.length - first, first).map((a) => [a, a - first + lead]),
  );
  eachTuple(b, x!, indices!, y, batch, (c, from, to) => {
    copyAxes(c, x!, from, y, to, inner);
  });
};

/** Joins one element of the updates with what is at a place of the result. */
function joiner(reduction: ScatterReduction, y: Layout, u: Layout, word: boolean) {
  return (b: Block, to: Expr, from: Expr): void => {
    if (reduction === "none") {
      storeScalar(b, y, to, loadScalar(u, from, u.offset));
      return;
    }
    if (y.container === "f32") {
      const join = { add: fadd, mul: fmul, min: fmin, max: fmax }[reduction];
      const value = join(splatLoad(y.buffer, to, y.offset), splatLoad(u.buffer, from, u.offset));
      b.push(store(y.buffer, to, value, { offset: y.offset, op: "store32_lane" }));
      return;
    }
    const old = b.bind(loadScalar(y, to, y.offset), "old");
    const given = b.bind(loadScalar(u, from, u.offset), "given");
    const less = op(word ? "lt_u.i32" : "lt_s.i32", [old, given]);
    const value = {
      add: () => op("add.i32", [old, given]),
      mul: () => op("mul.i32", [old, given]),
      min: () => op("select.i32", [old, given, less]),
      max: () => op("select.i32", [given, old, less]),
    }[reduction]();
    storeScalar(b, y, to, value);
  };
}

const isWord = (root: Op): boolean => {
  const { elem } = root.results[0]!.type;
  return elem.kind === "int" && !elem.signed && elem.bits === 32;
};

const every = (x: Layout): readonly (readonly [number, number])[] => range(x.shape.length).map((a) => [a, a]);

const scatterElements: Body = (b, root, [x, indices, u], y) => {
  copyAxes(b, x!, c32(0), y, c32(0), together(x!, y, every(x!)));
  const join = joiner(attr<ScatterReduction>(root, "reduction"), y, u!, isWord(root));
  eachElement(b, y, indices!, u!, attr<number>(root, "axis"), join);
};

const scatterNd: Body = (b, root, [x, indices, u], y) => {
  copyAxes(b, x!, c32(0), y, c32(0), together(x!, y, every(x!)));
  const join = joiner(attr<ScatterReduction>(root, "reduction"), y, u!, isWord(root));
  const depth = indices!.shape.at(-1)!;
  const lead = indices!.shape.length - 1;
  const inner = together(
    y,
    u!,
    range(y.shape.length - depth, depth).map((a) => [a, a - depth + lead]),
  );
  eachTuple(b, y, indices!, u!, 0, (c, to, from) => {
    nest(c, inner, [to, from], (d, [place, given]) => {
      join(d, place!, given!);
    });
  });
};

const cumulate: Body = (b, root, [x], y) => {
  const axis = attr<number>(root, "axis");
  const [product, exclusive] = [attr<boolean>(root, "product"), attr<boolean>(root, "exclusive")];
  const reverse = attr<boolean>(root, "reverse");
  const outer = together(
    x!,
    y,
    every(x!).filter(([a]) => a !== axis),
  );
  const size = x!.shape[axis]!;
  const steps = [x!.strides[axis]!, y.strides[axis]!];
  const float = x!.container === "f32";
  const start = product ? 1 : 0;
  nest(b, outer, [c32(0), c32(0)], (c, [from, to]) => {
    const sum = c.variable(float ? f(start) : c32(start), "sum");
    c.loop(0, size, 1, (turn, d) => {
      const index = reverse ? d.bind(op("sub.i32", [c32(size - 1), turn]), "i") : turn;
      const [at, place] = [from!, to!].map((e, k) => d.bind(add(e, scale(index, steps[k]!)), "at"));
      const value = d.bind(
        float ? splatLoad(x!.buffer, at!, x!.offset) : loadScalar(x!, at!, x!.offset),
        "x",
      );
      const joined = float
        ? (product ? fmul : fadd)(sum.ref, value)
        : op(product ? "mul.i32" : "add.i32", [sum.ref, value]);
      const next = d.bind(joined, "next");
      // Named: the variable changes before the store.
      const out = exclusive ? d.bind(op(float ? "or.i32x4" : "or.i32", [sum.ref, sum.ref]), "out") : next;
      d.set(sum, next);
      if (float) d.push(store(y.buffer, place!, out, { offset: y.offset, op: "store32_lane" }));
      else storeScalar(d, y, place!, out);
    });
  });
};

const bodies: { readonly [name: string]: Body } = {
  "index.gather": gather,
  "index.gather_elements": gatherElements,
  "index.gather_nd": gatherNd,
  "index.scatter_elements": scatterElements,
  "index.scatter_nd": scatterNd,
  "index.cumulate": cumulate,
};

export function lowerIndexSelect(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  const body = bodies[root?.name ?? ""];
  if (root === undefined || body === undefined || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const operands = root.operands.map((v) => operandLayout(stage, k.block, v));
  const moved = root.name.startsWith("index.scatter") ? [operands[0]!, operands[2]!] : [operands[0]!];
  if (moved.some((l) => (l.container === "f32") !== (y.container === "f32"))) return undefined;
  fillHalo(k.block, y);
  body(k.block, root, operands, y);
  return k.finish(paramBuffers(stage), [y.buffer]);
}
