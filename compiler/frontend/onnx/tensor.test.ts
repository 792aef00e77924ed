import { describe, expect, test } from "vitest";
import * as w from "../../../test/onnx-writer.ts";
import { DATA_TYPES, type DataType, dataTypeOf } from "./data-types.ts";
import { decodeE8M0, decodeMinifloat, FORMATS } from "./minifloat.ts";
import type { OnnxTensor } from "./model.ts";
import { readModel } from "./reader.ts";
import { elements } from "./tensor.ts";

function read(tensor: w.Tensor): OnnxTensor {
  const result = readModel(w.model({ initializers: { t: tensor } }));
  if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join("\n"));
  return result.value.graph.initializers.get("t")!;
}

const problems = (tensor: w.Tensor): string[] => {
  const result = readModel(w.model({ initializers: { t: tensor } }));
  return result.ok ? [] : result.diagnostics.map((d) => `${d.code} ${d.message}`);
};

const SAMPLES: Readonly<Partial<Record<DataType, readonly (number | bigint)[]>>> = {
  float32: [0.1, -0, Number.POSITIVE_INFINITY, 1e-45, 3].map(Math.fround),
  float64: [0.1, -0, Number.NEGATIVE_INFINITY, 5e-324, 3],
  float16: [0.5, -0, 65504, 2 ** -24, Number.NEGATIVE_INFINITY],
  bfloat16: [1, -2, 2 ** -133, 3.3895313892515355e38, Number.POSITIVE_INFINITY],
  int8: [-128, -1, 0, 1, 127],
  uint8: [0, 1, 127, 128, 255],
  int16: [-32768, -1, 0, 1, 32767],
  uint16: [0, 1, 32767, 32768, 65535],
  int32: [-(2 ** 31), -1, 0, 1, 2 ** 31 - 1],
  uint32: [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1],
  int64: [-(2n ** 63n), -1n, 0n, 2n ** 53n + 1n, 2n ** 63n - 1n],
  uint64: [0n, 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n],
  bool: [0, 1, 1, 0, 1],
  int4: [-8, -1, 0, 1, 7],
  uint4: [0, 1, 7, 8, 15],
  int2: [-2, -1, 0, 1, -2],
  uint2: [0, 1, 2, 3, 3],
  float4e2m1: [0, -0.5, 6, -6, 1.5],
  float6e2m3: [0.125, -7.5, 1, -0, 3.75],
  float6e3m2: [0.0625, -28, 1, -0, 14],
  float8e4m3fn: [448, -448, 2 ** -9, -0, 1],
  float8e4m3fnuz: [240, -240, 2 ** -10, 0, 1],
  float8e5m2: [57344, Number.NEGATIVE_INFINITY, 2 ** -16, -0, 1],
  float8e5m2fnuz: [57344, -57344, 2 ** -17, 0, 1],
  float8e8m0: [1, 2 ** -127, 2 ** 127, 2, 0.5],
};

describe("every element type", () => {
  for (const [dtype, values] of Object.entries(SAMPLES) as [DataType, (number | bigint)[]][])
    for (const storage of ["raw", "typed", "unpacked"] as const)
      test(`${dtype}, ${storage}`, () => {
        const tensor = read({ ...w.tensor(dtype, [5], values), storage });
        expect(tensor.dataType).toBe(dtype);
        expect(tensor.size).toBe(5);
        const got = elements(tensor);
        expect(got.length).toBe(5);
        values.forEach((value, i) => {
          expect(Object.is(got[i], value), `${dtype}[${i}]: ${got[i]} is not ${value}`).toBe(true);
        });
      });

  test("the table covers wire numbers 1 to 28", () => {
    expect(DATA_TYPES.map(({ number }) => number)).toEqual(Array.from({ length: 28 }, (_, i) => i + 1));
    expect([dataTypeOf(0), dataTypeOf(22), dataTypeOf(29)]).toEqual([undefined, "int4", undefined]);
  });

  test("strings and complex numbers", () => {
    expect(elements(read(w.tensor("string", [2], ["a", "é\0"])))).toEqual(["a", "é\0"]);
    expect(elements(read(w.raw("complex64", [1], [0, 0, 128, 63, 0, 0, 0, 192])))).toEqual(
      Float32Array.of(1, -2),
    );
  });
});

