/** Convolutions and matmuls: the reference interpreter against the kernels in all engines, over random shapes. */
import { describe, expect, it } from "vitest";
import { wasmRelaxed, wasmSimd } from "../../compiler/backends/wasm/target.ts";
import { createBuilder, type FuncBuilder } from "../../compiler/ir/builder.ts";
import { interpretFunc } from "../../compiler/ir/interpreter.ts";
import type { Buffer, Program } from "../../compiler/ir/kernel/ir.ts";
import type { Attrs, Dense, Func, Value } from "../../compiler/ir/module.ts";
import { runPipeline } from "../../compiler/ir/pass.ts";
import { fromNumber, type Rational, rational } from "../../compiler/ir/rational.ts";
import { type IntType, int, sizeOf, tensor, U8 } from "../../compiler/ir/types.ts";
import { certify } from "../../compiler/passes/certify.ts";
import { lowerContraction } from "../../compiler/passes/lower/contraction.ts";
import { lowerDepthwise } from "../../compiler/passes/lower/depthwise.ts";
import { CONTAINER_BYTES, containerOf, type Layout } from "../../compiler/passes/lower/layout.ts";
import { imageLayout, paddedChannels } from "../../compiler/passes/lower/layouts.ts";
import type { Lowered } from "../../compiler/passes/lower/stage.ts";
import { relaxedRefusal } from "../../runtime/relaxed.ts";
import { type Engine, engine } from "../kernel/harness.ts";
import { randomFrom } from "./rescales.ts";

const ENGINES: readonly Engine[] = ["interpreter", "baseline", "relaxed"];

/** Where the relaxed dot is not u8 × s8, its modules are tested on activations of seven bits. */
const refusal = relaxedRefusal("u8s8");
if (refusal !== undefined) console.warn(`SKIPPED relaxed kernels on activations above 127: ${refusal}`);
const limitOf = (kind: Engine): number => (kind === "relaxed" && refusal !== undefined ? 127 : 255);

interface Shape {
  readonly n: number;
  readonly residual: boolean;
  /** Pool behind the result: its window, or the whole image. */
  readonly pool: "none" | "max" | "sum" | "all";
  readonly h: number;
  readonly w: number;
  readonly c: number;
  readonly o: number;
  readonly kh: number;
  readonly kw: number;
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly pads: readonly [number, number, number, number];
  readonly groups: number;
  readonly x: IntType;
  readonly w8: boolean;
  readonly requant: boolean;
  /** Extra halo and padded channels around input and output. */
  readonly loose: boolean;
  /** All weights −128, all activations at their greatest. */
  readonly extreme?: boolean;
}

/** Integers from a to b, inclusive. */
interface Random {
  readonly int: (a: number, b: number) => number;
}
const randomInts = (seed: number): Random => {
  const next = randomFrom(seed);
  return { int: (a, b) => a + next(b - a + 1) };
};

const pick = <T>(r: Random, list: readonly T[]): T => list[r.int(0, list.length - 1)]!;

function randomShape(r: Random, depthwise: boolean): Shape {
  const kh = pick(r, [1, 1, 3, 3, 2, 5]);
  const kw = depthwise ? pick(r, [1, 3, 3, 4, 7]) : pick(r, [1, 1, 3, 2]);
  const dilation = [pick(r, [1, 1, 1, 2]), pick(r, [1, 1, 1, 2])] as const;
  const c = depthwise ? r.int(2, 21) : pick(r, [1, 2, 3, 4, 7, 8, 13, 16, 20]);
  const groups = depthwise ? c : c % 2 === 0 && r.int(0, 4) === 0 ? 2 : 1;
  const o = depthwise ? c * pick(r, [1, 1, 1, 2, 3]) : groups * r.int(1, 19);
  const pads = Array.from({ length: 4 }, () => r.int(0, 2)) as unknown as Shape["pads"];
  const h = (kh - 1) * dilation[0] + r.int(1, 5);
  const w = (kw - 1) * dilation[1] + r.int(1, 9);
  const x = depthwise ? U8 : pick(r, [U8, U8, int(false, 4), int(true, 16)]);
  return {
    n: r.int(0, 3) === 0 ? 2 : 1,
    residual: !depthwise && groups === 1 && r.int(0, 3) === 0,
    pool: depthwise || groups > 1 ? "none" : pick(r, ["none", "none", "max", "sum", "all"] as const),
    h,
    w,
    c,
    o,
    kh,
    kw,
    stride: [pick(r, [1, 1, 2]), pick(r, [1, 1, 2])],
    dilation,
    pads,
    groups,
    x,
    w8: r.int(0, 2) > 0,
    requant: r.int(0, 4) > 0,
    loose: r.int(0, 1) === 1,
  };
}

