import { zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { parseNpy, parseNpz, rowOf } from "./npy.ts";

function npy(
  descr: string,
  shape: string,
  data: ArrayBufferView,
  { fortran = "False", version = 1 } = {},
): Uint8Array {
  const header = new TextEncoder().encode(
    `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`,
  );
  const start =
    version === 1
      ? [header.length & 255, header.length >> 8]
      : [header.length & 255, header.length >> 8, 0, 0];
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0, ...start, ...header, ...bytes);
}

describe("npy", () => {
  it.each([
    ["|u1", Uint8Array.of(0, 255)],
    ["|i1", Int8Array.of(-128, 127)],
    ["|b1", Uint8Array.of(0, 1)],
    ["<i2", Int16Array.of(-32768, 32767)],
    ["<i4", Int32Array.of(-(2 ** 31), 5)],
    ["<i8", BigInt64Array.of(-(2n ** 63n), 7n)],
    ["<f4", Float32Array.of(0.1, Number.NaN)],
    ["<f8", Float64Array.of(0.1, Infinity)],
  ])("reads %s", (descr, data) => {
    expect(parseNpy(npy(descr, "(1, 2)", data))).toEqual({ dtype: descr.slice(1), shape: [1, 2], data });
  });

  it("reads scalars, vectors and version 2 headers", () => {
    expect(parseNpy(npy("<f4", "()", Float32Array.of(3))).shape).toEqual([]);
    expect(parseNpy(npy("<f4", "(1,)", Float32Array.of(3), { version: 2 })).shape).toEqual([1]);
  });

  it("refuses what it would misread", () => {
    const data = Float32Array.of(1, 2);
    expect(() => parseNpy(npy("<f4", "(2,)", data, { fortran: "True" }))).toThrow("Fortran");
    expect(() => parseNpy(npy(">f4", "(2,)", data))).toThrow("unsupported");
    expect(() => parseNpy(npy("<c8", "(1,)", data))).toThrow("unsupported");
    expect(() => parseNpy(npy("<f4", "(3,)", data))).toThrow("truncated");
    expect(() => parseNpy(new Uint8Array(20))).toThrow("not a .npy");
  });

  it("reads archives and rows", () => {
    const archive = zipSync({ "a.npy": npy("|u1", "(2, 2)", Uint8Array.of(1, 2, 3, 4)) });
    const array = parseNpz(archive).get("a")!;
    expect(rowOf(array, 1)).toEqual(Uint8Array.of(3, 4));
  });
});
