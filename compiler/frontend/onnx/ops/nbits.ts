/** Contrib operators on weights of 2, 4 or 8 bits, quantized in blocks. */
import { badAttributeValue, badOperandValue } from "../../../ir/messages.ts";
import { groupIndex } from "../../../ir/messages-blocks.ts";
import { dequantizeBlocks, integerType, lookup, shaped, unpack } from "../../blocks.ts";
import { isFloatDtype, makeConstant } from "../../constants.ts";
import { real, reshape, transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { axisOf, constantOf, input, intAttr, type NodeImport, reject } from "../../node-import.ts";
import { constantOperand, type Operand } from "../../operand.ts";
import { addBias } from "./conv.ts";

const sizeOf = (x: Operand): number => x.shape.reduce((a, b) => a * b, 1);

function expectSize(n: NodeImport, x: Operand, want: number, what: string): void {
  if (sizeOf(x) !== want)
    reject(badOperandValue(n.loc, x.name, `(${what}) has ${sizeOf(x)} elements, needs ${want}`));
}

function sizes(n: NodeImport): { K: number; N: number; bits: number; block: number; blocks: number } {
  const positive = (name: string): number => {
    const value = intAttr(n, name);
    return value > 0 && value <= 2 ** 31 ? value : reject(badAttributeValue(n.loc, name, `is ${value}`));
  };
  const [K, N, block] = [positive("K"), positive("N"), positive("block_size")];
  const bits = intAttr(n, "bits", 4);
  if (![2, 4, 8].includes(bits)) reject(badAttributeValue(n.loc, "bits", `must be 2, 4 or 8, is ${bits}`));
  if (block < 16 || (block & (block - 1)) !== 0)
    reject(badAttributeValue(n.loc, "block_size", `must be a power of two of at least 16, is ${block}`));
  return { K, N, bits, block, blocks: Math.ceil(K / block) };
}

/** Y = A·Bᵀ (+ bias): B is [N, blocks, bytes of a block], packed low bits first; scales and zero points are per row and block. */
const matmulNBits: Importer = {
  op: "MatMulNBits",
  domains: ["com.microsoft"],
  inputs: [3, 6],
  attributes: {
    K: "int",
    N: "int",
    bits: "int",
    block_size: "int",
    accuracy_level: "int",
    weight_prepacked: "int",
  },
  run: (n) => {
    const { K, N, bits, block, blocks } = sizes(n);
    if (n.inputs[4] !== undefined) reject(groupIndex(n.loc, n.inputs[4].name));
    if (intAttr(n, "weight_prepacked", 0) !== 0)
      reject(
        badAttributeValue(n.loc, "weight_prepacked", "must be 0: prepacked weights are the provider's own"),
      );
    const [a, b, scale] = [input(n, 0), input(n, 1), input(n, 2)];
    const stored = constantOf(n, b, "quantized weights");
    const perBlock = (block * bits) / 8;
    expectSize(n, b, N * blocks * perBlock, "quantized weights");
    // Blocks fill whole bytes, so those of a row follow each other without gaps; what is beyond K is padding.
    const padded = unpack(stored, bits, N, blocks * block, b.name);
    const q = blocks * block === K ? padded : columns(padded, N, blocks * block, K);
    expectSize(n, scale, N * blocks, "scales");
    const w = dequantizeBlocks(n, {
      q,
      scale: shaped(scale, [N, blocks]),
      zeroPoint: zeroPoints(n, N, blocks, bits),
      axis: 1,
      block,
    });
    const y = real(n, "float.matmul", [a, transpose(n, w, [1, 0])]);
    const bias = n.inputs[5];
    return bias === undefined ? y : addBias(n, y, bias);
  },
};

/** Packed like the weights, one row of N at a time; or floats as they are; 2^(bits − 1) where there are none. */
function zeroPoints(n: NodeImport, N: number, blocks: number, bits: number): Operand {
  const zero = n.inputs[3];
  if (zero === undefined)
    return constantOperand(makeConstant(integerType(bits), [N, blocks], ones(N * blocks, 2 ** (bits - 1))));
  if (isFloatDtype(zero.dtype)) {
    expectSize(n, zero, N * blocks, "zero points");
    return shaped(zero, [N, blocks]);
  }
  expectSize(n, zero, N * Math.ceil((blocks * bits) / 8), "zero points");
  return unpack(constantOf(n, zero, "zero points"), bits, N, blocks, zero.name);
}

/** The first `to` of `from` columns. */
function columns(x: Operand, rows: number, from: number, to: number): Operand {
  if (x.kind !== "constant") return x;
  const { data } = x.constant.dense;
  const out = new Uint8Array(rows * to);
  for (let r = 0; r < rows; r++) for (let i = 0; i < to; i++) out[r * to + i] = data[r * from + i]!;
  return constantOperand(makeConstant(x.dtype, [rows, to], out), x.name);
}

/** Rows of a table in blocks along its last axis. Bytes hold one, two or four integers, low bits first. */
const gatherBlockQuantized: Importer = {
  op: "GatherBlockQuantized",
  domains: ["com.microsoft"],
  inputs: [3, 4],
  attributes: { bits: "int", block_size: "int", gather_axis: "int", quantize_axis: "int" },
  run: (n) => {
    const [data, indices, scale] = [input(n, 0), input(n, 1), input(n, 2)];
    const bits = intAttr(n, "bits", 4);
    const block = intAttr(n, "block_size", 128);
    if (![2, 4, 8].includes(bits)) reject(badAttributeValue(n.loc, "bits", `must be 2, 4 or 8, is ${bits}`));
    if (!(block >= 16 && Number.isInteger(Math.log2(block))))
      reject(badAttributeValue(n.loc, "block_size", `must be a power of two of at least 16, is ${block}`));
    const bytes = data.dtype === "uint8";
    const spread = (x: Operand): Operand => (bytes ? unpackRows(n, x, bits) : x);
    const q = spread(data);
    const rank = q.shape.length;
    const axis = axisOf(n, intAttr(n, "gather_axis", 0), rank);
    const along = axisOf(n, intAttr(n, "quantize_axis", 1), rank);
    if (axis !== 0 || along !== rank - 1 || rank < 2)
      reject(badAttributeValue(n.loc, "gather_axis", "must be the first axis, and quantize_axis the last"));
    const zero = n.inputs[3];
    const zeroPoint = zero === undefined ? undefined : spreadZeros(n, zero, scale, bytes ? bits : undefined);
    const middle = bytes ? 2 ** (bits - 1) : 0;
    const zeros =
      zeroPoint ?? constantOperand(makeConstant(q.dtype, scale.shape, ones(sizeOf(scale), middle)));
    const [rows, ...row] = q.shape as [number, ...number[]];
    const width = row.reduce((a, b) => a * b, 1);
    // Rows of several axes are one where no block ends early.
    if (row.length > 1 && row.at(-1)! % block !== 0)
      reject(badAttributeValue(n.loc, "block_size", `must divide the last axis of ${row.at(-1)} elements`));
    const counts = Math.ceil(row.at(-1)! / block) * (width / row.at(-1)!);
    expectSize(n, scale, rows * counts, "scales");
    const table = {
      q: shaped(q, [rows, width]),
      scale: shaped(scale, [rows, counts]),
      zeroPoint: shaped(zeros, [rows, counts]),
      axis: 1,
      block,
    };
    return reshape(n, lookup(n, table, indices), [...indices.shape, ...row]);
  },
};

const ones = (count: number, value: number): Uint8Array => new Uint8Array(count).fill(value);

/** A constant of bytes as the integers in them: the last axis grows. */
function unpackRows(n: NodeImport, x: Operand, bits: number): Operand {
  const row = (x.shape.at(-1)! * 8) / bits;
  const rows = sizeOf(x) / x.shape.at(-1)!;
  return shaped(unpack(constantOf(n, x, "packed integers"), bits, rows, row, x.name), [
    ...x.shape.slice(0, -1),
    row,
  ]);
}

/** Zero points, of which bytes hold several too; those beyond the last block are padding. */
function spreadZeros(n: NodeImport, zero: Operand, scale: Operand, bits: number | undefined): Operand {
  if (bits === undefined) return zero;
  const blocks = scale.shape.at(-1)!;
  const rows = sizeOf(scale) / blocks;
  expectSize(n, zero, rows * Math.ceil((blocks * bits) / 8), "zero points");
  return shaped(unpack(constantOf(n, zero, "zero points"), bits, rows, blocks, zero.name), scale.shape);
}

export const nbitsImporters: readonly Importer[] = [matmulNBits, gatherBlockQuantized];
