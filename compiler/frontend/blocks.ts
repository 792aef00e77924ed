/** Constants quantized in blocks: DequantizeLinear with `block_size`, MatMulNBits, GatherBlockQuantized. */
import {
  badOperandValue,
  blockQuantization,
  plainIntegers,
  quantizerShape,
  quantizerType,
} from "../ir/messages.ts";
import type { Value } from "../ir/module.ts";
import { type Constant, isFloatDtype, isQuantDtype, makeConstant } from "./constants.ts";
import { append, materialize, move } from "./graph-import.ts";
import { axisOf, constantInts, intAttr, type NodeImport, reject } from "./node-import.ts";
import { constantOperand, type Operand, valueOperand } from "./operand.ts";

const shapeText = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

/** Integers in blocks along an axis. Without zero points they are 0. */
export interface Blocks {
  readonly q: Operand;
  readonly scale: Operand;
  readonly zeroPoint: Operand | undefined;
  readonly axis: number;
  readonly block: number;
}

/** Scales of blocks may be negative, and are zero where all of a block is. */
function checkFinite(n: NodeImport, x: Operand, role: string): void {
  const bad = x.kind === "constant" ? x.constant.dense.data.find((v) => !Number.isFinite(v)) : undefined;
  if (bad !== undefined) reject(badOperandValue(n.loc, x.name, `(${role}) holds ${bad}`));
}

/** q, scales and zero points as values; rejects tensors that are no constants, or whose shapes do not fit. */
function checked(n: NodeImport, { q, scale, zeroPoint, axis, block }: Blocks): readonly Value[] {
  const what = `block size ${block}`;
  for (const x of [q, scale, zeroPoint])
    if (x !== undefined && x.kind !== "constant") reject(blockQuantization(n.loc, what, x.name));
  if (!isQuantDtype(q.dtype)) reject(quantizerType(n.loc, q.name, q.dtype));
  if (!isFloatDtype(scale.dtype)) reject(quantizerType(n.loc, scale.name, scale.dtype));
  if (!(Number.isInteger(block) && block > 0))
    reject(quantizerShape(n.loc, scale.name, `cannot belong to blocks of ${block} elements`));
  const want = q.shape.map((d, a) => (a === axis ? Math.ceil(d / block) : d));
  for (const x of [scale, zeroPoint])
    if (x !== undefined && shapeText(x.shape) !== shapeText(want))
      reject(
        quantizerShape(
          n.loc,
          x.name,
          `has shape ${shapeText(x.shape)}, blocks of ${block} along axis ${axis} of ${shapeText(q.shape)} need ${shapeText(want)}`,
        ),
      );
  checkFinite(n, scale, "scale");
  if (zeroPoint !== undefined && isFloatDtype(zeroPoint.dtype)) checkFinite(n, zeroPoint, "zero point");
  const zeros =
    zeroPoint ??
    constantOperand(makeConstant(q.dtype, want, new Float64Array(want.reduce((a, b) => a * b, 1))));
  return [q, scale, zeros].map((x) => materialize(n, x));
}

/** (q − z)·s for constant q, s and z. */
export function dequantizeBlocks(n: NodeImport, blocks: Blocks): Operand {
  const { q, scale, axis, block } = blocks;
  const made = append(n, "quant.dequantize_blocks", [q, scale], checked(n, blocks), { axis, block });
  return valueOperand(made, scale.dtype);
}

/** The rows of a table in blocks along axis 1 that `indices` say. */
export function lookup(n: NodeImport, table: Blocks, indices: Operand): Operand {
  const { q, scale, block } = table;
  if (indices.kind === "constant") {
    const [rows] = q.shape as [number];
    const list = constantInts(n, indices, "indices").map((i) => (i < 0 ? i + rows : i));
    if (list.some((i) => !(i >= 0 && i < rows)))
      reject(badOperandValue(n.loc, indices.name, `(indices) points outside axis 0 of size ${rows}`));
    const taken = (x: Operand): Operand => move(n, "layout.gather", [x], { axis: 0, indices: list });
    const { zeroPoint } = table;
    return dequantizeBlocks(n, {
      ...table,
      q: taken(q),
      scale: taken(scale),
      zeroPoint: zeroPoint && taken(zeroPoint),
    });
  }
  if (indices.value.type.elem.kind !== "int")
    return reject(plainIntegers(n.loc, indices.name, indices.dtype));
  const values = [indices.value, ...checked(n, table)];
  return valueOperand(append(n, "float.gather_blocks", [indices, q, scale], values, { block }), scale.dtype);
}

/** A DequantizeLinear with `block_size`. */
export function dequantizeBlockwise(
  n: NodeImport,
  q: Operand,
  scale: Operand,
  zeroPoint: Operand | undefined,
): Operand {
  const axis = axisOf(n, intAttr(n, "axis", 1), q.shape.length);
  return dequantizeBlocks(n, { q, scale, zeroPoint, axis, block: intAttr(n, "block_size") });
}

export const integerType = (bits: number): "uint2" | "uint4" | "uint8" =>
  bits === 2 ? "uint2" : bits === 4 ? "uint4" : "uint8";

/** Unsigned integers of `bits` bits from bytes, low bits first; every row of `row` integers begins with a byte of its own. */
export function unpack(bytes: Constant, bits: number, rows: number, row: number, name: string): Operand {
  const perRow = Math.ceil((row * bits) / 8);
  const { data } = bytes.dense;
  const values = new Uint8Array(rows * row);
  const mask = 2 ** bits - 1;
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < row; i++) {
      const bit = i * bits;
      values[r * row + i] = (data[r * perRow + (bit >> 3)]! >> (bit & 7)) & mask;
    }
  return constantOperand(makeConstant(integerType(bits), [rows, row], values), name);
}

/** The same constant under another shape. */
export function shaped(x: Operand, shape: readonly number[]): Operand {
  if (x.kind !== "constant") return x;
  return constantOperand({ ...x.constant, dense: { ...x.constant.dense, shape } }, x.name);
}
