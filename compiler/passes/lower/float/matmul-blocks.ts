/**
 * Float matrix products with weights quantized in blocks, which stay packed at their width: a panel of eight columns is spread out to
 * floats in registers, for up to four rows at a time.
 */
import { add, c32, type Expr, konst, load, op, scale } from "../../../ir/kernel/ir.ts";
import type { Dense } from "../../../ir/module.ts";
import { attr } from "../../../ir/op.ts";
import { type Block, bytesOf, createKernel } from "../block.ts";
import { operandLayout, paramBuffers } from "../elementwise.ts";
import { type Axis, collapse, nest } from "../elementwise-load.ts";
import { constantOf, stepsOf } from "../epilogue-stage.ts";
import { storeElements } from "../epilogue-store.ts";
import type { Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import { f, fadd, fmul, fsub, splatLoad, toFloat } from "./lanes.ts";
import { pieces } from "./matmul.ts";

const ROWS = 4;
const COLUMNS = 8;
const VECTOR = 16;

/** Weights of one matrix, packed. */
interface Panels {
  /** Bits of an integer: 2, 4 or 8. */
  readonly bits: number;
  /** [panel][chunk] vectors of `depth` × 8 integers, row 2p of the chunk in the low half of bit plane p, row 2p + 1 in the high one. */
  readonly codes: string;
  readonly depth: number;
  /** Chunks of a whole block, and of a panel. */
  readonly perBlock: number;
  readonly chunks: number;
  /** [panel][block][8] */
  readonly scales: string;
  /** [panel][block][8]: bytes, or floats where they are no integers. */
  readonly zeros: string;
  readonly floatZeros: boolean;
  readonly blocks: number;
}

export function lowerMatmulBlocks(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "float.matmul_blocks" || rest.length > 0) return undefined;
  const constants = root.operands.slice(1).map((v) => constantOf(stage, v));
  if (!constants.every((c) => c !== undefined)) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  const [q, scales, zeros] = constants as [Dense, Dense, Dense];
  const block = Math.min(attr<number>(root, "block"), q.shape[1]!);
  const panels = packPanels(k.block, q, scales, zeros, block);
  const rows = y.shape.slice(0, -1).map((size, i): Axis => ({ size, steps: [x.strides[i]!, y.strides[i]!] }));
  const axes = collapse(rows);
  const [outer, run]: readonly [readonly Axis[], Axis] =
    axes.length === 0 ? [[], { size: 1, steps: [0, 0] }] : [axes.slice(0, -1), axes.at(-1)!];
  if (!y.shape.includes(0))
    nest(k.block, outer, [c32(0), c32(0)], (b, [from, to]) => {
      product(b, x, y, run, q.shape as [number, number], block, panels, [from!, to!]);
    });
  return k.finish(paramBuffers(stage), [y.buffer]);
}

/** Integers as codes from 0 on, a whole number of vectors per block and panel of eight rows of q. */
function packPanels(b: Block, q: Dense, scales: Dense, zeros: Dense, block: number): Panels {
  const [n, k] = q.shape as [number, number];
  const type = q.elem.kind === "int" ? q.elem : { signed: true, bits: 8 };
  const bits = type.bits <= 2 ? 2 : type.bits <= 4 ? 4 : 8;
  const lift = type.signed ? 2 ** (bits - 1) : 0;
  const depth = VECTOR / bits;
  const blocks = Math.ceil(k / block);
  const perBlock = Math.ceil(block / depth);
  const chunks = (blocks - 1) * perBlock + Math.ceil((k - (blocks - 1) * block) / depth);
  const count = Math.ceil(n / COLUMNS);
  const codes = new Uint8Array(count * chunks * VECTOR);
  for (let row = 0; row < n; row++)
    for (let i = 0; i < k; i++) {
      const of = Math.floor(i / block);
      const inside = i - of * block;
      const chunk = Math.floor(row / COLUMNS) * chunks + of * perBlock + Math.floor(inside / depth);
      const at = inside % depth;
      const byte = chunk * VECTOR + (at % 2) * COLUMNS + (row % COLUMNS);
      codes[byte]! |= (q.data[row * k + i]! + lift) << (bits * (at >> 1));
    }
  const perPanel = (list: ArrayLike<number>, plus: number): Float64Array => {
    const out = new Float64Array(count * blocks * COLUMNS);
    for (let row = 0; row < n; row++)
      for (let of = 0; of < blocks; of++)
        out[(Math.floor(row / COLUMNS) * blocks + of) * COLUMNS + (row % COLUMNS)] =
          list[row * blocks + of]! + plus;
    return out;
  };
  const shifted = perPanel(zeros.data, lift);
  const floatZeros = !shifted.every((z) => Number.isInteger(z) && z >= 0 && z <= 255);
  return {
    bits,
    codes: b.constant(codes, "codes"),
    depth,
    perBlock,
    chunks,
    scales: b.constant(bytesOf(perPanel(scales.data, 0), "f32"), "scales"),
    zeros: b.constant(bytesOf(shifted, floatZeros ? "f32" : "u8"), "zeros"),
    floatZeros,
    blocks,
  };
}

/** The grid of a block's columns, in registers. */
interface Grid {
  readonly scales: readonly Expr[];
  /** Eight integers, or twice four floats. */
  readonly zeros: readonly Expr[];
}