const denseConst = (data: Int32Array, shape: readonly number[], elem: IntType): Dense => ({
  kind: "dense",
  elem,
  shape,
  data,
});

function buildFunc(r: Random, s: Shape): { func: Func; x: Value } {
  const b = createBuilder("conv");
  const x = b.param(tensor([s.n, s.h, s.w, s.c], s.x), { name: "x", dtype: "int32" });
  const shape = [s.o, s.kh, s.kw, s.c / s.groups];
  const limit = s.w8 ? 127 : 255;
  const data = Int32Array.from({ length: sizeOf(shape) }, () =>
    s.extreme ? -128 : r.int(0, 9) === 0 ? r.int(-limit, limit) : r.int(-s.w8 ? -128 : -100, 127),
  );
  const welem = int(true, 9);
  const w = b.add1("const", [], { value: denseConst(data, shape, welem) }, { types: [tensor(shape, welem)] });
  const attrs: Attrs = {
    strides: s.stride,
    pads: s.pads,
    dilations: s.dilation,
    groups: s.groups,
    pad_value: s.x.signed ? -3 : s.x.bits === 4 ? 7 : 100,
  };
  const acc = b.add1("qc.conv", [x, w], attrs);
  if (!s.requant) {
    b.result(acc, { name: "y", dtype: "int32" });
    return { func: b.build(), x };
  }
  const range = 2 ** s.x.bits * 128 * sizeOf(shape.slice(1));
  const scales = Array.from({ length: s.o }, () =>
    fromNumber(Math.fround((r.int(1, 1000) / 1000) * (r.int(0, 7) === 0 ? -1 : 1) * (4096 / range))),
  );
  const offset = Array.from({ length: s.o }, () => fromNumber(Math.fround(r.int(-1000, 1000) / 10)));
  const y = b.add1(
    "qc.requant",
    [acc],
    { axis: 3, scales: [scales], offset, zero_point: rational(3n), lo: 0, hi: 255 },
    { types: [tensor(acc.type.shape, U8)] },
  );
  const joined = s.residual ? addResidual(r, b, y) : y;
  b.result(addPool(r, b, joined, s.pool), { name: "y", dtype: "uint8" });
  return { func: b.build(), x };
}

const toU8 = (b: FuncBuilder, operands: readonly Value[], scales: readonly Rational[]): Value =>
  b.add1(
    "qc.requant",
    operands,
    {
      axis: 3,
      scales: scales.map((t) => [t]),
      offset: [rational(-7n, 2n)],
      zero_point: rational(0n),
      lo: 5,
      hi: 250,
    },
    { types: [tensor(operands[0]!.type.shape, U8)] },
  );

function addResidual(r: Random, b: FuncBuilder, y: Value): Value {
  const other = b.param(y.type, { name: "r", dtype: "uint8" });
  const terms = [fromNumber(Math.fround(0.71)), fromNumber(Math.fround(r.int(1, 20) / 16))];
  return toU8(b, r.int(0, 1) === 0 ? [y, other] : [other, y], terms);
}

function addPool(r: Random, b: FuncBuilder, y: Value, pool: Shape["pool"]): Value {
  const [, h, w] = y.type.shape as [number, number, number];
  const kernel = [r.int(1, Math.min(h, 3)), r.int(1, Math.min(w, 4))] as const;
  const strides = kernel.map((k) => k + (r.int(0, 4) === 0 ? 1 : 0));
  const pads = [0, 0, 0, 0];
  if (pool === "none") return y;
  if (pool === "max") return b.add1("qc.max_pool", [y], { kernel, strides, pads, dilations: [1, 1] });
  const sum =
    pool === "sum"
      ? b.add1("qc.sum_pool", [y], { kernel, strides, pads, pad_value: 0 })
      : b.add1("qc.reduce_sum", [y], { axes: [1, 2], keepdims: true });
  return toU8(b, [sum], [rational(1n, BigInt(pool === "sum" ? kernel[0] * kernel[1] : h * w))]);
}

