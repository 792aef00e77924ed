/** Rows of a constant table quantized in blocks, by indices of the run: the table stays packed, and rows are spread out to floats. */
import { add, c32, type Expr, load, op, scale } from "../../../ir/kernel/ir.ts";
import type { Dense } from "../../../ir/module.ts";
import { attr } from "../../../ir/op.ts";
import { type Block, bytesOf, createKernel } from "../block.ts";
import { operandLayout, paramBuffers } from "../elementwise.ts";
import { type Axis, collapse, loadScalar, nest } from "../elementwise-load.ts";
import { constantOf, stepsOf } from "../epilogue-stage.ts";
import { storeElements } from "../epilogue-store.ts";
import type { Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import { f, fmul, fsub, i as splat, splatLoad, toFloat } from "./lanes.ts";

/** Integers that are spread out together; blocks are multiples of it. */
const UNIT = 16;

interface Table {
  readonly rows: number;
  readonly width: number;
  readonly block: number;
  /** Bits of an integer: 2, 4 or 8. */
  readonly bits: number;
  /** [row][unit] 2·bits bytes: bit plane p holds the unit's integers p·n … p·n + n − 1 of n = 2·bits. */
  readonly codes: string;
  /** [row][block] */
  readonly scales: string;
  /** [row][block]: bytes, or floats where they are no integers; one number if it is the same everywhere. */
  readonly zeros: string | number;
  readonly floatZeros: boolean;
}

export function lowerGatherBlocks(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "float.gather_blocks" || rest.length > 0) return undefined;
  const constants = root.operands.slice(1).map((v) => constantOf(stage, v));
  if (!constants.every((c) => c !== undefined)) return undefined;
  const [q, scales, zeros] = constants as [Dense, Dense, Dense];
  const block = attr<number>(root, "block");
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const indices = operandLayout(stage, k.block, root.operands[0]!);
  const table = packTable(k.block, q, scales, zeros, Math.min(block, Math.ceil(q.shape[1]! / UNIT) * UNIT));
  const axes = collapse(
    indices.shape.map((size, a): Axis => ({ size, steps: [indices.strides[a]!, y.strides[a]!] })),
  );
  nest(k.block, axes, [c32(0), c32(0)], (b, [from, to]) => {
    const given = b.bind(loadScalar(indices, from!, indices.offset), "i");
    row(b, table, b.bind(inside(given, table.rows), "row"), y, to!);
  });
  return k.finish(paramBuffers(stage), [y.buffer]);
}

/** Negative indices count from the end; what is outside is the nearest row. */
function inside(index: Expr, rows: number): Expr {
  const turn = op("select.i32", [c32(rows), c32(0), op("lt_s.i32", [index, c32(0)])]);
  return op("min_s.i32", [op("max_s.i32", [op("add.i32", [index, turn]), c32(0)]), c32(rows - 1)]);
}

function packTable(b: Block, q: Dense, scales: Dense, zeros: Dense, block: number): Table {
  const [rows, width] = q.shape as [number, number];
  const type = q.elem.kind === "int" ? q.elem : { signed: true, bits: 8 };
  const bits = type.bits <= 2 ? 2 : type.bits <= 4 ? 4 : 8;
  const lift = type.signed ? 2 ** (bits - 1) : 0;
  const units = Math.ceil(width / UNIT);
  const bytes = 2 * bits;
  const codes = new Uint8Array(rows * units * bytes);
  for (let r = 0; r < rows; r++)
    for (let d = 0; d < width; d++) {
      const at = d % UNIT;
      const byte = (r * units + Math.floor(d / UNIT)) * bytes + (at % bytes);
      codes[byte]! |= (q.data[r * width + d]! + lift) << (bits * Math.floor(at / bytes));
    }
  const shifted = Float64Array.from(zeros.data, (z) => z + lift);
  const floatZeros = !shifted.every((z) => Number.isInteger(z) && z >= 0 && z <= 255);
  const same = shifted.every((z) => z === shifted[0]);
  return {
    rows,
    width,
    block,
    bits,
    codes: b.constant(codes, "codes"),
    scales: b.constant(bytesOf(scales.data, "f32"), "scales"),
    zeros: same ? shifted[0]! : b.constant(bytesOf(shifted, floatZeros ? "f32" : "u8"), "zeros"),
    floatZeros,
  };
}

