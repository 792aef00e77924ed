import { describe, expect, it } from "vitest";
import { layout, separatePlan } from "../../compiler/backends/wasm/layout.ts";
import { assembleModule } from "../../compiler/backends/wasm/module.ts";
import { type Program, SLACK } from "../../compiler/ir/kernel/ir.ts";
import { legalize } from "../../compiler/ir/kernel/legalize.ts";
import { parseProgram } from "../../compiler/ir/kernel/parser.ts";
import { countOf, decodeWasm, floatUses, scalarMultiplies } from "../wasm-decode.ts";
import { hasRelaxed } from "./harness.ts";

const text = `input @x bytes 16 align 16
output @y bytes 16 align 16
const @w bytes 16 align 16
const @same bytes 16 align 4
kernel @first reads(@x, @w) writes(@y) {
  store @y[0], dot4_s8u8.i32x4(i32x4(1), load.i8x16 @w[0], load.i8x16 @x[0])
}
kernel @second reads(@same) writes(@y) {
  store @y[0], add.i32x4(load.i32x4 @y[0], load.i32x4 @same[0])
}
data @w "000102030405060708090a0b0c0d0e0f"
data @same "000102030405060708090a0b0c0d0e0f"`;
const parsed = parseProgram(text);
if (!parsed.ok) throw new Error(parsed.diagnostics[0]!.message);
const program: Program = parsed.value;

describe("layout", () => {
  it("shares equal constants, leaves slack at both ends and obeys the plan", () => {
    const l = layout(
      program,
      new Map([
        ["x", 64],
        ["y", 0],
      ]),
    );
    expect(l.addresses.get("w")).toBe(SLACK);
    expect(l.addresses.get("same")).toBe(SLACK);
    expect(l.constBytes).toBe(16);
    expect(l.arena % 64).toBe(0);
    expect(l.addresses.get("x")).toBe(l.arena + 64);
    expect(l.arenaBytes).toBe(80);
    expect(l.memoryPages).toBe(1);
    expect(
      layout(
        program,
        new Map([
          ["x", 65536 - 2 * SLACK - 64],
          ["y", 0],
        ]),
      ).memoryPages,
    ).toBe(2);
  });
  it("refuses a buffer without a place", () => {
    expect(() => layout(program, new Map([["x", 0]]))).toThrow("buffer y has no valid place");
    expect(() =>
      layout(
        program,
        new Map([
          ["x", 0],
          ["y", 8],
        ]),
      ),
    ).toThrow("buffer y has no valid place");
  });
});

describe("modules", () => {
  const places = layout(program, separatePlan(program));
  const { addresses, memoryPages } = places;
  const baseline = {
    program: legalize(program, { dot4: false }),
    addresses,
    memoryPages,
    kind: "baseline",
    exportsMemory: true,
    data: true,
  } as const;
  const relaxed = {
    program,
    addresses,
    memoryPages,
    kind: "relaxed",
    exportsMemory: false,
    data: false,
  } as const;

  it("have the promised interface", async () => {
    const b = decodeWasm(await assembleModule(baseline));
    expect(b.imports).toEqual([]);
    expect(b.exports.map((e) => [e.name, e.kind]).sort()).toEqual([
      ["memory", 2],
      ["run", 0],
    ]);
    expect(b.dataBytes).toBe(16);
    const r = decodeWasm(await assembleModule(relaxed));
    expect(r.imports).toEqual([{ module: "env", name: "memory", kind: 2 }]);
    expect(r.exports.map((e) => e.name)).toEqual(["run"]);
    expect(r.dataBytes).toBe(0);
    expect(
      countOf(
        r.functions.flatMap((f) => f.body),
        "i32x4.relaxed_dot_i8x16_i7x16_add_s",
      ),
    ).toBe(1);
    const p = decodeWasm(await assembleModule({ ...relaxed, profile: true }));
    expect(p.functions.map((f) => f.exportName)).toEqual(["first", "second", undefined]);
  });

  it.skipIf(!hasRelaxed)("work as a pair on one memory", async () => {
    const a = await WebAssembly.instantiate((await assembleModule(baseline)) as Uint8Array<ArrayBuffer>);
    const { memory, run } = a.instance.exports as { memory: WebAssembly.Memory; run: () => void };
    const bytes = new Uint8Array(memory.buffer);
    const input = Uint8Array.from({ length: 16 }, (_, i) => 127 - i);
    bytes.set(input, addresses.get("x")!);
    run();
    const y = () => bytes.slice(addresses.get("y")!, addresses.get("y")! + 16);
    const first = y();
    bytes.fill(0, addresses.get("y")!, addresses.get("y")! + 16);
    const b = await WebAssembly.instantiate((await assembleModule(relaxed)) as Uint8Array<ArrayBuffer>, {
      env: { memory },
    });
    (b.instance.exports.run as () => void)();
    expect(y()).toEqual(first);
    const sums = [0, 1, 2, 3].map((i) =>
      [0, 1, 2, 3].reduce((n, j) => n + (4 * i + j) * (127 - 4 * i - j), 1),
    );
    const words = new Int32Array(Uint8Array.from({ length: 16 }, (_, i) => i).buffer);
    expect([...new Int32Array(first.buffer)]).toEqual(sums.map((s, i) => s + words[i]!));
  });

  it("refuse a dot4 in a baseline module", async () => {
    await expect(assembleModule({ ...baseline, program })).rejects.toThrow("legalize first");
  });
});