/** The bytes of a layout's buffer that hold the tensor and its halo; padding channels keep `garbage`. */
function fill(l: Layout, bytes: number, d: Dense | undefined, garbage: number): Uint8Array {
  const out = new Uint8Array(bytes).fill(garbage);
  const view = new DataView(out.buffer);
  const e = CONTAINER_BYTES[l.container];
  const put = (at: number, v: number): void => {
    if (e === 1) view.setUint8(at, v & 255);
    else if (e === 2) view.setInt16(at, v, true);
    else view.setInt32(at, v, true);
  };
  const [n, h, w, c] = l.shape as [number, number, number, number];
  const { top = 0, left = 0, bottom = 0, right = 0, value = 0 } = l.halo ?? {};
  for (let i = 0; i < n; i++)
    for (let y = -top; y < h + bottom; y++)
      for (let x = -left; x < w + right; x++)
        for (let k = 0; k < c; k++) {
          const inside = y >= 0 && y < h && x >= 0 && x < w;
          const at = l.offset + i * l.strides[0]! + y * l.strides[1]! + x * l.strides[2]! + k * e;
          put(at, inside ? (d?.data[((i * h + y) * w + x) * c + k] ?? 0) : value);
        }
  return out;
}

function element(view: DataView, l: Layout, at: number): number {
  if (l.container === "u8") return view.getUint8(at);
  if (l.container === "i8") return view.getInt8(at);
  return CONTAINER_BYTES[l.container] === 2 ? view.getInt16(at, true) : view.getInt32(at, true);
}

function read(l: Layout, bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const e = CONTAINER_BYTES[l.container];
  const [n, h, w, c] = l.shape as [number, number, number, number];
  const out: number[] = [];
  for (let i = 0; i < n; i++)
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++)
        for (let k = 0; k < c; k++)
          out.push(
            element(view, l, l.offset + i * l.strides[0]! + y * l.strides[1]! + x * l.strides[2]! + k * e),
          );
  return out;
}