describe("layout of raw_data", () => {
  test("four bits: low nibble first, the last byte padded", () => {
    expect(elements(read(w.raw("int4", [3], [0x87, 0x0f])))).toEqual(Int8Array.of(7, -8, -1));
    expect(elements(read(w.raw("uint4", [3], [0x87, 0x0f])))).toEqual(Uint8Array.of(7, 8, 15));
  });
  test("two bits: lowest bits first", () => {
    expect(elements(read(w.raw("int2", [5], [0b11_10_01_00, 0b10])))).toEqual(Int8Array.of(0, 1, -2, -1, -2));
    expect(elements(read(w.raw("uint2", [5], [0b11_10_01_00, 0b10])))).toEqual(Uint8Array.of(0, 1, 2, 3, 2));
  });
  test("int32_data holds one packed byte per entry", () => {
    const entries = { ...w.typed(w.i4([3], [])), extra: Uint8Array.of(0x2a, 3, 0x87, 0x01, 0x0f) };
    expect(elements(read({ ...entries, dims: [3] }))).toEqual(Int8Array.of(7, -8, -1));
  });
  test("int16 beyond its range in int32_data keeps its low bits", () => {
    expect(elements(read({ ...w.typed(w.i16([2], [65535, -1])) }))).toEqual(Int16Array.of(-1, -1));
  });
  test("several chunks of a packed field are one array", () => {
    const chunk = (x: number) => [0x22, 4, ...new Uint8Array(Float32Array.of(x).buffer)];
    const tensor = { ...w.typed(w.f32([2], [])), extra: Uint8Array.of(...chunk(1), ...chunk(2)) };
    expect(elements(read(tensor))).toEqual(Float32Array.of(1, 2));
  });
  test("a scalar and an empty tensor", () => {
    expect(elements(read(w.f32([], [4])))).toEqual(Float32Array.of(4));
    expect(elements(read(w.i64([0, 3], [])))).toEqual(new BigInt64Array(0));
    expect(read(w.i64([2 ** 40, 2 ** 40, 0], [])).size).toBe(0);
  });
});

describe("minifloats, all codes", () => {
  /** Value from the bits by the definition of IEEE 754, in exact arithmetic. */
  test("float16 equals its bits widened to float32", () => {
    for (let code = 0; code < 65536; code++) {
      const exponent = (code >> 10) & 31;
      const mantissa = code & 1023;
      const sign = code >> 15;
      let bits: number;
      if (exponent === 31) bits = (sign << 31) | 0x7f800000 | (mantissa << 13);
      else if (exponent > 0) bits = (sign << 31) | ((exponent + 112) << 23) | (mantissa << 13);
      else {
        const shift = mantissa === 0 ? 0 : Math.clz32(mantissa) - 21;
        bits = (sign << 31) | (mantissa && ((113 - shift) << 23) | (((mantissa << shift) & 1023) << 13));
      }
      const expected = new Float32Array(Int32Array.of(bits).buffer)[0];
      const got = decodeMinifloat(FORMATS.float16, code);
      if (!Object.is(got, expected)) throw new Error(`${code}: ${got}, expected ${expected}`);
    }
  });
  test("bfloat16 is the upper half of a float32", () => {
    for (let code = 0; code < 65536; code++) {
      const expected = new Float32Array(Uint32Array.of(code << 16).buffer)[0];
      const got = decodeMinifloat(FORMATS.bfloat16, code);
      if (!Object.is(got, expected)) throw new Error(`${code}: ${got}, expected ${expected}`);
    }
  });
  test("special codes of the 8-bit formats", () => {
    const nans = (format: keyof typeof FORMATS) =>
      Array.from({ length: 256 }, (_, code) => code).filter((code) =>
        Number.isNaN(decodeMinifloat(FORMATS[format], code)),
      );
    expect(nans("float8e4m3fn")).toEqual([0x7f, 0xff]);
    expect(nans("float8e4m3fnuz")).toEqual([0x80]);
    expect(nans("float8e5m2")).toEqual([0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff]);
    expect(nans("float8e5m2fnuz")).toEqual([0x80]);
    expect(decodeMinifloat(FORMATS.float8e5m2, 0x7c)).toBe(Number.POSITIVE_INFINITY);
    expect(decodeE8M0(255)).toBe(Number.NaN);
    expect(Array.from({ length: 8 }, (_, code) => decodeMinifloat(FORMATS.float4e2m1, code))).toEqual([
      0, 0.5, 1, 1.5, 2, 3, 4, 6,
    ]);
  });
});