/** The zero point of a block in all lanes. */
function zeroAt(t: Table, block: Expr): Expr {
  if (typeof t.zeros === "number") return f(t.zeros);
  if (t.floatZeros) return splatLoad(t.zeros, scale(block, 4), 0);
  return toFloat(op("splat.i32x4", [load("i32", t.zeros, block, 0, "load8_u")]));
}

/** The integers of a unit as four vectors of i32. */
function unitAt(b: Block, t: Table, at: Expr): Expr[] {
  const halves = (x: Expr): Expr[] => {
    const wide = b.bind(x, "x");
    return [op("extend_low_s.i32x4", [wide]), op("extend_high_s.i32x4", [wide])];
  };
  if (t.bits === 8) {
    const x = b.bind(load("i8x16", t.codes, at, 0), "codes");
    return [...halves(op("extend_low_u.i16x8", [x])), ...halves(op("extend_high_u.i16x8", [x]))];
  }
  const x = b.bind(load("i16x8", t.codes, at, 0, "load8x8_u"), "codes");
  const mask = 2 ** t.bits - 1;
  if (t.bits === 4) {
    const low = op("and.i16x8", [x, { k: "const", type: "i16x8", value: mask }]);
    return [...halves(low), ...halves(op("shr_u.i16x8", [x], [4]))];
  }
  const four = b.bind(op("extend_low_u.i32x4", [x]), "x");
  return [0, 2, 4, 6].map((by) =>
    op("and.i32x4", [by === 0 ? four : op("shr_u.i32x4", [four], [by]), splat(mask)]),
  );
}

function row(b: Block, t: Table, index: Expr, y: Layout, to: Expr): void {
  const units = Math.ceil(t.width / UNIT);
  const blocks = Math.ceil(t.width / t.block);
  const bytes = 2 * t.bits;
  const codes = b.bind(scale(index, units * bytes), "codes_at");
  const grid = b.bind(scale(index, blocks), "block");
  const spread = (inner: Block, from: Expr, place: Expr, s: Expr, z: Expr, count: number): void => {
    const values = unitAt(inner, t, from).map((x) => inner.bind(fmul(fsub(toFloat(x), z), s), "w"));
    storeElements(inner, y, place, y.offset, values.slice(0, Math.ceil(count / 4)), count);
  };
  const part = (inner: Block, from: Expr, place: Expr, gridAt: Expr, length: number): void => {
    const s = inner.bind(splatLoad(t.scales, inner.bind(scale(gridAt, 4), "at"), 0), "s");
    const z = inner.bind(zeroAt(t, gridAt), "z");
    const whole = Math.floor(length / UNIT);
    if (whole > 0)
      nest(inner, [{ size: whole, steps: [bytes, 4 * UNIT] }], [from, place], (c, [at, p]) => {
        spread(c, at!, p!, s, z, UNIT);
      });
    const after = (e: Expr, step: number): Expr => inner.bind(add(e, c32(whole * step)), "at");
    if (length % UNIT > 0) spread(inner, after(from, bytes), after(place, 4 * UNIT), s, z, length % UNIT);
  };
  const steps = [(t.block / UNIT) * bytes, 4 * t.block, 1];
  const whole = Math.floor(t.width / t.block);
  const starts = [codes, to, grid];
  if (whole > 0)
    nest(b, [{ size: whole, steps }], starts, (inner, [from, place, gridAt]) => {
      part(inner, from!, place!, gridAt!, t.block);
    });
  const left = t.width - whole * t.block;
  const [from, place, gridAt] = starts.map((e, a) => b.bind(add(e, c32(whole * steps[a]!)), "at"));
  if (left > 0) part(b, from!, place!, gridAt!, left);
}