async function check(seed: number, depthwise: boolean, fixed: Partial<Shape> = {}): Promise<void> {
  const r = randomInts(seed);
  const s = { ...randomShape(r, depthwise), ...fixed };
  const { func, x } = buildFunc(r, s);
  const certified = runPipeline({ funcs: [func] }, [certify]);
  if (!certified.ok) throw new Error(`seed ${seed}: ${certified.diagnostics[0]!.message}`);
  const ready = certified.value.funcs[0]!;
  const y = ready.results[0]!.value;
  const data = Int32Array.from({ length: sizeOf(x.type.shape) }, () =>
    s.x.signed ? r.int(-32768, 32767) : r.int(s.extreme ? 255 : 0, 2 ** s.x.bits - 1),
  );
  const joined = ready.params[1]?.value ?? y;
  const other = Int32Array.from({ length: sizeOf(joined.type.shape) }, () => r.int(0, 255));
  const rin = imageLayout("r", joined, undefined, joined.type.shape[3]! + (s.loose ? 3 : 0));
  const extra = s.loose ? 1 : 0;
  const [top, left, bottom, right] = s.pads;
  const halo = {
    top: top + extra,
    left: left + extra,
    bottom: bottom + extra,
    right: right + extra,
    value: func.ops.find((o) => o.name === "qc.conv")!.attrs.pad_value as number,
  };
  const xin = imageLayout("x", x, halo, s.loose ? paddedChannels(s.c) : s.c);
  const i32 = containerOf(y.type) === "i32";
  const yout = imageLayout(
    "y",
    y,
    s.loose && !i32 ? { top: 1, left: 2, bottom: 1, right: 0, value: 9 } : undefined,
    s.loose && !i32 ? paddedChannels(s.o) : s.o,
  );
  for (const kind of ENGINES) {
    const input = denseConst(
      s.x.bits === 8 ? data.map((v) => Math.min(v, limitOf(kind))) : data,
      x.type.shape,
      s.x,
    );
    const residual = denseConst(other, joined.type.shape, U8);
    const operands = ready.params.length > 1 ? [input, residual] : [input];
    const [want] = interpretFunc({ funcs: [ready] }, ready, operands);
    const target = kind === "baseline" ? wasmSimd : wasmRelaxed;
    const inputs = ready.params.length > 1 ? [xin.layout, rin.layout] : [xin.layout];
    const stage = { func: ready, inputs, outputs: [yout.layout], target, name: "k" };
    const lowered: Lowered | undefined = depthwise ? lowerDepthwise(stage) : lowerContraction(stage);
    if (lowered === undefined) throw new Error(`seed ${seed}: not lowered`);
    const buffers: Buffer[] = [
      { name: "x", role: "input", bytes: xin.bytes, align: 16 },
      { name: "r", role: "input", bytes: rin.bytes, align: 16 },
      { name: "y", role: "output", bytes: yout.bytes, align: 16 },
      ...lowered.buffers,
    ];
    const program: Program = { buffers, kernels: [lowered.kernel] };
    const scratch = lowered.buffers.filter((b) => b.data === undefined);
    const run = await engine(program, kind);
    const memory = run(
      new Map([
        ["x", fill(xin.layout, xin.bytes, input, 0xa5)],
        ["r", fill(rin.layout, rin.bytes, residual, 0xa5)],
        ["y", new Uint8Array(yout.bytes).fill(0xa5)],
        ...scratch.map((b) => [b.name, new Uint8Array(b.bytes).fill(0xa5)] as const),
      ]),
    );
    const got = read(yout.layout, memory.get("y")!);
    const bad = got.findIndex((v, i) => v !== want!.data[i]);
    expect(
      bad < 0
        ? "equal"
        : `${kind} seed ${seed} ${JSON.stringify(s)} element ${bad}: ${got[bad]} for ${want!.data[bad]}`,
    ).toBe("equal");
    // The halo is the producer's to fill.
    if (yout.layout.halo) {
      const whole = fill(yout.layout, yout.bytes, want, 0xa5);
      const mask = fill(
        { ...yout.layout },
        yout.bytes,
        { ...want!, data: new Int32Array(want!.data.length).fill(77) },
        0x11,
      );
      const wrong = whole.findIndex((v, i) => mask[i] !== 0x11 && v !== memory.get("y")![i]);
      expect(wrong).toBe(-1);
    }
  }
}

describe("contraction", () => {
  it("equals the interpreter on 120 random convolutions in all engines", async () => {
    for (let seed = 1; seed <= 120; seed++) await check(seed, false);
  });
});

describe("large contraction", () => {
  const large: Partial<Shape> = { n: 1, c: 20, groups: 1, dilation: [1, 1], x: U8, requant: true };
  it.each<[string, Partial<Shape>]>([
    ["one run of pixels", { h: 24, w: 24, o: 11, kh: 1, kw: 1, pads: [0, 0, 0, 0], stride: [1, 1] }],
    ["rows that overlap", { h: 26, w: 20, o: 9, kh: 3, kw: 3, pads: [1, 1, 1, 1], stride: [1, 1] }],
    ["rows that are apart", { h: 41, w: 40, o: 8, kh: 1, kw: 2, pads: [0, 0, 0, 0], stride: [2, 2] }],
  ])("%s, cut into strips", async (_, shape) => {
    for (const [seed, residual] of [
      [1, false],
      [2, true],
      [3, true],
    ] as const)
      await check(seed, false, { ...large, ...shape, residual });
  });
});

describe("contraction with half a panel of channels at the end", () => {
  it.each([1, 3, 4, 9, 12, 17, 20])("%i output channels", async (o) => {
    for (const [seed, residual, kw] of [
      [1, false, 1],
      [2, true, 1],
      [3, true, 3],
    ] as const)
      await check(seed, false, { o, residual, kw, kh: kw, groups: 1, n: 1, h: 5, w: 6, x: U8, pool: "none" });
  });
});

