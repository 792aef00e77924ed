/** The epilogue against the interpreter of the recipes, element by element. */
import { describe, expect, it } from "vitest";
import { c32, load, type Program } from "../../compiler/ir/kernel/ir.ts";
import { evaluateRescale } from "../../compiler/ir/rescale/index.ts";
import { createKernel } from "../../compiler/passes/lower/block.ts";
import { createEpilogue, type EpilogueOptions } from "../../compiler/passes/lower/epilogue.ts";
import { storeElements } from "../../compiler/passes/lower/epilogue-store.ts";
import { CONTAINER_BYTES, type Container } from "../../compiler/passes/lower/layout.ts";
import { difference, engine } from "../kernel/harness.ts";
import { KINDS, type Random, randomFrom, randomRescale } from "./rescales.ts";

const RANGES: { readonly [c in Container]: readonly (readonly [number, number])[] } = {
  u8: [
    [0, 255],
    [3, 200],
    [0, 15],
  ],
  i8: [
    [-128, 127],
    [-7, 7],
    [0, 100],
  ],
  i16: [
    [-32768, 32767],
    [0, 255],
    [-100, 2000],
  ],
  u16: [
    [0, 65535],
    [0, 255],
    [7, 40000],
  ],
  i32: [
    [-32768, 32767],
    [0, 255],
    [-(2 ** 19), 2 ** 19],
  ],
  f32: [],
};

interface Case {
  readonly operands: number;
  readonly rows: number;
  readonly groups: number;
  readonly channels: number;
  readonly first: number;
}

/** acc[operand][row][group·4 + lane] through `emit`, stored whole. */
function programOf(options: Omit<EpilogueOptions, "block">, c: Case): Program {
  const k = createKernel("k");
  const epilogue = createEpilogue({ ...options, block: k.block });
  const row = c.groups * 16;
  k.block.loop(0, 1, 1, (_, b) => {
    const rows = Array.from({ length: c.rows }, (_, r) =>
      Array.from({ length: c.operands }, (_, o) =>
        Array.from({ length: c.groups }, (_, j) => {
          const a = load("i32x4", "acc", c32((o * c.rows + r) * row + j * 16));
          return a;
        }),
      ),
    );
    const packed = epilogue.emit(b, rows, c32(c.first));
    storeElements(b, { buffer: "y", container: options.container }, c32(0), 0, packed, c.rows * c.groups * 4);
  });
  const { kernel, buffers } = k.finish(["acc"], ["y"]);
  return {
    buffers: [
      { name: "acc", role: "input", bytes: c.operands * c.rows * row, align: 16 },
      {
        name: "y",
        role: "output",
        bytes: c.rows * c.groups * 4 * CONTAINER_BYTES[options.container],
        align: 16,
      },
      ...buffers,
    ],
    kernels: [kernel],
  };
}

const read = (bytes: Uint8Array, c: Container, i: number): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (c === "u8") return view.getUint8(i);
  if (c === "i8") return view.getInt8(i);
  if (c === "i16") return view.getInt16(i * 2, true);
  return c === "u16" ? view.getUint16(i * 2, true) : view.getInt32(i * 4, true);
};

const pick = (random: Random, min: number, max: number): number => {
  const r = random(8);
  return r === 0 ? min : r === 1 ? max : min + random(max - min + 1);
};

describe("every class, container and range", () => {
  let tried = 0;
  for (const kind of KINDS)
    for (const container of Object.keys(RANGES) as Container[])
      it(`${kind} to ${container}`, async () => {
        let made = 0;
        for (const [i, [lo, hi]] of RANGES[container].entries())
          for (const perChannel of [false, true])
            for (let n = 0; n < 2; n++) {
              const random = randomFrom(1000 * KINDS.indexOf(kind) + 100 * i + 10 * n + (perChannel ? 1 : 0));
              const wide = hi - lo > 255;
              const operands = kind === "hi32" || wide ? 1 : 1 + random(2);
              const reach =
                operands === 2 ? 63 : kind === "i32" || kind === "tie" ? 4000 : 2 ** (14 + random(8));
              const ranges = Array.from({ length: operands }, () => ({ min: -reach, max: reach }));
              const channels = 1 + random(wide ? 3 : 20);
              const rescale = randomRescale(random, { kind, channels, perChannel, ranges, lo, hi });
              if (!rescale) continue;
              made++;
              const c: Case = { operands, rows: 1 + random(3), groups: 1 + random(4), channels, first: 0 };
              const program = programOf({ rescale, channels, pad: 16, container }, c);
              const a0 = rescale.class === "hi32" ? rescale.a0 : [];
              const total = c.rows * c.groups * 4;
              const a = Array.from({ length: operands }, () =>
                Array.from({ length: total }, () => pick(random, -reach, reach)),
              );
              const channel = (e: number): number => e % (c.groups * 4);
              const acc = a.flatMap((list) =>
                list.map((x, e) => x + (a0[Math.min(channel(e), channels - 1)] ?? 0)),
              );
              const memory = new Map([
                ["acc", new Uint8Array(Int32Array.from(acc).buffer)],
                ["y", new Uint8Array(program.buffers[1]!.bytes)],
              ]);
              const [oracle, wasm] = [
                await engine(program, "interpreter"),
                await engine(program, "baseline"),
              ];
              const y = oracle(memory).get("y")!;
              for (let e = 0; e < total; e++) {
                if (channel(e) >= channels) continue;
                const values = a.map((list) => list[e]!);
                const want = evaluateRescale(rescale, channel(e), values);
                if (read(y, container, e) !== want)
                  expect({ e, values, y: read(y, container, e), rescale }).toBe(want);
              }
              expect(difference(oracle(memory), wasm(memory))).toBeUndefined();
            }
        tried += made;
        if (made === 0) console.warn(`SKIPPED ${kind} to ${container}: nothing certifies`);
      });
  it("most combinations exist", () => expect(tried).toBeGreaterThan(80));
});

describe("tables", () => {
  for (const [out, bits, signed] of [
    ["u8", 8, false],
    ["i8", 8, true],
    ["i16", 16, true],
    ["i32", 20, true],
  ] as const)
    for (const [min, length] of [
      [0, 256],
      [-128, 256],
      [0, 16],
      [-8, 15],
      [100, 101],
    ] as const)
      it(`${length} entries from ${min} to ${out}`, async () => {
        const random = randomFrom(length + min);
        const data = Int32Array.from({ length }, () => random(2 ** bits) - (signed ? 2 ** (bits - 1) : 0));
        const entries = {
          kind: "dense",
          elem: { kind: "int", signed, bits },
          shape: [length],
          data,
        } as const;
        const c: Case = { operands: 1, rows: 1, groups: 5, channels: 20, first: 0 };
        const program = programOf(
          { rescale: null, channels: 20, pad: 4, container: out, post: { table: { entries, min } } },
          c,
        );
        const x = Array.from({ length: 20 }, () => min + random(length));
        const memory = new Map([
          ["acc", new Uint8Array(Int32Array.from(x).buffer)],
          ["y", new Uint8Array(program.buffers[1]!.bytes)],
        ]);
        const [oracle, wasm] = [await engine(program, "interpreter"), await engine(program, "baseline")];
        const y = oracle(memory).get("y")!;
        expect(x.map((_, e) => read(y, out, e))).toEqual(x.map((v) => data[v - min]!));
        expect(difference(oracle(memory), wasm(memory))).toBeUndefined();
      });
});
