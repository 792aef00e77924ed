/** Sampling at positions of the run: the elements around them, by flat index, in weighted sums. */
import { badOperands, unsupportedAttribute } from "../../../ir/messages.ts";
import { sizeOf } from "../../../ir/types.ts";
import { makeConstant } from "../../constants.ts";
import { elementwise, move, real, reshape } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { constantInts, flagAttr, input, type NodeImport, reject, stringAttr } from "../../node-import.ts";
import { constantOperand, type Operand } from "../../operand.ts";
import { castFloats } from "./constant.ts";
import { scalar } from "./elementwise.ts";
import { pick } from "./indexing.ts";
import { arithmetic } from "./int-arithmetic.ts";
import { both, choose, compare, numberLike } from "./logic.ts";

const op = (n: NodeImport, name: string, ...xs: readonly Operand[]): Operand =>
  elementwise(n, `float.${name}`, xs);

/** Elements per unit between the ends of an axis: corners, or the middles of the first and last element. */
function unnormalized(n: NodeImport, g: Operand, size: number, aligned: boolean): Operand {
  const half = aligned ? (size - 1) / 2 : size / 2;
  const moved = op(n, "mul", op(n, "add", g, scalar(g, 1)), scalar(g, half));
  return aligned ? moved : op(n, "sub", moved, scalar(g, 0.5));
}

/** x folded back into lo … hi, as between two mirrors. */
function reflected(n: NodeImport, x: Operand, lo: number, hi: number): Operand {
  const width = hi - lo;
  if (width <= 0) return op(n, "mul", x, scalar(x, 0));
  const d = op(n, "abs", op(n, "sub", x, scalar(x, lo)));
  const turns = op(n, "floor", op(n, "div", d, scalar(x, 2 * width)));
  const rest = op(n, "sub", d, op(n, "mul", turns, scalar(x, 2 * width)));
  const back = op(n, "min", rest, op(n, "sub", scalar(x, 2 * width), rest));
  return op(n, "add", back, scalar(x, lo));
}

interface Sampling {
  readonly padding: string;
  readonly aligned: boolean;
}

const limit = (n: NodeImport, x: Operand, size: number): Operand =>
  op(n, "min", op(n, "max", x, scalar(x, 0)), scalar(x, size - 1));

/** Where a position that was computed lies once the padding has had its say. */
function padded(n: NodeImport, x: Operand, size: number, { padding, aligned }: Sampling): Operand {
  if (padding === "zeros") return x;
  if (padding === "border") return limit(n, x, size);
  const mirrored = aligned ? reflected(n, x, 0, size - 1) : reflected(n, x, -0.5, size - 0.5);
  return limit(n, mirrored, size);
}

/** One element per axis, whole numbers as floats: its index, and whether it is inside. */
interface Tap {
  readonly at: Operand;
  readonly inside: Operand;
  readonly weight: Operand | undefined;
}

function tap(n: NodeImport, whole: Operand, size: number, weight: Operand | undefined): Tap {
  const inside = both(
    n,
    compare(n, "less_equal", scalar(whole, 0), whole),
    compare(n, "less_equal", whole, scalar(whole, size - 1)),
  );
  return { at: castFloats(n, limit(n, whole, size), size - 1), inside, weight };
}

/** Keys' cubic convolution with a = −3/4 at distance |d|. */
function cubic(n: NodeImport, d: Operand, outer: boolean): Operand {
  const a = -0.75;
  const horner = (...c: readonly number[]): Operand =>
    c.slice(1).reduce<Operand>((y, k) => op(n, "add", op(n, "mul", y, d), scalar(d, k)), scalar(d, c[0]!));
  return outer ? horner(a, -5 * a, 8 * a, -4 * a) : horner(a + 2, -(a + 3), 0, 1);
}

function tapsOf(n: NodeImport, x: Operand, size: number, mode: string, s: Sampling): readonly Tap[] {
  if (mode === "nearest") return [tap(n, op(n, "round", padded(n, x, size, s)), size, undefined)];
  const at = mode === "linear" ? padded(n, x, size, s) : x;
  const base = op(n, "floor", at);
  const t = op(n, "sub", at, base);
  const shifted = (k: number): Operand => op(n, "add", base, scalar(base, k));
  if (mode === "linear")
    return [tap(n, base, size, op(n, "sub", scalar(t, 1), t)), tap(n, shifted(1), size, t)];
  return [-1, 0, 1, 2].map((k) => {
    const d = op(n, "abs", op(n, "sub", t, scalar(t, k)));
    return tap(n, padded(n, shifted(k), size, s), size, cubic(n, d, k === -1 || k === 2));
  });
}

/** Every choice of one tap per axis. */
const product = (axes: readonly (readonly Tap[])[]): readonly (readonly Tap[])[] =>
  axes.reduce<readonly (readonly Tap[])[]>(
    (all, taps) => all.flatMap((c) => taps.map((t) => [...c, t])),
    [[]],
  );

const MODES: { readonly [mode: string]: string } = {
  bilinear: "linear",
  linear: "linear",
  bicubic: "cubic",
  cubic: "cubic",
  nearest: "nearest",
};

