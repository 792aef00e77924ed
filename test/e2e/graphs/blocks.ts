/** Weights quantized in blocks: DequantizeLinear with block_size, MatMulNBits. */
import { randomSource } from "../../zoo.ts";
import type { GraphBuilder } from "./builder.ts";
import { type GraphCase, graphCase, image, x, y } from "./case.ts";

type Bits = "int2" | "uint2" | "int4" | "uint4" | "int8" | "uint8";

const RANGE: { readonly [type in Bits]: readonly [number, number] } = {
  int2: [-2, 1],
  uint2: [0, 3],
  int4: [-8, 7],
  uint4: [0, 15],
  int8: [-64, 63],
  uint8: [64, 191],
};

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

interface Weights {
  readonly type?: Bits;
  readonly axis?: number;
  readonly block: number;
  /** Default: zero points that differ between blocks. */
  readonly zero?: "none" | "same";
  readonly seed?: number;
  /** Factor of scale i: 1, −1 or 0. */
  readonly signs?: (i: number) => number;
}

/** Weights in blocks; scales lie within a factor of eight. */
export function blocked(
  g: GraphBuilder,
  shape: readonly number[],
  { type = "int4", axis = 0, block, zero, seed = 1, signs }: Weights,
): string {
  const random = randomSource(seed);
  const [lo, hi] = RANGE[type];
  const integer = (): number => lo + Math.floor(random() * (hi - lo + 1));
  const counts = shape.map((d, a) => (a === axis ? Math.ceil(d / block) : d));
  const n = size(counts);
  const q = g.constant(type, shape, Array.from({ length: size(shape) }, integer));
  const scales = g.constant(
    "float32",
    counts,
    Array.from({ length: n }, (_, i) => Math.fround((signs?.(i) ?? 1) * 0.003 * 2 ** (3 * random()))),
  );
  const middle = Math.ceil((lo + hi) / 2);
  const zeros = Array.from({ length: n }, () => (zero === "same" ? middle : integer()));
  const inputs = zero === "none" ? [q, scales] : [q, scales, g.constant(type, counts, zeros)];
  return g.op("DequantizeLinear", inputs, { axis, block_size: block });
}

const product = (
  name: string,
  m: number,
  k: number,
  n: number,
  w: Weights,
  out = 0.02,
  options: { readonly saturates?: boolean } = {},
): GraphCase =>
  graphCase(name, (g) => y(g, g.op("MatMul", [x(g, [m, k]), blocked(g, [k, n], w)]), out, 117), options);

/** B of MatMulNBits: rows of N, blocks of packed integers. */
export function nbits(
  g: GraphBuilder,
  a: string,
  [K, N]: readonly [number, number],
  {
    bits = 4,
    block = 16,
    zero,
    bias = false,
    seed = 3,
  }: {
    readonly bits?: number;
    readonly block?: number;
    readonly zero?: "packed" | "float";
    readonly bias?: boolean;
    readonly seed?: number;
  } = {},
): string {
  const random = randomSource(seed);
  const blocks = Math.ceil(K / block);
  const bytes = (n: number) => Array.from({ length: n }, () => Math.floor(random() * 256));
  const weights = bytes((N * blocks * block * bits) / 8);
  // Products of whole bytes saturate some engines' relaxed dot products; these stay within 64 of the middle.
  const tame = bits === 8 ? weights.map((b) => 64 + (b >> 1)) : weights;
  const b = g.constant("uint8", [N, blocks, (block * bits) / 8], tame);
  const scales = g.floats(
    [N, blocks],
    Array.from({ length: N * blocks }, () => Math.fround(0.004 * 2 ** (2 * random()))),
  );
  const inputs = [a, b, scales];
  if (zero === "packed") {
    const perRow = Math.ceil((blocks * bits) / 8);
    const packed = bits === 8 ? bytes(N * perRow).map((z) => 120 + (z & 15)) : bytes(N * perRow);
    inputs.push(g.constant("uint8", [N, perRow], packed));
  } else if (zero === "float")
    inputs.push(
      g.floats(
        [N, blocks],
        Array.from({ length: N * blocks }, () => 2 ** (bits - 1) + Math.floor(random() * 9) / 4 - 1),
      ),
    );
  else if (bias) inputs.push("");
  if (bias) {
    inputs.push("");
    inputs.push(
      g.floats(
        [N],
        Array.from({ length: N }, () => Math.fround(random() - 0.5)),
      ),
    );
  }
  return g.op("MatMulNBits", inputs, { K, N, bits, block_size: block }, "com.microsoft");
}

