import fc from "fast-check";
import { expect, test } from "vitest";
import { type Buffer, c32, type Expr, load, type Program, store } from "../../ir/kernel/ir.ts";
import { layout } from "./layout.ts";
import { assembleModule } from "./module.ts";
import { packedConstants } from "./pack.ts";
import { elementBytes, planesOf, tableRuns, tablesLast } from "./tables.ts";

const constant = (name: string, data: Uint8Array): Buffer => ({
  name,
  role: "const",
  bytes: data.length,
  align: 16,
  data,
});
const arena: Buffer = { name: "y", role: "temp", bytes: 4096, align: 16 };
const reading = (reads: readonly (readonly [string, "i8x16" | "i16x8" | "i32x4"])[]): Program["kernels"] => [
  {
    name: "k",
    reads: reads.map(([name]) => name),
    writes: ["y"],
    body: reads.map(([name, type]) => store("y", c32(0), load(type, name, c32(0)) as Expr)),
  },
];

test("element sizes are those of the vectors that kernels read, where they agree", () => {
  const kernels = reading([
    ["w", "i8x16"],
    ["h", "i16x8"],
    ["m", "i32x4"],
    ["both", "i32x4"],
    ["both", "i16x8"],
  ]);
  expect([...elementBytes([{ buffers: [], kernels }])]).toEqual([
    ["h", 2],
    ["m", 4],
  ]);
});

test("bytes of one significance lie together", () => {
  expect(planesOf(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 4)).toEqual(Uint8Array.of(1, 5, 2, 6, 3, 7, 4, 8));
  expect(planesOf(Uint8Array.of(1, 2, 3, 4), 2)).toEqual(Uint8Array.of(1, 3, 2, 4));
});

const types = ["i8x16", "i16x8", "i32x4"] as const;

test("a module puts tables together when it starts", async () => {
  const constants = fc.array(
    fc.record({
      type: fc.constantFrom(...types),
      vectors: fc.integer({ min: 1, max: 24 }),
      seed: fc.integer({ min: 1, max: 1 << 20 }),
      narrow: fc.boolean(),
    }),
    { minLength: 1, maxLength: 10 },
  );
  let joined = 0;
  await fc.assert(
    fc.asyncProperty(constants, fc.constantFrom(0, 600, 4096), async (list, room) => {
      const buffers = list.map(({ vectors, seed, narrow }, i) =>
        constant(
          `c${i}`,
          Uint8Array.from(
            { length: 16 * vectors },
            (_, j) => (Math.imul(seed + j, 2654435761) >>> 13) & (narrow && j % 2 === 1 ? 0 : 255),
          ),
        ),
      );
      const kernels = reading(list.map(({ type }, i) => [`c${i}`, type] as const));
      const sizes = elementBytes([{ buffers: [], kernels }]);
      const program: Program = { kernels, buffers: [...tablesLast(buffers, sizes), arena] };
      const { addresses, memoryPages, arena: address } = layout(program, new Map([["y", 0]]));
      const runs = tableRuns(program, addresses, sizes, room);
      expect(runs.reduce((n, r) => n + r.bytes, 0)).toBeLessThanOrEqual(room);
      joined += packedConstants(program, addresses, { address, runs }).tables.length;
      const bytes = await assembleModule({
        program,
        addresses,
        memoryPages,
        kind: "baseline",
        exportsMemory: true,
        data: true,
        staging: { address, runs },
      });
      const { instance } = await WebAssembly.instantiate(bytes as Uint8Array<ArrayBuffer>);
      const memory = new Uint8Array((instance.exports.memory as WebAssembly.Memory).buffer);
      for (const b of buffers) {
        const at = addresses.get(b.name)!;
        expect(memory.slice(at, at + b.bytes)).toEqual(b.data);
      }
    }),
    { numRuns: 60, seed: 1 },
  );
  expect(joined).toBeGreaterThan(10);
});
