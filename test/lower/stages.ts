/** Runs one lowered stage on random data and layouts, against the graph interpreter. */
import { expect } from "vitest";
import { wasmSimd } from "../../compiler/backends/wasm/target.ts";
import { createBuilder, type FuncBuilder } from "../../compiler/ir/builder.ts";
import { dense } from "../../compiler/ir/dense.ts";
import { interpretFunc } from "../../compiler/ir/interpreter.ts";
import type { Program } from "../../compiler/ir/kernel/ir.ts";
import type { Dense, Func, Value } from "../../compiler/ir/module.ts";
import type { Target } from "../../compiler/ir/target.ts";
import { type IntType, intMax, intMin, sizeOf, type TensorType } from "../../compiler/ir/types.ts";
import {
  CONTAINER_BYTES,
  type Container,
  containerOf,
  denseLayout,
  type Halo,
  type Layout,
} from "../../compiler/passes/lower/layout.ts";
import type { Lowering } from "../../compiler/passes/lower/stage.ts";
import { difference, type Engine, engine } from "../kernel/harness.ts";
import type { Random } from "./rescales.ts";

const GARBAGE = 0xa5;

export interface Placed {
  readonly layout: Layout;
  readonly bytes: number;
}

/** Row-major, with a halo (rank 4), or with gaps behind rows of every axis, as the parts of a concatenation have. */
export function placed(
  buffer: string,
  type: TensorType,
  how: { readonly halo?: Halo; readonly gap?: number; readonly container?: Container },
): Placed {
  const container = how.container ?? containerOf(type);
  const size = CONTAINER_BYTES[container];
  const gap = how.gap ?? 0;
  const strides = new Array<number>(type.shape.length);
  const around = (a: number): number => {
    if (!how.halo || type.shape.length !== 4) return 0;
    return a === 1 ? how.halo.top + how.halo.bottom : a === 2 ? how.halo.left + how.halo.right : 0;
  };
  let n = size;
  for (let a = type.shape.length - 1; a >= 0; a--) {
    strides[a] = n;
    n *= type.shape[a]! + around(a) + (a === type.shape.length - 1 ? gap : 0);
  }
  const offset =
    (how.halo ? how.halo.top * strides[1]! + how.halo.left * strides[2]! : 0) + Math.min(gap, 3) * size;
  const layout = { ...denseLayout(buffer, type, container), strides, offset };
  return { layout: how.halo ? { ...layout, halo: how.halo } : layout, bytes: n + Math.min(gap, 3) * size };
}

export function randomPlace(random: Random, buffer: string, type: TensorType, wide = true): Placed {
  const own = containerOf(type);
  const wider: Container = CONTAINER_BYTES[own] === 1 ? (random(2) ? "i16" : "i32") : "i32";
  const container = wide && random(5) === 0 ? wider : own;
  const kind = random(3);
  if (kind === 1 && type.shape.length === 4) {
    const e = type.elem as IntType;
    const value = Math.max(intMin(e), Math.min(intMax(e), random(300) - 100));
    const [top, left, bottom, right] = [random(3), random(3), random(3), random(3)];
    const halo = { top, left, bottom, right, value };
    return placed(buffer, type, { container, halo, gap: random(2) * random(4) });
  }
  return placed(buffer, type, { container, gap: kind === 2 ? 1 + random(5) : 0 });
}

/** Byte position of every element, row-major. */
function positions(l: Layout): number[] {
  let out = [l.offset];
  l.shape.forEach((d, a) => {
    out = out.flatMap((p) => Array.from({ length: d }, (_, i) => p + i * l.strides[a]!));
  });
  return out;
}

function write(bytes: Uint8Array, at: number, c: Container, value: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (CONTAINER_BYTES[c] === 1) view.setUint8(at, value & 255);
  else if (CONTAINER_BYTES[c] === 2) view.setInt16(at, value, true);
  else view.setInt32(at, value, true);
}