export const blockCases: readonly GraphCase[] = [
  product("one block is per channel", 3, 16, 5, { block: 16, zero: "same" }),
  product("two blocks, no zero points", 3, 32, 5, { block: 16, zero: "none" }),
  product("eight blocks, zero points that differ", 4, 128, 9, { block: 16 }),
  product("ragged last block", 2, 40, 12, { block: 16 }),
  product("blocks of one, uint4", 2, 6, 7, { block: 1, type: "uint4" }),
  product("blocks of three, int8", 2, 11, 8, { block: 3, type: "int8" }, 0.2, { saturates: true }),
  product("uint8, the same zero point", 5, 48, 16, { block: 16, type: "uint8", zero: "same" }, 0.2),
  product("uint8, zero points that differ", 1, 48, 16, { block: 16, type: "uint8" }, 0.2, {
    saturates: true,
  }),
  product("scales of both signs and zero", 3, 48, 6, { block: 16, signs: (i) => (i % 3) - 1 }),
  product("scales of one block, of both signs", 3, 16, 6, { block: 16, signs: (i) => (i % 2 ? 1 : -1) }),
  product("two bits", 3, 64, 8, { block: 32, type: "int2" }),
  product("two bits, unsigned", 3, 64, 8, { block: 32, type: "uint2" }),
  graphCase("blocks along the outputs are a grid per row of the sum", (g) =>
    y(g, g.op("MatMul", [x(g, [3, 5]), blocked(g, [5, 8], { axis: 1, block: 4 })]), 0.01, 99),
  ),
  graphCase("Gemm with transposed weights, bias and relu", (g) => {
    const w = blocked(g, [10, 48], { axis: 1, block: 16, type: "uint4" });
    const bias = g.floats(
      [10],
      Array.from({ length: 10 }, (_, i) => 0.1 * i - 0.4),
    );
    return y(g, g.op("Relu", [g.op("Gemm", [x(g, [4, 48]), w, bias], { transB: 1 })]), 0.02, 0);
  }),
  graphCase("rank 3, into 16 bits", (g) => {
    const w = blocked(g, [32, 12], { block: 8 });
    return [g.q(g.op("MatMul", [x(g, [2, 3, 32]), w]), 0.0003, 0, { type: "int16" })];
  }),
  graphCase("convolution in blocks of input channels", (g) => {
    const w = blocked(g, [6, 8, 1, 1], { axis: 1, block: 3 });
    return y(g, g.op("Conv", [x(g, [1, 8, 5, 5]), w]), 0.01, 120);
  }),
  graphCase("convolution with padding, a grid per tap", (g) => {
    const w = blocked(g, [5, 4, 3, 3], { axis: 1, block: 2, type: "uint4" });
    return y(g, g.op("Conv", [x(g, image), w], { pads: [1, 1, 1, 1] }), 0.02, 120);
  }),
  graphCase("convolution of groups in blocks", (g) => {
    const w = blocked(g, [6, 4, 3, 3], { axis: 1, block: 2 });
    return y(g, g.op("Conv", [x(g, [1, 8, 5, 5]), w], { group: 2, strides: [2, 2] }), 0.02, 120);
  }),
  graphCase("convolution in blocks of outputs is per channel", (g) => {
    const w = blocked(g, [6, 4, 1, 1], { axis: 0, block: 2, zero: "none" });
    return y(g, g.op("Conv", [x(g, image), w]), 0.01, 120);
  }),
  graphCase("MatMulNBits, four bits", (g) => y(g, nbits(g, x(g, [3, 64]), [64, 8]), 0.05, 120)),
  graphCase("MatMulNBits, ragged, packed zero points and bias", (g) =>
    y(g, nbits(g, x(g, [3, 40]), [40, 7], { zero: "packed", bias: true }), 0.05, 120),
  ),
  graphCase("MatMulNBits, fractional zero points", (g) =>
    y(g, nbits(g, x(g, [2, 3, 32]), [32, 6], { zero: "float" }), 0.05, 120),
  ),
  graphCase("MatMulNBits, eight bits, blocks of 32", (g) =>
    y(g, nbits(g, x(g, [3, 64]), [64, 8], { bits: 8, block: 32, zero: "packed" }), 0.3, 120),
  ),
  graphCase("MatMulNBits, two bits, blocks of 128", (g) =>
    y(g, nbits(g, x(g, [2, 256]), [256, 16], { bits: 2, block: 128, zero: "packed" }), 0.1, 120),
  ),
  graphCase("MatMulNBits, bias and a residual before one quantizer", (g) => {
    const a = x(g, [3, 32], 0.07, 120);
    return y(g, g.op("Add", [nbits(g, a, [32, 32], { bias: true, zero: "packed" }), a]), 0.05, 120);
  }),
  graphCase("two products in a row", (g) => {
    const h = g.fq(g.op("Relu", [nbits(g, x(g, [4, 32]), [32, 48])]), 0.03, 0);
    return y(g, nbits(g, h, [48, 10], { block: 16, seed: 5 }), 0.05, 120);
  }),
  graphCase("MatMulNBits of a float", (g) => [nbits(g, g.input([3, 64], "float32"), [64, 8])], {
    errors: ["QC2101"],
  }),
];
