import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Program } from "../../ir/kernel/ir.ts";
import { layout } from "./layout.ts";
import { assembleModule } from "./module.ts";
import { packBytes, packedConstants, stripPadding } from "./pack.ts";

/** What the packing means, bit by bit. */
function unpack({ count, bits, base, step, codes }: NonNullable<ReturnType<typeof packBytes>>): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => {
    let code = 0;
    for (let k = 0; k < bits; k++) code |= ((codes[(i * bits + k) >> 3]! >> ((i * bits + k) & 7)) & 1) << k;
    return (base + step * code) & 255;
  });
}

const cycle = (values: readonly number[], count = 999): Uint8Array =>
  Uint8Array.from({ length: count }, (_, i) => values[(i * 7 + (i >> 3)) % values.length]!);

describe("packBytes", () => {
  test.each([
    ["bipolar", [-1, 1], 1],
    ["ternary", [-1, 0, 1], 2],
    ["2 bits", [-2, -1, 0, 1], 2],
    ["3 bits, narrow", [-3, -1, 0, 3], 3],
    ["4 bits", [-8, 7, 0, 3], 4],
    ["unsigned 4 bits", [0, 15, 7], 4],
    ["7 bits", [-64, 63, 0, 1], 7],
    ["around 128, unsigned", [126, 127, 128, 130], 3],
    ["multiples of 16", [-128, -64, 48, 112], 4],
    ["one value", [5], 1],
  ] as const)("%s", (_, values, bits) => {
    const data = cycle(values);
    const packed = packBytes(data)!;
    expect(packed.bits).toBe(bits);
    expect(packed.codes.length).toBe(Math.ceil((999 * bits) / 8));
    expect(unpack(packed)).toEqual(data);
  });

  test("8 bits, or little to save: stays", () => {
    expect(packBytes(cycle([-128, 127, 0]))).toBeUndefined();
    expect(packBytes(cycle([-1, 1], 64))).toBeUndefined();
    expect(packBytes(new Uint8Array())).toBeUndefined();
  });
});

describe("stripPadding", () => {
  const padded = (zero: (i: number) => boolean, count = 640): Uint8Array =>
    Uint8Array.from({ length: count }, (_, i) => (zero(i % 64) ? 0 : ((i * 37) % 255) + 1));
  test.each<[string, (i: number) => boolean]>([
    ["every fourth", (i) => i % 4 === 3],
    ["the second half but for every fourth", (i) => i >= 32 && i % 4 !== 0],
    ["the first and the last", (i) => i === 0 || i === 63],
    ["all but one", (i) => i !== 17],
    ["all but the last", (i) => i !== 63],
    ["everything", () => true],
  ])("%s", async (_, zero) => {
    const data = padded(zero, 64 * 64);
    const stripped = stripPadding(data)!;
    const places = Array.from({ length: 64 }, (_, i) => i).filter((i) => !zero(i));
    expect(stripped.used).toBe(places.reduce((bits, i) => bits | (1n << BigInt(i)), 0n));
    expect(stripped.bytes).toEqual(data.filter((_, i) => !zero(i % 64)));
    // Bytes of eight bits around it stay in their places.
    const full = padded(() => false);
    const buffers = [full, data, full.map((x) => x ^ 1)].map((bytes, i) => ({
      name: `c${i}`,
      role: "const" as const,
      bytes: bytes.length,
      align: 16,
      data: bytes,
    }));
    const program: Program = { buffers, kernels: [] };
    const { addresses, memoryPages } = layout(program, new Map());
    const constants = packedConstants(program, addresses);
    expect(constants.paddings.length + constants.unpackings.length).toBe(1);
    const module = await assembleModule({
      program,
      addresses,
      memoryPages,
      kind: "baseline",
      exportsMemory: true,
      data: true,
    });
    const { instance } = await WebAssembly.instantiate(module as Uint8Array<ArrayBuffer>);
    const memory = new Uint8Array((instance.exports.memory as WebAssembly.Memory).buffer);
    for (const b of buffers) {
      const at = addresses.get(b.name)!;
      expect(memory.slice(at, at + b.bytes)).toEqual(b.data);
    }
  });

  test("no padding, little of it, or not of this period: stays", () => {
    expect(stripPadding(padded(() => false))).toBeUndefined();
    expect(stripPadding(padded((i) => i === 5))).toBeUndefined();
    expect(stripPadding(padded((i) => i % 4 === 3, 639))).toBeUndefined();
    expect(stripPadding(new Uint8Array())).toBeUndefined();
  });
});

test("a module spreads its constants out when it starts", async () => {
  const constants = fc.array(
    fc.record({
      count: fc.integer({ min: 1, max: 700 }),
      values: fc.array(fc.integer({ min: -128, max: 127 }), { minLength: 1, maxLength: 5 }),
      scale: fc.constantFrom(1, 1, 16),
    }),
    { minLength: 1, maxLength: 6 },
  );
  await fc.assert(
    fc.asyncProperty(constants, async (list) => {
      const buffers = list.map(({ count, values, scale }, i) => ({
        name: `c${i}`,
        role: "const" as const,
        bytes: count,
        align: 16,
        data: cycle(
          values.map((v) => Math.trunc(v / scale) & 255),
          count,
        ),
      }));
      const program: Program = { buffers, kernels: [] };
      const { addresses, memoryPages } = layout(program, new Map());
      const bytes = await assembleModule({
        program,
        addresses,
        memoryPages,
        kind: "baseline",
        exportsMemory: true,
        data: true,
      });
      const { instance } = await WebAssembly.instantiate(bytes as Uint8Array<ArrayBuffer>);
      const memory = new Uint8Array((instance.exports.memory as WebAssembly.Memory).buffer);
      for (const b of buffers) {
        const at = addresses.get(b.name)!;
        expect(memory.slice(at, at + b.bytes)).toEqual(b.data);
      }
    }),
    { numRuns: 60 },
  );
});
