import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readNpy, writeNpy } from "../../compiler/cli/npy.ts";
import { readNpz, writeNpz } from "../../compiler/cli/npz.ts";
import type { TensorData } from "../../runtime/elements.ts";

/** A version 1 file from a header in Python syntax. */
function npy(header: string, body: Uint8Array = new Uint8Array(0), version = 1): Uint8Array {
  const text = new TextEncoder().encode(header);
  const size =
    version === 1 ? [text.length & 255, text.length >> 8] : [text.length & 255, text.length >> 8, 0, 0];
  return Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0, ...size, ...text, ...body);
}
const header = (descr: string, shape: string, fortran = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`;

const value = (bytes: Uint8Array) => {
  const r = readNpy(bytes, "a.npy");
  if (!r.ok) throw new Error(r.diagnostics[0]?.message);
  return r.value;
};

test("write, then read, for every kind of array", () => {
  const arrays: TensorData[] = [
    Int8Array.of(-1, 2, 3, 4, 5, 6),
    Uint8Array.of(255, 2, 3, 4, 5, 6),
    Int16Array.of(-300, 2, 3, 4, 5, 6),
    Uint16Array.of(65535, 2, 3, 4, 5, 6),
    Int32Array.of(-70000, 2, 3, 4, 5, 6),
    Uint32Array.of(4294967295, 2, 3, 4, 5, 6),
    BigInt64Array.of(-(2n ** 63n), 2n, 3n, 4n, 5n, 6n),
    BigUint64Array.of(2n ** 64n - 1n, 2n, 3n, 4n, 5n, 6n),
    Float32Array.of(0.1, NaN, -0, Infinity, 5, 6),
    Float64Array.of(0.1, NaN, -0, Infinity, 5, 6),
  ];
  for (const data of arrays)
    for (const shape of [[6], [2, 3], [1, 6, 1]]) {
      const file = writeNpy(data, shape);
      const read = value(file);
      expect(read.data).toEqual(data);
      expect(read.shape).toEqual(shape);
      expect((file.length - data.byteLength) % 64).toBe(0);
    }
});

test("big-endian, Fortran order, booleans, half precision, scalars, version 2", () => {
  expect(value(npy(header(">i2", "(2,)"), Uint8Array.of(1, 2, 255, 254))).data).toEqual(
    Int16Array.of(258, -2),
  );
  const fortran = value(npy(header("|u1", "(2, 3)", "True"), Uint8Array.of(1, 4, 2, 5, 3, 6)));
  expect([...fortran.data]).toEqual([1, 2, 3, 4, 5, 6]);
  expect([...value(npy(header("|b1", "(3,)"), Uint8Array.of(0, 1, 7))).data]).toEqual([0, 1, 1]);
  const half = Uint8Array.of(0x00, 0x3c, 0x01, 0x00, 0x00, 0xfc, 0xff, 0x7b, 0x00, 0x80);
  expect([...value(npy(header("<f2", "(5,)"), half)).data]).toEqual([1, 2 ** -24, -Infinity, 65504, -0]);
  expect(value(npy(header("<f4", "()"), new Uint8Array(4))).shape).toEqual([]);
  expect(value(npy(header("|i1", "(1,)"), Uint8Array.of(5), 2)).data).toEqual(Int8Array.of(5));
});

describe("hostile headers are QC5003", () => {
  const cases: [string, Uint8Array, string][] = [
    ["empty", new Uint8Array(0), "no NumPy signature"],
    ["other version", npy(header("|u1", "(0,)"), undefined, 9), "format version 9"],
    ["truncated", npy(header("|u1", "(1,)")).subarray(0, 20), "ends within the header"],
    ["short data", npy(header("<f4", "(3,)"), new Uint8Array(11)), "needs 12 bytes, the file has 11"],
    [
      "huge shape",
      npy(header("<f8", "(999999999999999, 999999999999999, 999999999999999)")),
      "the file has 0",
    ],
    ["negative shape", npy(header("<f4", "(-1,)")), "no shape"],
    ["objects", npy(header("|O", "(1,)"), new Uint8Array(8)), 'dtype "|O"'],
    ["strings", npy(header("<U5", "(1,)"), new Uint8Array(20)), "dtype"],
    ["structured", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"), "structured"],
    ["not a dictionary", npy("__import__('os')"), "not a dictionary"],
    ["prototype key", npy(header("|constructor", "(1,)"), new Uint8Array(8)), "dtype"],
    ["twice", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"), "twice"],
  ];
  test.each(cases)("%s", (_, bytes, message) => {
    const r = readNpy(bytes, "a.npy");
    expect(r.ok).toBe(false);
    expect(r.diagnostics[0]).toMatchObject({ code: "QC5003", message: expect.stringContaining(message) });
  });

  test("mutations never throw", () => {
    const good = writeNpy(Float32Array.of(1, 2, 3, 4), [2, 2]);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        (edits) => {
          const bad = good.slice();
          for (const [at, b] of edits) bad[at] = b;
          readNpy(bad, "a.npy");
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("npz", () => {
  test("write, then read; equal arrays give equal bytes", () => {
    const members = [
      ["__proto__", writeNpy(Int8Array.of(1, 2), [2])],
      ["b/c", writeNpy(Float32Array.of(0.5), [])],
    ] as const;
    const bytes = writeNpz(members);
    expect(writeNpz(members)).toEqual(bytes);
    const r = readNpz(bytes, "a.npz");
    expect(r.ok && [...r.value.keys()]).toEqual(["__proto__", "b/c"]);
    expect(r.ok && r.value.get("__proto__")?.data).toEqual(Int8Array.of(1, 2));
  });

  test("garbage and an empty archive", () => {
    expect(readNpz(Uint8Array.of(80, 75, 3, 4, 1, 2, 3), "a.npz").diagnostics[0]?.code).toBe("QC5004");
    expect(readNpz(writeNpz([]), "a.npz").diagnostics[0]?.code).toBe("QC5004");
  });

  test("a member that claims more bytes than it has, and cut files, never throw", () => {
    const good = writeNpz([["a", writeNpy(new Uint8Array(1000), [1000])]]);
    for (let cut = 0; cut < good.length; cut += 3) readNpz(good.subarray(0, cut), "a.npz");
    for (let at = 0; at < good.length; at++) {
      const bad = good.slice();
      bad[at]! ^= 0xff;
      readNpz(bad, "a.npz");
    }
  });

  const zoo = new URL("../../../shared/zoo/int8-qdq/mlperf_ad01/samples.npz", import.meta.url);
  test("a file that NumPy wrote", ({ skip }) => {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(zoo);
    } catch {
      if (process.env.QC_REQUIRE_ALL === "1") throw new Error("the zoo is missing");
      skip("the zoo is missing");
      return;
    }
    const r = readNpz(bytes, "samples.npz");
    expect(r.ok && r.value.get("input")?.shape).toEqual([10, 640]);
    expect(r.ok && r.value.get("input")?.dtype).toBe("int8");
    expect(r.ok && r.value.get("expected")?.shape[0]).toBe(10);
  });
});