function haloPositions(l: Layout): number[] {
  const { halo } = l;
  if (!halo) return [];
  const [n, h, w, c] = l.shape as [number, number, number, number];
  const [s0, s1, s2, s3] = l.strides as [number, number, number, number];
  const out: number[] = [];
  for (let b = 0; b < n; b++)
    for (let y = -halo.top; y < h + halo.bottom; y++)
      for (let x = -halo.left; x < w + halo.right; x++)
        if (y < 0 || y >= h || x < 0 || x >= w)
          for (let i = 0; i < c; i++) out.push(l.offset + b * s0 + y * s1 + x * s2 + i * s3);
  return out;
}

/** The bytes of a tensor in its layout, halo included, garbage everywhere else. */
export function encode({ layout, bytes }: Placed, values: ArrayLike<number>): Uint8Array {
  const out = new Uint8Array(bytes).fill(GARBAGE);
  for (const p of haloPositions(layout)) write(out, p, layout.container, layout.halo!.value);
  positions(layout).forEach((p, i) => {
    write(out, p, layout.container, values[i]!);
  });
  return out;
}

export function randomDense(random: Random, type: TensorType, min?: number, max?: number): Dense {
  const e = type.elem as IntType;
  const [lo, hi] = [min ?? intMin(e), max ?? intMax(e)];
  return dense(
    e,
    type.shape,
    Array.from({ length: sizeOf(type.shape) }, () => {
      const r = random(8);
      return r === 0 ? lo : r === 1 ? hi : lo + random(hi - lo + 1);
    }),
  );
}

export interface StageCase {
  readonly func: Func;
  readonly args: readonly Dense[];
  readonly inputs: readonly Placed[];
  readonly output: Placed;
}

/** A function of one result: `build` gets the builder and a way to add params. */
export function stageFunc(build: (b: FuncBuilder, param: (type: TensorType) => Value) => Value): Func {
  const b = createBuilder("stage");
  let n = 0;
  const param = (type: TensorType): Value => b.param(type, { name: `x${n++}`, dtype: "int32" });
  b.result(build(b, param), { name: "y", dtype: "int32" });
  return b.build();
}

/** Lowers for a target, runs in the interpreter and in WASM, compares every byte of the output buffer. */
export async function checkStage(
  lower: Lowering,
  c: StageCase,
  target: Target = wasmSimd,
  engines: readonly Engine[] = ["interpreter", "baseline"],
): Promise<Program> {
  const lowered = lower({
    func: c.func,
    inputs: c.inputs.map((p) => p.layout),
    outputs: [c.output.layout],
    target,
    name: "stage",
  });
  if (!lowered) throw new Error("not of this family");
  const program: Program = {
    buffers: [
      ...c.inputs.map((p) => ({ name: p.layout.buffer, role: "input" as const, bytes: p.bytes, align: 16 })),
      { name: c.output.layout.buffer, role: "output", bytes: c.output.bytes, align: 16 },
      ...lowered.buffers,
    ],
    kernels: [lowered.kernel],
  };
  const [want] = interpretFunc({ funcs: [c.func] }, c.func, c.args);
  const memory = new Map([
    ...c.inputs.map((p, i) => [p.layout.buffer, encode(p, c.args[i]!.data)] as const),
    [c.output.layout.buffer, new Uint8Array(c.output.bytes).fill(GARBAGE)] as const,
  ]);
  const scratch = lowered.buffers.filter((b) => b.data === undefined);
  const start = new Map(memory);
  for (const b of scratch) start.set(b.name, new Uint8Array(b.bytes).fill(GARBAGE));
  const expected = new Map([...memory, [c.output.layout.buffer, encode(c.output, want!.data)]]);
  for (const which of engines) {
    const run = await engine(program, which);
    const found = difference(expected, run(start));
    if (found)
      expect({ which, found, layout: c.output.layout, inputs: c.inputs.map((p) => p.layout) }).toBe("equal");
  }
  return program;
}
