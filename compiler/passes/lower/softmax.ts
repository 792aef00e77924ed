/**
 * Integer softmax, row by row: the greatest element, exponentials by scalar lookup into a scratch row with their sum, one
 * 64-bit division, then a high product per element. Only the lookups are scalar.
 */
import { add, c32, type Expr, load, op, type StoreOp, scale, store } from "../../ir/kernel/ir.ts";
import type { Dense, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { EXP_BITS } from "../../ir/ops/integer-softmax.ts";
import { intMax, intMin } from "../../ir/types.ts";
import { type Block, bytesOf, createKernel } from "./block.ts";
import { operandLayout, paramBuffers } from "./elementwise.ts";
import { collapse, loadScalar, nest, zeroAddresses } from "./elementwise-load.ts";
import { constantPool, siteAt } from "./epilogue-constants.ts";
import { packerFor } from "./epilogue-pack.ts";
import { stepsOf } from "./epilogue-stage.ts";
import { storeElements } from "./epilogue-store.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import type { Lowered, Stage } from "./stage.ts";
import { k64, wide64 } from "./wide.ts";

export function lowerSoftmax(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "qc.softmax" || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const axis = attr<number>(root, "axis");
  if (!fits(root)) return undefined;
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  fillHalo(k.block, y);
  const outer = collapse(
    y.shape.flatMap((size, a) => (a === axis ? [] : [{ size, steps: [x.strides[a]!, y.strides[a]!] }])),
  );
  const row: Row = { x, y, length: y.shape[axis]!, from: x.strides[axis]!, to: y.strides[axis]! };
  if (row.length > 0) {
    const emit = rowEmitter(k.block, root, row);
    nest(k.block, outer, zeroAddresses(2), (b, [from, to]) => {
      emit(b, from!, to!);
    });
  }
  return k.finish(paramBuffers(stage), [y.buffer]);
}

interface Row {
  readonly x: Layout;
  readonly y: Layout;
  readonly length: number;
  /** Bytes from element to element. */
  readonly from: number;
  readonly to: number;
}

/** Whether the tables cover every difference and no factor exceeds 31 bits. */
function fits(root: Op): boolean {
  const { elem } = root.operands[0]!.type;
  if (elem.kind !== "int" || elem.bits > 16) return false;
  const [exp, coarse] = [attr<Dense>(root, "exp").data, attr<Dense>(root, "coarse").data];
  const bits = attr<number>(root, "bits");
  const span = intMax(elem) - intMin(elem);
  const one = 2 ** EXP_BITS;
  const sane = (t: Dense["data"]): boolean => t[0] === one && t.every((v) => v >= 0 && v <= one);
  const covered = coarse.length > Math.floor(span / 2 ** bits) && exp.length > Math.min(span, 2 ** bits - 1);
  return covered && sane(exp) && sane(coarse) && attr<bigint>(root, "numerator") < 1n << 61n;
}

type Emit = (b: Block, from: Expr, to: Expr) => void;

function rowEmitter(block: Block, root: Op, row: Row): Emit {
  const { x, length } = row;
  const lookup = lookupOf(block, root);
  const scratch = block.scratch(length * 4, "row");
  const numerator = wide64(attr<bigint>(root, "numerator"));
  const finish = finisher(block, root, row, scratch);
  return (b, from, to) => {
    const top = greatest(b, row, from);
    const sum = b.variable(k64(0), "sum");
    b.loop(0, length, 1, (i, inner) => {
      const at = inner.bind(add(from, scale(i, row.from)), "at");
      const e = inner.bind(lookup(inner, op("sub.i32", [top, loadScalar(x, at, x.offset)])), "e");
      inner.push(store(scratch, inner.bind(scale(i, 4), "s"), e));
      inner.set(sum, op("add.i64", [sum.ref, op("extend_u.i32", [e])]));
    });
    const m = b.bind(op("wrap.i64", [op("div_u.i64", [numerator, sum.ref])]), "m");
    finish(b, to, m);
  };
}

/** The exponential of a difference. */
function lookupOf(block: Block, root: Op): (b: Block, d: Expr) => Expr {
  const bits = attr<number>(root, "bits");
  const coarse = attr<Dense>(root, "coarse").data;
  const exp = block.constant(bytesOf(attr<Dense>(root, "exp").data, "i32"), "exp");
  const word = (b: Block, table: string, index: Expr): Expr =>
    load("i32", table, b.bind(op("shl_v.i32", [index, c32(2)]), "d"));
  if (coarse.length === 1) return (b, d) => word(b, exp, d);
  const high = block.constant(bytesOf(coarse, "i32"), "coarse");
  return (b, value) => {
    const d = b.bind(value, "d");
    const factors = [
      word(b, high, op("shr_u_v.i32", [d, c32(bits)])),
      word(b, exp, op("and.i32", [d, c32(2 ** bits - 1)])),
    ].map((e) => op("extend_u.i32", [e]));
    return op("wrap.i64", [op("shr_u_v.i64", [op("mul.i64", factors), k64(EXP_BITS)])]);
  };
}

/** The greatest element of a row: by vectors where they lie side by side and there is more than one. */
function greatest(b: Block, { x, length, from: step }: Row, from: Expr): Expr {
  const size = CONTAINER_BYTES[x.container];
  const lanes = 16 / size;
  if (step !== size || length < lanes || size === 4) {
    const max = b.variable(loadScalar(x, from, x.offset), "max");
    b.loop(1, length, 1, (i, inner) => {
      const v = inner.bind(loadScalar(x, inner.bind(add(from, scale(i, step)), "at"), x.offset), "x");
      inner.set(max, op("max_s.i32", [max.ref, v]));
    });
    return max.ref;
  }
  const type = size === 1 ? "i8x16" : "i16x8";
  const s = x.container.startsWith("u") ? "u" : "s";
  const max = b.variable(load(type, x.buffer, from, x.offset), "max");
  const take = (block: Block, addr: Expr, offset: number): void =>
    block.set(max, op(`max_${s}.${type}`, [max.ref, load(type, x.buffer, addr, offset)]));
  const whole = Math.floor(length / lanes) * lanes;
  b.loop(lanes, whole, lanes, (i, inner) => {
    take(inner, inner.bind(add(from, scale(i, size)), "at"), x.offset);
  });
  // Elements may be taken twice.
  if (whole < length) take(b, from, x.offset + (length - lanes) * size);
  for (let half = 8; half >= size; half /= 2) {
    const other = Array.from({ length: 16 }, (_, i) => (i + half) % 16);
    b.set(max, op(`max_${s}.${type}`, [max.ref, op(`shuffle.${type}`, [max.ref, max.ref], other)]));
  }
  return b.bind(op(`lane_${s}.${type}`, [max.ref], [0]), "max");
}

/** From the scratch row of exponentials and the row's multiplier to the result. */
function finisher(block: Block, root: Op, { y, length, to: step }: Row, scratch: string) {
  const size = CONTAINER_BYTES[y.container];
  const [offset, shift] = [attr<number>(root, "offset"), attr<number>(root, "shift")];
  const [zero, lo, hi] = [
    attr<number>(root, "zero_point"),
    attr<number>(root, "lo"),
    attr<number>(root, "hi"),
  ];
  const pool = constantPool(block, 1, 4, "lanes");
  // Quotients lie in 0 … 2^31: bytes saturate whatever the zero point is.
  const pack = packerFor(y.container, { h: [zero], lo, hi, narrow: size === 1 ? "i16" : "i32" }, pool);
  const vectors = (b: Block, to: Expr, m: Expr): void => {
    const factor = b.bind(op("splat.i32x4", [m]), "m");
    const width = size === 1 ? 16 : 8;
    const chunk = (inner: Block, start: Expr, count: number): void => {
      const at = inner.bind(scale(start, 4), "s");
      const v = Array.from({ length: Math.ceil(count / 4) }, (_, j) => {
        const product = op("mulhi_s.i32x4", [inner.bind(load("i32x4", scratch, at, 16 * j), "e"), factor]);
        const sum = op("add.i32x4", [product, pool.splat(offset)]);
        return { v: inner.bind(op("shr_s.i32x4", [sum], [shift]), "v"), j };
      });
      const per = 4 / size;
      while (v.length % per !== 0) v.push(v.at(-1)!);
      const site = siteAt(inner, c32(0));
      const packed = Array.from({ length: v.length / per }, (_, i) =>
        pack(site, v.slice(i * per, (i + 1) * per)),
      );
      storeElements(inner, y, inner.bind(add(to, scale(start, size)), "to"), y.offset, packed, count);
    };
    const whole = Math.floor(length / width) * width;
    b.loop(0, whole, width, (i, inner) => {
      chunk(inner, i, width);
    });
    if (whole === length) return;
    if (whole > 0) chunk(b, c32(length - width), width);
    else chunk(b, c32(0), length);
  };
  const scalars = (b: Block, to: Expr, m: Expr): void => {
    const factor = b.bind(op("extend_u.i32", [m]), "m");
    const storeOp: StoreOp = size === 1 ? "store8" : size === 2 ? "store16" : "store";
    b.loop(0, length, 1, (i, inner) => {
      const e = op("extend_u.i32", [load("i32", scratch, inner.bind(scale(i, 4), "s"))]);
      const high = op("wrap.i64", [op("shr_u_v.i64", [op("mul.i64", [e, factor]), k64(32)])]);
      const v = op("shr_s_v.i32", [op("add.i32", [high, c32(offset)]), c32(shift)]);
      const moved = inner.bind(op("add.i32", [v, c32(zero)]), "y");
      const clamped = op("min_s.i32", [op("max_s.i32", [moved, c32(lo)]), c32(hi)]);
      const at = inner.bind(add(to, scale(i, step)), "to");
      inner.push(store(y.buffer, at, inner.bind(clamped, "y"), { offset: y.offset, op: storeOp }));
    });
  };
  return step === size ? vectors : scalars;
}