describe("decoder", () => {
  // (func (param f32) (result …) …) modules written by hand: the checks must be able to fail.
  const moduleOf = (type: number[], body: number[]): Uint8Array =>
    Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...[1, 2 + type.length, 1, 0x60, ...type],
      ...[3, 2, 1, 0],
      ...[10, body.length + 4, 1, body.length + 2, 0, ...body, 0x0b],
    ]);
  const floats = (body: number[]): string[] => {
    const bytes = moduleOf([0, 0], body);
    expect(WebAssembly.validate(bytes as Uint8Array<ArrayBuffer>)).toBe(true);
    return floatUses(decodeWasm(bytes));
  };
  const zero = [0xfd, 12, ...new Array<number>(16).fill(0)];
  it("sees floating point in every disguise", () => {
    expect(floats([0x43, 0, 0, 0, 0, 0x1a])).toEqual(["function 0: f32.const"]);
    expect(floats([...zero, ...zero, 0xfd, 0xe4, 0x01, 0x1a])).toEqual(["function 0: op 0xfd 228"]);
    expect(floats([...zero, 0xfd, 0xfa, 0x01, 0x1a])).toEqual(["function 0: op 0xfd 250"]);
    expect(floats([0x41, 0, 0xb2, 0x1a])).toEqual(["function 0: op 0xb2"]);
    expect(floatUses(decodeWasm(moduleOf([1, 0x7d, 0], [])))).toEqual(["function 0: type f32"]);
    if (hasRelaxed) expect(floats([...zero, ...zero, 0xfd, 0x8d, 0x02, 0x1a])).toHaveLength(1);
  });
  it("takes integer instructions for what they are", () => {
    expect(floats([...zero, ...zero, 0xfd, 0xae, 0x01, 0x1a])).toEqual([]);
  });
  it("finds a scalar multiply in an innermost loop only", () => {
    const multiply = [0x41, 2, 0x41, 3, 0x6c, 0x1a];
    const count = (body: number[]): number =>
      scalarMultiplies(decodeWasm(moduleOf([0, 0], body)).functions[0]!);
    expect(count([0x03, 0x40, ...multiply, 0x0b])).toBe(1);
    expect(count([0x03, 0x40, ...multiply, 0x03, 0x40, 0x0b, 0x0b, ...multiply])).toBe(0);
  });
  it("throws on what it does not know", () => {
    expect(() => decodeWasm(moduleOf([0, 0], [0xfe, 0]))).toThrow("unknown instruction");
    expect(() => decodeWasm(moduleOf([0, 0], [0x41]))).toThrow();
    expect(() => decodeWasm(Uint8Array.of(1, 2, 3))).toThrow("not a WASM binary");
  });
});
