/** How many bytes loads and stores touch. */
import type { KType, LoadOp, StoreOp } from "./ir.ts";

const LOAD_BYTES: { readonly [K in Exclude<LoadOp, "load">]: number } = {
  load8_u: 1,
  load8_s: 1,
  load16_u: 2,
  load16_s: 2,
  load8_splat: 1,
  load16_splat: 2,
  load32_splat: 4,
  load64_splat: 8,
  load32_zero: 4,
  load64_zero: 8,
  load8x8_u: 8,
  load8x8_s: 8,
  load16x4_u: 8,
  load16x4_s: 8,
};
const STORE_BYTES: { readonly [K in Exclude<StoreOp, "store">]: number } = {
  store8: 1,
  store16: 2,
  store8_lane: 1,
  store16_lane: 2,
  store32_lane: 4,
  store64_lane: 8,
};

/** Bytes of a value. */
export const widthOf = (type: KType): number => (type === "i32" ? 4 : type === "i64" ? 8 : 16);

/** Bytes that a load fetches for a value of `type`. */
export const loadBytes = (op: LoadOp, type: KType): number =>
  op === "load" ? widthOf(type) : LOAD_BYTES[op];

/** Bytes that a store of a value of `type` writes. */
export const storeBytes = (op: StoreOp, type: KType): number =>
  op === "store" ? widthOf(type) : STORE_BYTES[op];