const gridSample: Importer = {
  op: "GridSample",
  since: 16,
  inputs: [2, 2],
  attributes: { mode: "string", padding_mode: "string", align_corners: "int" },
  run: (n) => {
    const [x, grid] = [input(n, 0), input(n, 1)];
    const rank = x.shape.length - 2;
    const [batch, channels, ...sizes] = x.shape as [number, number, ...number[]];
    if (rank < 1 || grid.shape.length !== rank + 2 || grid.shape.at(-1) !== rank || grid.shape[0] !== batch)
      reject(badOperands(n.loc, "the grid does not fit the operand", []));
    const stated = stringAttr(n, "mode", n.opset < 20 ? "bilinear" : "linear");
    const mode =
      MODES[stated] ?? reject(unsupportedAttribute(n.loc, "mode", `${JSON.stringify(stated)} is unknown`));
    const padding = stringAttr(n, "padding_mode", "zeros");
    if (!["zeros", "border", "reflection"].includes(padding))
      reject(unsupportedAttribute(n.loc, "padding_mode", `${JSON.stringify(padding)} is unknown`));
    const s: Sampling = { padding, aligned: flagAttr(n, "align_corners", false) };
    const places = grid.shape.slice(1, -1);
    const points = sizeOf(places);
    // The last coordinate is that of the first spatial axis.
    const taps = sizes.map((size, a) => {
      const k = rank - 1 - a;
      const part = move(n, "layout.slice", [grid], {
        starts: [k],
        ends: [k + 1],
        steps: [1],
        axes: [rank + 1],
      });
      const g = reshape(n, part, [batch, points]);
      return tapsOf(n, unnormalized(n, g, size, s.aligned), size, mode, s);
    });
    // [batch, elements, channels], so that one index takes all channels.
    const elements = sizeOf(sizes);
    const rows = move(n, "layout.transpose", [reshape(n, x, [batch, channels, elements])], {
      perm: [0, 2, 1],
    });
    const terms = product(taps).map((chosen) => {
      const flat = chosen.reduce<Operand | undefined>((at, t, a) => {
        if (at === undefined) return t.at;
        return arithmetic(n, "int.add", arithmetic(n, "int.mul", at, numberLike(at, sizes[a]!)), t.at);
      }, undefined)!;
      const index = reshape(n, flat, [batch, points, 1]);
      const taken = pick(n, "index.gather_nd", rows, index, { batch: 1 });
      const weights = chosen.flatMap((t) => (t.weight ? [t.weight] : []));
      const all = weights.length === 0 ? undefined : weights.reduce((a, b) => op(n, "mul", a, b));
      const wide = (o: Operand): Operand => reshape(n, o, [batch, points, 1]);
      const weighted = all === undefined ? taken : op(n, "mul", taken, wide(all));
      if (padding !== "zeros") return weighted;
      const inside = chosen.map((t) => t.inside).reduce((a, b) => both(n, a, b));
      return choose(n, wide(inside), weighted, scalar(x, 0));
    });
    const sum = terms.reduce((a, b) => op(n, "add", a, b));
    const back = move(n, "layout.transpose", [sum], { perm: [0, 2, 1] });
    return reshape(n, back, [batch, channels, ...places]);
  },
};

/** Positions of a regular grid, [points, rank + 1]: the last coordinate first, and 1. */
function regular(sizes: readonly number[], aligned: boolean): Float64Array {
  const rank = sizes.length;
  const out = new Float64Array(sizeOf(sizes) * (rank + 1));
  for (let p = 0; p < sizeOf(sizes); p++) {
    let rest = p;
    for (let a = rank - 1; a >= 0; a--) {
      const [i, d] = [rest % sizes[a]!, sizes[a]!];
      rest = Math.floor(rest / d);
      const at = aligned ? (d === 1 ? 0 : -1 + (2 * i) / (d - 1)) : (2 * i + 1) / d - 1;
      out[p * (rank + 1) + (rank - 1 - a)] = Math.fround(at);
    }
    out[p * (rank + 1) + rank] = 1;
  }
  return out;
}

const affineGrid: Importer = {
  op: "AffineGrid",
  since: 20,
  inputs: [2, 2],
  attributes: { align_corners: "int" },
  run: (n) => {
    const theta = input(n, 0);
    const [batch, , ...sizes] = constantInts(n, input(n, 1), "size");
    const rank = sizes.length;
    if (batch === undefined || theta.shape.join() !== [batch, rank, rank + 1].join())
      return reject(badOperands(n.loc, "the size does not fit theta", []));
    const points = regular(sizes, flagAttr(n, "align_corners", false));
    const base = constantOperand(makeConstant("float32", [sizeOf(sizes), rank + 1], points));
    const turned = move(n, "layout.transpose", [theta], { perm: [0, 2, 1] });
    return reshape(n, real(n, "float.matmul", [base, turned]), [batch, ...sizes, rank]);
  },
};

export const gridSampleImporters: readonly Importer[] = [gridSample, affineGrid];
