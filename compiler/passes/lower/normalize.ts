/**
 * Normalization of rows. Twice over each row: exact sums and sums of squares, then two high products per element. What a row
 * multiplies with comes from 64-bit scalars in between.
 */
import { add, c32, type Expr, konst, load, op, scale } from "../../ir/kernel/ir.ts";
import type { Dense, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { headroom, NEWTON_STEPS, SEED } from "../../ir/ops/normalize-arithmetic.ts";
import { intMax, intMin, sizeOf } from "../../ir/types.ts";
import { type Block, bytesOf, createKernel, type Mutable } from "./block.ts";
import { constantLayout, operandLayout, paramBuffers } from "./elementwise.ts";
import {
  type Axis,
  broadcastStrides,
  collapse,
  loadGroups,
  nest,
  zeroAddresses,
} from "./elementwise-load.ts";
import { constantPool, siteAt } from "./epilogue-constants.ts";
import { packerFor } from "./epilogue-pack.ts";
import { stepsOf } from "./epilogue-stage.ts";
import { storeElements } from "./epilogue-store.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import type { Lowered, Stage } from "./stage.ts";
import { k64, wide64 } from "./wide.ts";

/** A row: loops over its runs, each of `length` neighbours in memory; steps are those of x, y and the parameters. */
interface Row {
  readonly n: number;
  readonly outer: readonly Axis[];
  readonly length: number;
  /** Whether factor and offset vary along a run. */
  readonly varies: boolean;
}

export function lowerNormalize(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "qc.normalize" || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const axis = attr<number>(root, "axis");
  const n = sizeOf(y.shape.slice(axis));
  if (!fits(root, n)) return undefined;
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  if (x.container === "i32") return undefined;
  const factor = constantLayout(k.block, wide(attr<Dense>(root, "factor")));
  const offset = constantLayout(k.block, wide(attr<Dense>(root, "offset")));
  const parameters = broadcastStrides(factor, y.shape);
  const axisOf = (a: number): Axis => ({
    size: y.shape[a]!,
    steps: [x.strides[a]!, y.strides[a]!, parameters[a]!],
  });
  const all = y.shape.map((_, a) => axisOf(a));
  fillHalo(k.block, y);
  if (y.shape.every((d) => d > 0)) {
    const runs = collapse(all.slice(axis));
    const sizes = [CONTAINER_BYTES[x.container], CONTAINER_BYTES[y.container], 4];
    const last = runs.at(-1);
    const dense = last?.steps.every((s, i) => s === sizes[i] || (i === 2 && s === 0));
    const [outer, run] = last && dense ? [runs.slice(0, -1), last] : [runs, { size: 1, steps: [0, 0, 0] }];
    const row = { n, outer, length: run.size, varies: run.steps[2] !== 0 };
    const emit = rowEmitter(k.block, root, x, y, factor, offset, row);
    nest(k.block, collapse(all.slice(0, axis)), zeroAddresses(3), emit);
  }
  return k.finish(paramBuffers(stage), [y.buffer]);
}

const wide = (d: Dense): Dense => ({ ...d, elem: { kind: "int", signed: true, bits: 32 } });

/** Whether differences fit 32 bits and variances 62, as `integerize` sees to. */
function fits(root: Op, n: number): boolean {
  const { elem } = root.operands[0]!.type;
  if (elem.kind !== "int" || elem.bits > 16) return false;
  const zero = attr<number>(root, "zero");
  const reach = Math.max(Math.abs(intMin(elem) - zero), Math.abs(intMax(elem) - zero), 2 ** elem.bits - 1);
  return n * reach < 2 ** 31;
}

type Emit = (b: Block, at: readonly Expr[]) => void;

function rowEmitter(
  block: Block,
  root: Op,
  x: Layout,
  y: Layout,
  factor: Layout,
  offset: Layout,
  row: Row,
): Emit {
  const zero = attr<number>(root, "zero_point");
  const pool = constantPool(block, 1, 4, "lanes");
  const [lo, hi] = [attr<number>(root, "lo"), attr<number>(root, "hi")];
  const shift = attr<number>(root, "shift");
  const size = CONTAINER_BYTES[y.container];
  // Beyond 16 bits a byte saturates whatever its zero point is.
  const pack = packerFor(y.container, { h: [zero], lo, hi, narrow: size === 1 ? "i16" : "i32" }, pool);
  const width = size === 1 ? 16 : 8;
  return (b, at) => {
    const { sum, squares } = rowSums(b, x, row, at[0]!);
    const s = rowScale(b, root, row.n, sum, squares, bias(x));
    nest(b, row.outer, at, (run, [from, to, par]) => {
      const splat = (l: Layout): Expr =>
        run.bind(op("splat.i32x4", [load("i32", l.buffer, par!, l.offset)]), "p");
      const still = row.varies ? undefined : [splat(factor), splat(offset)];
      const chunk = (inner: Block, start: Expr, count: number): void => {
        const place = (base: Expr, step: number): Expr => inner.bind(add(base, scale(start, step)), "at");
        const groups = Math.ceil(count / 4);
        const source = place(from!, CONTAINER_BYTES[x.container]);
        const p = still ? undefined : place(par!, 4);
        const v = loadGroups(inner, x, source, x.offset, groups).map((t, j) => {
          const d = op("sub.i32x4", [op("mul.i32x4", [t, s.count]), s.mean]);
          const u = inner.bind(op("mulhi_s.i32x4", [d, s.multiplier]), "u");
          const a = still ? still[0]! : load("i32x4", factor.buffer, p!, factor.offset + 16 * j);
          const c = still ? still[1]! : load("i32x4", offset.buffer, p!, offset.offset + 16 * j);
          const sum = op("add.i32x4", [op("mulhi_s.i32x4", [u, a]), c]);
          return { v: inner.bind(op("shr_s.i32x4", [sum], [shift]), "v"), j };
        });
        const per = 4 / size;
        while (v.length % per !== 0) v.push(v.at(-1)!);
        const site = siteAt(inner, c32(0));
        const packed = Array.from({ length: v.length / per }, (_, i) =>
          pack(site, v.slice(i * per, (i + 1) * per)),
        );
        storeElements(inner, y, place(to!, size), y.offset, packed, count);
      };
      const whole = Math.floor(row.length / width) * width;
      run.loop(0, whole, width, (i, inner) => {
        chunk(inner, i, width);
      });
      if (whole === row.length) return;
      if (whole > 0 && x.buffer !== y.buffer) chunk(run, c32(row.length - width), width);
      else chunk(run, c32(whole), row.length - whole);
    });
  };
}

/** What is subtracted from elements before they are squared, so that they fit signed 16-bit lanes. */
const bias = (x: Layout): number => (x.container === "u16" ? 32768 : 0);

/** Eight elements as i16 lanes, less `bias`. */
function loadShort(x: Layout, addr: Expr, offset: number): Expr {
  if (x.container === "u8") return load("i16x8", x.buffer, addr, offset, "load8x8_u");
  if (x.container === "i8") return load("i16x8", x.buffer, addr, offset, "load8x8_s");
  const v = load("i16x8", x.buffer, addr, offset);
  return x.container === "u16" ? op("xor.i16x8", [v, konst("i16x8", -32768)]) : v;
}

/** Σ(t − bias) and Σ(t − bias)² of a row, as i64. */
function rowSums(b: Block, x: Layout, row: Row, from: Expr): { sum: Expr; squares: Expr } {
  const size = CONTAINER_BYTES[x.container];
  const sum = b.variable(konst("i32x4", 0), "sum");
  // Squares of two bytes are below 2^17: 2^14 turns fit a lane.
  const narrow = size === 1 && row.n <= 2 ** 16;
  const squares = b.variable(konst(narrow ? "i32x4" : "i64x2", 0), "squares");
  const take = (block: Block, t: Expr): void => {
    block.set(sum, op("add.i32x4", [sum.ref, op("dot2.i32x4", [t, konst("i16x8", 1)])]));
    if (narrow) block.set(squares, op("add.i32x4", [squares.ref, op("dot2.i32x4", [t, t])]));
    else
      for (const half of ["low", "high"] as const) {
        // At most 2^30 each.
        const product = block.bind(op(`extmul_${half}_s.i32x4`, [t, t]), "p");
        for (const end of ["low", "high"] as const)
          block.set(squares, op("add.i64x2", [squares.ref, op(`extend_${end}_s.i64x2`, [product])]));
      }
  };
  nest(b, row.outer, [from, from, from], (run, [at]) => {
    const whole = Math.floor(row.length / 8) * 8;
    run.loop(0, whole, 8, (i, inner) => {
      take(inner, inner.bind(loadShort(x, inner.bind(add(at!, scale(i, size)), "at"), x.offset), "t"));
    });
    const left = row.length - whole;
    if (left === 0) return;
    const mask = bytesOf(
      Array.from({ length: 8 }, (_, i) => (i < left ? -1 : 0)),
      "i16",
    );
    const lanes = load("i16x8", run.constant(mask, "mask"), c32(0));
    take(run, run.bind(op("and.i16x8", [loadShort(x, at!, x.offset + whole * size), lanes]), "t"));
  });
  return { sum: total(b, sum), squares: total(b, squares) };
}

function total(b: Block, v: Mutable): Expr {
  const lanes =
    v.ref.type === "i64x2"
      ? [0, 1].map((i) => op("lane.i64x2", [v.ref], [i]))
      : [0, 1, 2, 3].map((i) => op("extend_s.i32", [op("lane.i32x4", [v.ref], [i])]));
  return b.bind(lanes.reduce((s, l) => op("add.i64", [s, l])));
}

interface RowScale {
  /** n·2^left and mean·2^left in all lanes: D·2^left = t·count − mean. */
  readonly count: Expr;
  readonly mean: Expr;
  readonly multiplier: Expr;
}

/** The 64-bit part, step by step that of `rowMultiplier`. `low`: what the sums' elements are less than x's. */
function rowScale(b: Block, root: Op, n: number, sum: Expr, squares: Expr, low: number): RowScale {
  const centre = attr<boolean>(root, "centre");
  const epsilon = attr<bigint>(root, "epsilon");
  const bits = attr<number>(root, "epsilon_bits");
  const z = attr<number>(root, "zero") - low;
  const mul = (x: Expr, y: Expr): Expr => op("mul.i64", [x, y]);
  const shr = (x: Expr, by: number): Expr => op("shr_s_v.i64", [x, k64(by)]);
  const v = centre
    ? op("sub.i64", [mul(squares, k64(n)), mul(sum, sum)])
    : mul(k64(n), op("add.i64", [op("sub.i64", [squares, mul(sum, k64(2 * z))]), k64(n * z * z)]));
  const variance = b.bind(v, "variance");
  const floor = b.bind(op("add.i64", [variance, wide64(epsilon >> BigInt(bits))]), "whole");
  const zeros = op("clz.i64", [op("select.i64", [floor, k64(1), op("gt_s.i64", [floor, k64(0)])])]);
  const sh = b.bind(op("and.i64", [op("sub.i64", [zeros, k64(2)]), k64(-2)]), "sh");
  const small = op("shr_u_v.i64", [wide64(epsilon), op("sub.i64", [k64(bits), sh])]);
  const x = b.bind(
    op("shr_u_v.i64", [op("add.i64", [op("shl_v.i64", [variance, sh]), small]), k64(30)]),
    "x",
  );
  const [c0, c1, c2] = SEED;
  const slope = op("add.i64", [k64(c1), shr(mul(x, k64(c2)), 30)]);
  let m = b.bind(op("add.i64", [k64(c0), shr(mul(x, slope), 30)]), "m");
  for (let i = 0; i < NEWTON_STEPS; i++) {
    const residue = op("sub.i64", [wide64(1n << 63n), mul(shr(mul(m, m), 29), x)]);
    m = b.bind(op("add.i64", [m, shr(mul(m, shr(residue, 32)), 32)]), "m");
  }
  const most = k64(2 ** 31 - 1);
  const root31 = op("select.i64", [m, most, op("lt_s.i64", [m, most])]);
  const j = b.bind(op("sub.i32", [op("wrap.i64", [shr(sh, 1)]), c32(headroom(n))]), "j");
  const right = op("extend_u.i32", [op("max_s.i32", [op("sub.i32", [c32(0), j]), c32(0)])]);
  const left = b.bind(op("max_s.i32", [j, c32(0)]), "left");
  const splat = (e: Expr): Expr => b.bind(op("splat.i32x4", [e]), "row");
  const mean = centre
    ? op("add.i32", [op("wrap.i64", [sum]), c32(n * low)])
    : c32(n * attr<number>(root, "zero"));
  return {
    count: splat(op("shl_v.i32", [c32(n), left])),
    mean: splat(op("shl_v.i32", [mean, left])),
    multiplier: splat(op("wrap.i64", [op("shr_s_v.i64", [root31, right])])),
  };
}
