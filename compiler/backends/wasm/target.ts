import type { Target } from "../../ir/target.ts";

/** SIMD128 with the relaxed dot product: one accumulator register per four columns. */
export const wasmRelaxed: Target = {
  name: "wasm-relaxed",
  vectorBytes: 16,
  registers: 15,
  dot4: true,
  tiles: [
    { rows: 6, columns: 8 },
    { rows: 5, columns: 8 },
    { rows: 4, columns: 8 },
    { rows: 2, columns: 8 },
    { rows: 1, columns: 8 },
  ],
  vectorTile: { rows: 1, columns: 32 },
  unroll: 1,
};

/** SIMD128 alone. `legalize` spends two accumulator registers per four columns, so tiles have half the rows. */
export const wasmSimd: Target = {
  name: "wasm-simd",
  vectorBytes: 16,
  registers: 15,
  dot4: false,
  tiles: [
    { rows: 3, columns: 8 },
    { rows: 2, columns: 8 },
    { rows: 1, columns: 8 },
  ],
  wideTile: { rows: 4, columns: 8 },
  vectorTile: { rows: 1, columns: 8 },
  unroll: 1,
};