describe("zero copy", () => {
  /** The same model with `pad` more bytes before the tensor. */
  const withPadding = (pad: number, tensor: w.Tensor) =>
    w.model({ producer: "x".repeat(pad), initializers: { t: tensor } });

  test("an aligned tensor is a view into the file, a misaligned one an equal copy", () => {
    const values = Float32Array.from({ length: 100 }, (_, i) => i / 3);
    let views = 0;
    for (let pad = 0; pad < 4; pad++) {
      const bytes = withPadding(pad, w.f32([100], values));
      const result = readModel(bytes);
      const got = elements(result.ok ? result.value.graph.initializers.get("t")! : read(w.f32([], [])));
      expect(got).toEqual(values);
      if ((got as Float32Array).buffer === bytes.buffer) views++;
    }
    expect(views).toBe(1);
  });
  test("a view, also when the file is a Node Buffer inside a pool", () => {
    const bytes = Buffer.from(w.model({ initializers: { t: w.i8([3], [1, -2, 3]) } }));
    const result = readModel(bytes);
    const got = elements(result.ok ? result.value.graph.initializers.get("t")! : read(w.f32([], [])));
    expect(got).toEqual(Int8Array.of(1, -2, 3));
    expect((got as Int8Array).buffer).toBe(bytes.buffer);
  });
  test("100 MB of raw data stay where they are", () => {
    const size = 100 << 20;
    const bytes = withPadding(0, w.raw("int8", [0], []));
    const head = w.model({ nodes: [] });
    // A tensor is written around the data by hand, so that the test itself holds one copy only.
    const lengths = (n: number) => {
      const out: number[] = [];
      for (let rest = n; ; rest = Math.floor(rest / 128)) {
        if (rest < 128) return [...out, rest];
        out.push((rest % 128) | 128);
      }
    };
    const prefix = [0x08, ...lengths(size), 0x10, 3, 0x42, 1, 0x74, 0x4a, ...lengths(size)];
    const graph = [0x2a, ...lengths(prefix.length + size), ...prefix];
    const field = [0x3a, ...lengths(graph.length + size), ...graph];
    const file = new Uint8Array(head.length + field.length + size);
    file.set(head);
    file.set(field, head.length);
    file[file.length - 1] = 200;
    expect(bytes.length).toBeGreaterThan(0);

    globalThis.gc?.();
    const before = process.memoryUsage();
    const result = readModel(file);
    const after = process.memoryUsage();
    const got = elements(result.ok ? result.value.graph.initializers.get("t")! : read(w.f32([], [])));
    expect((got as Int8Array).buffer).toBe(file.buffer);
    expect(got[size - 1]).toBe(-56);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(size / 100);
    // The file itself counts as one, so 1.2 times its size leaves a fifth.
    expect(after.rss - before.rss).toBeLessThan(size / 5);
  });
});

