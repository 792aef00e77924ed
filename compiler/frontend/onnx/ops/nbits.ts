/** Contrib operators on weights of 2, 4 or 8 bits, quantized in blocks. */
import { badAttributeValue, badOperandValue } from "../../../ir/messages.ts";
import { groupIndex } from "../../../ir/messages-blocks.ts";
import { dequantizeBlocks, shaped, unpack } from "../../blocks.ts";
import { isFloatDtype, makeConstant } from "../../constants.ts";
import { real, transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { constantOf, input, intAttr, type NodeImport, reject } from "../../node-import.ts";
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
    return constantOperand(
      makeConstant("uint8", [N, blocks], new Uint8Array(N * blocks).fill(2 ** (bits - 1))),
    );
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

export const nbitsImporters: readonly Importer[] = [matmulNBits];