describe("contraction of few pixels", () => {
  const few: Partial<Shape> = { groups: 1, dilation: [1, 1], pads: [0, 0, 0, 0], x: U8, pool: "none" };
  const point: Partial<Shape> = { ...few, h: 1, kh: 1, kw: 1, stride: [1, 1] };
  it.each<[string, Partial<Shape>]>([
    ["one pixel, more channels than a tile", { ...point, w: 1, c: 37, o: 43 }],
    ["one pixel, more K-groups than even sums last", { ...point, w: 1, c: 1100, o: 9 }],
    ["two pixels, an odd number of K-groups over that", { ...point, w: 2, c: 517, o: 13 }],
    ["a kernel over the whole input", { ...few, h: 3, w: 4, kh: 3, kw: 4, c: 13, o: 21 }],
    ["rows of three pixels", { ...few, h: 4, w: 5, kh: 3, kw: 3, stride: [1, 1], c: 9, o: 10 }],
    ["six pixels in groups", { ...few, groups: 2, h: 4, w: 7, kh: 2, kw: 2, stride: [2, 2], c: 10, o: 18 }],
  ])("%s", async (_, shape) => {
    for (const [seed, n, residual, w8] of [
      [1, 1, false, true],
      [2, 2, false, false],
      [3, 1, true, false],
      [4, 2, true, true],
    ] as const)
      await check(seed, false, { ...shape, n, w8, residual: residual && shape.groups === 1 });
  });
  it("keeps even sums within 31 bits at the largest products", async () => {
    for (const c of [512, 513, 1040])
      await check(c, false, {
        ...point,
        w: 1,
        c,
        o: 5,
        n: 1,
        extreme: true,
        requant: false,
        residual: false,
      });
  });
});

describe("depthwise", () => {
  it("equals the interpreter on 120 random depthwise convolutions in all engines", async () => {
    for (let seed = 1; seed <= 120; seed++) await check(1000 + seed, true);
  });

  const odd: Partial<Shape> = { dilation: [1, 1], pads: [1, 2, 1, 0], stride: [1, 1] };
  it.each<[string, Partial<Shape>]>([
    ["3×3, an odd number of rows", { ...odd, kh: 3, kw: 3, h: 5, w: 11, c: 17, o: 17 }],
    ["3×3, stride 2", { ...odd, kh: 3, kw: 3, h: 9, w: 12, stride: [2, 2], c: 8, o: 8 }],
    ["3×3, one output row", { ...odd, kh: 3, kw: 3, h: 3, w: 17, pads: [0, 1, 0, 1], c: 9, o: 9 }],
    ["5×5", { ...odd, kh: 5, kw: 5, h: 8, w: 9, c: 12, o: 12 }],
    ["7×7", { ...odd, kh: 7, kw: 7, h: 9, w: 9, c: 10, o: 10 }],
    ["9×3, stride 2 by 1", { ...odd, kh: 9, kw: 3, h: 13, w: 7, stride: [2, 1], c: 16, o: 16 }],
    ["3×3, two output channels each", { ...odd, kh: 3, kw: 3, h: 6, w: 9, c: 6, o: 12 }],
    ["3×3, three output channels each", { ...odd, kh: 3, kw: 3, h: 6, w: 9, c: 7, o: 21 }],
    ["2×3, 16 output channels each", { ...odd, kh: 2, kw: 3, h: 6, w: 9, c: 2, o: 32 }],
    ["1×4, five output channels each", { ...odd, kh: 1, kw: 4, h: 3, w: 9, c: 4, o: 20 }],
    ["4×4, stride 2", { ...odd, kh: 4, kw: 4, h: 12, w: 11, stride: [2, 2], c: 9, o: 9 }],
    ["1×7", { ...odd, kh: 1, kw: 7, h: 3, w: 11, c: 11, o: 11 }],
    ["1×9, stride 2", { ...odd, kh: 1, kw: 9, h: 1, w: 43, stride: [1, 2], pads: [0, 4, 0, 4], c: 9, o: 9 }],
    ["1×5, columns dilated", { ...odd, kh: 1, kw: 5, h: 2, w: 30, dilation: [1, 3], c: 8, o: 8 }],
    ["5×1", { ...odd, kh: 5, kw: 1, h: 12, w: 4, c: 8, o: 8 }],
    ["3×7, columns dilated", { ...odd, kh: 3, kw: 7, h: 6, w: 15, dilation: [1, 2], c: 5, o: 5 }],
  ])("%s, in all engines", async (_, shape) => {
    for (const [seed, n, w8] of [
      [1, 1, true],
      [2, 2, true],
      [3, 1, false],
    ] as const)
      await check(seed, true, { ...shape, n, w8, groups: shape.c! });
  });
});