describe("malformed tensors", () => {
  test.each([
    [
      "too few bytes",
      w.raw("float32", [2], [0, 0, 0, 0]),
      "QC1014 2 elements of float32 need 8 bytes, the tensor carries 4",
    ],
    [
      "too many bytes",
      w.raw("int4", [2], [1, 2]),
      "QC1014 2 elements of int4 need 1 bytes, the tensor carries 2",
    ],
    [
      "no data",
      { ...w.typed(w.i8([3], [])) },
      "QC1014 3 elements of int8 need 3 bytes, the tensor carries 0",
    ],
    [
      "too few entries",
      w.typed(w.i8([3], [1])),
      "QC1014 3 elements of int8 need 3 entries of int32_data, the tensor carries 1",
    ],
    [
      "strings",
      w.tensor("string", [2], ["a"]),
      "QC1014 2 elements of string need 2 strings, the tensor carries 1",
    ],
    [
      "huge dims",
      { ...w.f32([], [1]), dims: [2 ** 30, 2 ** 20] },
      "QC1014 1125899906842624 elements of float32 need 4503599627370496 bytes, the tensor carries 4",
    ],
    [
      "overflow",
      { ...w.f32([], [1]), dims: [2 ** 30, 2 ** 30] },
      "QC1013 tensor of shape [1073741824, 1073741824]: it has more than 2^53 elements",
    ],
    [
      "negative dimension",
      { ...w.f32([], [1]), dims: [-1, 1] },
      "QC1013 tensor of shape [-1, 1]: a dimension is negative",
    ],
    [
      "most negative dimension",
      { ...w.f32([], [1]), dims: [-(2n ** 63n)] },
      "QC1013 tensor of shape [-9223372036854775808]: a dimension is negative",
    ],
    [
      "dimension beyond 2^53",
      { ...w.f32([], [1]), dims: [2n ** 62n] },
      "QC1013 tensor of shape [4611686018427387904]: a dimension is beyond 2^53",
    ],
    [
      "wrong field",
      { ...w.typed(w.i8([1], [])), extra: Uint8Array.of(0x3a, 1, 5) },
      "QC1015 tensor data: elements of int8 belong into int32_data, not int64_data",
    ],
    [
      "two places",
      { ...w.i8([1], [5]), extra: Uint8Array.of(0x2a, 1, 5) },
      "QC1015 tensor data: both raw_data and int32_data are given",
    ],
    [
      "value out of range",
      w.typed(w.i8([1], [256])),
      "QC1015 tensor data: int32_data holds a number that is no int8",
    ],
    [
      "int64 in int32_data",
      { ...w.typed(w.i32([1], [])), extra: Uint8Array.of(0x2a, 6, 255, 255, 255, 255, 255, 1) },
      "QC1015 tensor data: int32_data holds a number that is no int32",
    ],
    [
      "uint64 in uint32",
      { ...w.typed(w.tensor("uint32", [1], [2n ** 32n])) },
      "QC1015 tensor data: uint64_data holds a number that is no uint32",
    ],
    [
      "open varint",
      { ...w.typed(w.i8([1], [])), extra: Uint8Array.of(0x2a, 1, 255) },
      "QC1015 tensor data: int32_data ends inside an integer",
    ],
    [
      "raw strings",
      { ...w.tensor("string", [0], []), extra: Uint8Array.of(0x4a, 1, 5) },
      "QC1015 tensor data: strings cannot be in raw_data",
    ],
    [
      "unknown type",
      { ...w.typed(w.i8([1], [1])), extra: Uint8Array.of(0x10, 29) },
      "QC1012 element type 29 is not one of ONNX 1.23",
    ],
    [
      "no type",
      { ...w.typed(w.i8([1], [1])), extra: Uint8Array.of(0x10, 0) },
      "QC1012 the tensor has no element type",
    ],
    [
      "segment",
      { ...w.i8([1], [1]), extra: Uint8Array.of(0x1a, 0) },
      "QC1016 the tensor is split into segments, which ONNX reserves and nobody writes",
    ],
  ] as [string, w.Tensor, string][])("%s", (_, tensor, message) => {
    expect(problems(tensor)).toEqual([message]);
  });
});
