/**
 * Weights quantized in blocks. A sum over them is cut where the grid changes: every part is a product of plain integers with one
 * scale per output, and the parts are terms of one exact sum.
 */
import { blockedTensor } from "../../ir/messages-blocks.ts";
import type { Dense, Elements, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { opDef } from "../../ir/ops/index.ts";
import { blockIndex } from "../../ir/ops/quant-blocks.ts";
import { fromNumber, isInteger, mul, type Rational, rational, sign, sub } from "../../ir/rational.ts";
import { I32, sizeOf, tensor } from "../../ir/types.ts";
import { type Context, poison } from "./context.ts";
import { type Constant, collapse, type GridBlocks, type Rep } from "./rep.ts";

const constantOf = (ctx: Context, v: Value): Dense | undefined => {
  const made = ctx.definition(v);
  return made?.name === "const" ? attr<Dense>(made, "value") : undefined;
};

/** The rational grid of a constant in blocks; one that turns out to have one scale per index of an axis is a plain one. */
export function liftBlocks(ctx: Context, op: Op): Rep {
  const { shape } = op.results[0]!.type;
  const [q, scales, zeros] = op.operands.map((v) => constantOf(ctx, v));
  if (q?.elem.kind !== "int" || scales === undefined || zeros === undefined) {
    ctx.report(blockedTensor(op, op.operands[0]!));
    return poison(shape);
  }
  const axis = attr<number>(op, "axis");
  const blocks: GridBlocks = {
    q: q.data,
    elem: q.elem,
    scales: Array.from(scales.data, fromNumber),
    zeros: Array.from(zeros.data, fromNumber),
    element: (i) => i,
    block: blockIndex(shape, axis, attr<number>(op, "block")),
  };
  const grid = plainGrid(blocks, shape, axis, scales.shape);
  return { ...blocked(blocks, shape), ...(grid && { grid }), ...(op.loc ? { loc: op.loc } : {}) };
}

const blocked = (blocks: GridBlocks, shape: readonly number[]): Constant => ({
  kind: "constant",
  shape,
  at: (i) =>
    mul(
      sub(rational(blocks.q[blocks.element(i)]!), blocks.zeros[blocks.block(i)]!),
      blocks.scales[blocks.block(i)]!,
    ),
  blocks,
});

/** One block along the axis, and one other axis at most: a scale for the tensor, or per index of that axis. */
function plainGrid(
  { q, scales, zeros, block }: GridBlocks,
  shape: readonly number[],
  axis: number,
  counts: readonly number[],
): Constant["grid"] {
  const others = shape.flatMap((d, a) => (a !== axis && d > 1 ? [a] : []));
  if (counts[axis] !== 1 || others.length > 1) return undefined;
  if (!zeros.every(isInteger) || !scales.every((s) => sign(s) > 0)) return undefined;
  const data = Int32Array.from(q, (x, i) => x - Number(zeros[block(i)]!.num));
  return { q: data, scale: collapse(scales), axis: others[0] ?? 0 };
}

/** Data movement of a constant in blocks: its indices move. */
export function moveBlocks(op: Op, c: Constant, blocks: GridBlocks): Constant | undefined {
  const type = tensor(c.shape, I32);
  const { shape } = op.results[0]!.type;
  if (op.name === "layout.pad") return undefined;
  const indices = {
    ...type,
    kind: "dense" as const,
    elem: I32,
    data: Int32Array.from({ length: sizeOf(c.shape) }, (_, i) => i),
  };
  const [moved] = opDef(op.name).evaluate([indices], op.attrs, [tensor(shape, I32)], [type]);
  const from = moved!.data;
  return {
    ...blocked(
      {
        ...blocks,
        element: (i) => blocks.element(from[i]!),
        block: (i) => blocks.block(from[i]!),
      },
      shape,
    ),
    ...(op.loc ? { loc: op.loc } : {}),
  };
}

/** Rows `from` … `to` − 1 of a K × N matrix share a grid per column. */
export interface Run {
  readonly from: number;
  readonly to: number;
  /** Per column. */
  readonly scales: readonly Rational[];
  readonly zeros: readonly Rational[];
}

/** The longest runs of rows of a K × N matrix in blocks. */
export function runsOf({ block, scales, zeros }: GridBlocks, k: number, n: number): Run[] {
  const runs: Run[] = [];
  for (let from = 0, row = 1; row <= k; row++) {
    if (row < k && sameRow(block, row, n)) continue;
    const ids = Array.from({ length: n }, (_, c) => block(from * n + c));
    runs.push({ from, to: row, scales: ids.map((b) => scales[b]!), zeros: ids.map((b) => zeros[b]!) });
    from = row;
  }
  return runs;
}

/** Whether a row's blocks are those of the row before. */
function sameRow(block: GridBlocks["block"], row: number, n: number): boolean {
  for (let c = 0; c < n; c++) if (block(row * n + c) !== block((row - 1) * n + c)) return false;
  return true;
}

/** Convolution weights OI… whose grids agree, zero elsewhere; input channels `from` … `to` − 1 of the group. */
export interface ConvPart {
  readonly q: Elements;
  readonly shape: readonly number[];
  readonly scale: readonly Rational[];
  readonly from: number;
  readonly to: number;
}

/** Weights in blocks, cut by the grid of their taps and channels; undefined for zero points that are no integers. */
export function convParts(c: Constant, blocks: GridBlocks, narrow: boolean): ConvPart[] | undefined {
  if (!blocks.zeros.every(isInteger)) return undefined;
  const [o, i] = c.shape as [number, number, ...number[]];
  const taps = sizeOf(c.shape.slice(2));
  const depth = i * taps;
  const classes = new Map<string, number[]>();
  for (let r = 0; r < depth; r++) {
    const key = Array.from({ length: o }, (_, out) => blocks.block(out * depth + r)).join();
    classes.set(key, [...(classes.get(key) ?? []), r]);
  }
  return [...classes.values()].map((positions): ConvPart => {
    const channels = positions.map((r) => Math.floor(r / taps));
    const [from, to] = narrow ? [Math.min(...channels), Math.max(...channels) + 1] : [0, i];
    const width = (to - from) * taps;
    const q = new Int32Array(o * width);
    for (let out = 0; out < o; out++)
      for (const r of positions) {
        const at = out * depth + r;
        q[out * width + r - from * taps] =
          blocks.q[blocks.element(at)]! - Number(blocks.zeros[blocks.block(at)]!.num);
      }
    const scale = Array.from(
      { length: o },
      (_, out) => blocks.scales[blocks.block(out * depth + positions[0]!)]!,
    );
    return { q, shape: [o, to - from, ...c.shape.slice(2)], scale, from, to };
  });
}