function gridAt(b: Block, p: Panels, scalesAt: Expr, zerosAt: Expr): Grid {
  const four = (buffer: string, at: Expr, hint: string): Expr[] =>
    [0, VECTOR].map((offset) => b.bind(load("i32x4", buffer, at, offset), hint));
  const bytes = (): Expr => b.bind(load("i16x8", p.zeros, zerosAt, 0, "load8x8_u"), "z");
  return {
    scales: four(p.scales, scalesAt, "s"),
    zeros: p.floatZeros ? four(p.zeros, zerosAt, "z") : [bytes()],
  };
}

/** The eight weights of row `k` of a chunk. */
function weightsOf(b: Block, p: Panels, planes: readonly Expr[], k: number, grid: Grid): Expr[] {
  const codes = op(k % 2 === 0 ? "extend_low_u.i16x8" : "extend_high_u.i16x8", [planes[k >> 1]!]);
  const whole = p.floatZeros ? codes : op("sub.i16x8", [codes, grid.zeros[0]!]);
  const ints = b.bind(whole, "q");
  return (["extend_low_s.i32x4", "extend_high_s.i32x4"] as const).map((half, h) => {
    const value = toFloat(op(half, [ints]));
    return b.bind(fmul(p.floatZeros ? fsub(value, grid.zeros[h]!) : value, grid.scales[h]!), "w");
  });
}

/** Bit planes of the vector at `at`: those that `count` rows of the chunk need. */
function planesAt(b: Block, p: Panels, at: Expr, count: number): Expr[] {
  const codes = b.bind(load("i8x16", p.codes, at, 0), "codes");
  const last = 8 / p.bits - 1;
  const mask = konst("i8x16", 2 ** p.bits - 1);
  return Array.from({ length: Math.ceil(count / 2) }, (_, i) => {
    const shifted = i === 0 ? codes : op("shr_u.i8x16", [codes], [i * p.bits]);
    return i === last ? shifted : b.bind(op("and.i8x16", [shifted, mask]), "plane");
  });
}

function product(
  block: Block,
  x: Layout,
  y: Layout,
  rows: Axis,
  [n, k]: readonly [number, number],
  size: number,
  p: Panels,
  [from, to]: readonly [Expr, Expr],
): void {
  const [xRow, yRow] = rows.steps as [number, number];
  const zeroBytes = p.floatZeros ? 4 : 1;
  pieces(block, n, COLUMNS, (byPanel, column, columns) => {
    // Panels begin at multiples of eight columns.
    const at = (step: number): Expr => byPanel.bind(scale(column, step / COLUMNS), "at");
    const codes = at(p.chunks * VECTOR);
    const scales = at(p.blocks * COLUMNS * 4);
    const zeros = at(p.blocks * COLUMNS * zeroBytes);
    const target = byPanel.bind(add(to, scale(column, 4)), "y");
    pieces(byPanel, rows.size, ROWS, (tile, i, count) => {
      const first = tile.bind(add(from, scale(i, xRow)), "x");
      const groups = Math.ceil(columns / 4);
      const acc = Array.from({ length: count }, () =>
        Array.from({ length: groups }, () => tile.variable(f(0), "acc")),
      );
      const chunk = (b: Block, xAt: Expr, codesAt: Expr, depth: number, grid: Grid): void => {
        const planes = planesAt(b, p, codesAt, depth);
        for (let d = 0; d < depth; d++) {
          const w = weightsOf(b, p, planes, d, grid);
          acc.forEach((list, r) => {
            const v = b.bind(splatLoad(x.buffer, xAt, x.offset + r * xRow + 4 * d), "v");
            list.forEach((sum, g) => {
              b.set(sum, fadd(sum.ref, fmul(v, w[g]!)));
            });
          });
        }
      };
      const sums = (b: Block, starts: readonly Expr[], length: number): void => {
        const [xAt, codesAt, scalesAt, zerosAt] = starts as [Expr, Expr, Expr, Expr];
        const grid = gridAt(b, p, scalesAt, zerosAt);
        const whole = Math.floor(length / p.depth);
        if (whole > 0)
          nest(b, [{ size: whole, steps: [4 * p.depth, VECTOR] }], [xAt, codesAt], (inner, [a, c]) => {
            chunk(inner, a!, c!, p.depth, grid);
          });
        const rest = length - whole * p.depth;
        if (rest === 0) return;
        const after = (e: Expr, bytes: number): Expr => (bytes === 0 ? e : b.bind(add(e, c32(bytes)), "at"));
        chunk(b, after(xAt, whole * 4 * p.depth), after(codesAt, whole * VECTOR), rest, grid);
      };
      const steps = [4 * size, p.perBlock * VECTOR, COLUMNS * 4, COLUMNS * zeroBytes];
      const whole = Math.floor(k / size);
      const starts = [first, codes, scales, zeros];
      if (whole > 0)
        nest(tile, [{ size: whole, steps }], starts, (b, addresses) => {
          sums(b, addresses, size);
        });
      if (k > whole * size)
        sums(
          tile,
          starts.map((s, a) => (whole === 0 ? s : tile.bind(add(s, c32(whole * steps[a]!)), "at"))),
          k - whole * size,
        );
      const place = tile.bind(add(target, scale(i, yRow)), "to");
      acc.forEach((list, r) => {
        storeElements(
          tile,
          y,
          place,
          y.offset + r * yRow,
          list.map((sum) => sum.ref),
          columns,
        );
      });
    });
  });
}
