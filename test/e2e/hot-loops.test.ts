/**
 * What the hot loops of single layers execute, counted on the emitted code: the right dot product with as few loads as the tile
 * allows, nothing that engines do slowly, and no more instructions per multiply-accumulate than `hot-loops.json` says.
 * `BLESS=1` writes that table. Estimates in cycles are labelled as such: they are computed from counts and from rates measured
 * elsewhere, also for engines that this machine is not.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { wasmRelaxed, wasmSimd } from "../../compiler/backends/wasm/target.ts";
import type { Func as GraphFunc } from "../../compiler/ir/module.ts";
import type { Target } from "../../compiler/ir/target.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";
import type { Choice } from "../../compiler/passes/lower/schedule/schedule.ts";
import { dotsOf, hotLoop, type LoopTree, loadsOf, loopTree, tileLoops, working } from "../hot-loops.ts";
import { withCallees } from "../inline-calls.ts";
import { countOf, decodeWasm, type Func, floatUses, type WasmModule } from "../wasm-decode.ts";
import { compileBytes } from "./compiled.ts";
import { graphBuilder } from "./graphs/builder.ts";

const RELAXED_DOT = "i32x4.relaxed_dot_i8x16_i7x16_add_s";
const BASELINE_DOT = "i32x4.dot_i16x8_s";

interface Conv {
  readonly c: number;
  readonly o: number;
  readonly size: number;
  readonly kernel?: number;
  readonly stride?: number;
  readonly group?: number;
}

/** A scale for each output channel, so that the requantization is of class hi32. */
const scales = (n: number): number[] => Array.from({ length: n }, (_, i) => 0.01 + i * 0.0003);

function conv({ c, o, size, kernel = 1, stride = 1, group = 1 }: Conv): Uint8Array {
  const g = graphBuilder();
  const x = g.dq(g.input([1, c, size, size]), 0.05, 64);
  const before = Math.floor(kernel / 2);
  const w = g.weights([o, c / group, kernel, kernel], scales(o));
  const y = g.op("Conv", [x, w], {
    kernel_shape: [kernel, kernel],
    pads: [before, before, before, before],
    strides: [stride, stride],
    group,
  });
  return g.finish([g.q(y, 0.05 * Math.sqrt((c / group) * kernel * kernel), 64)]);
}

function matmul(m: number, k: number, n: number): Uint8Array {
  const g = graphBuilder();
  const x = g.dq(g.input([m, k]), 0.05, 64);
  const w = g.weights([k, n], scales(n), { axis: 1 });
  return g.finish([g.q(g.op("MatMul", [x, w]), 0.05 * Math.sqrt(k), 64)]);
}

const LAYERS: { readonly [name: string]: () => Uint8Array } = {
  "1×1 K=64": () => conv({ c: 64, o: 64, size: 12 }),
  "1×1 K=128": () => conv({ c: 128, o: 64, size: 12 }),
  "1×1 K=256": () => conv({ c: 256, o: 64, size: 12 }),
  "3×3 K=576": () => conv({ c: 64, o: 64, size: 24, kernel: 3, stride: 2 }),
  "3×3 K=576, stride 1": () => conv({ c: 64, o: 64, size: 12, kernel: 3 }),
  "depthwise 3×3": () => conv({ c: 64, o: 64, size: 24, kernel: 3, group: 64 }),
  "GEMV 1×1024×1024": () => matmul(1, 1024, 1024),
  "first 3×3, 3 channels": () => conv({ c: 3, o: 16, size: 48, kernel: 3, stride: 2 }),
};
const DENSE = ["1×1 K=64", "1×1 K=128", "1×1 K=256", "3×3 K=576"];

interface Kernel {
  readonly f: Func;
  readonly choice: Choice | undefined;
}
interface Layer {
  readonly modules: { readonly baseline: WasmModule; readonly relaxed: WasmModule };
  readonly baseline: Kernel;
  readonly relaxed: Kernel;
}

const multiplies = (f: GraphFunc): boolean =>
  f.ops.some((o) => o.name === "qc.conv" || o.name === "qc.matmul");

async function layer(onnx: Uint8Array): Promise<Layer> {
  const artifact = await compileBytes(onnx, { profile: true });
  const modules = { baseline: decodeWasm(artifact.baseline), relaxed: decodeWasm(artifact.relaxed!) };
  const kernel = (module: WasmModule, target: Target): Kernel => {
    const lowered = lowerModule(artifact.module, target);
    if (!lowered.ok) throw new Error("does not lower");
    const callee = artifact.module.funcs.slice(1).filter(multiplies);
    const step = lowered.value.steps.find((s) => callee.some((f) => f.name === s.call?.attrs.callee));
    const f = module.functions.find((g) => g.exportName === step?.kernel);
    if (f === undefined) throw new Error("no kernel multiplies");
    return { f: withCallees(module, f), choice: step?.scheduled?.choice };
  };
  return {
    modules,
    baseline: kernel(modules.baseline, wasmSimd),
    relaxed: kernel(modules.relaxed, wasmRelaxed),
  };
}

const layers = new Map<string, Layer>();
beforeAll(async () => {
  for (const [name, make] of Object.entries(LAYERS)) layers.set(name, await layer(make()));
}, 120_000);

const KINDS = ["baseline", "relaxed"] as const;
const each = Object.keys(LAYERS).flatMap((name) => KINDS.map((kind) => [name, kind] as const));
const flatten = (t: LoopTree): LoopTree[] => [t, ...t.inner.flatMap(flatten)];

describe("instructions of the hot loops", () => {
  test.each(each)("%s, %s: the target's dot product, no float, no constant to reload", (name, kind) => {
    const own = layers.get(name)!;
    const { f } = own[kind];
    expect(floatUses(own.modules[kind])).toEqual([]);
    const [wanted, other] = kind === "relaxed" ? [RELAXED_DOT, BASELINE_DOT] : [BASELINE_DOT, RELAXED_DOT];
    expect(countOf(hotLoop(f).own, wanted)).toBeGreaterThan(0);
    expect(countOf(f.body, other)).toBe(0);
    // Zeros are made by an exclusive or; other constants are loaded from memory each time.
    for (const { own } of loopTree(f).flatMap(flatten))
      expect(own.filter((i) => i.name === "v128.const" && !i.zero)).toEqual([]);
  });

  test.each(DENSE.flatMap((name) => KINDS.map((kind) => [name, kind] as const)))(
    "%s, %s: no 64-bit shift or add in an epilogue of class hi32",
    (name, kind) => {
      const { f, choice } = layers.get(name)![kind];
      expect(choice!.work.epilogue).toEqual(["hi32"]);
      const slow = ["i64x2.shl", "i64x2.shr_s", "i64x2.shr_u", "i64x2.add"];
      expect(f.body.filter((i) => slow.includes(i.name))).toEqual([]);
      expect(f.body.filter((i) => i.name.startsWith("i64x2.extmul")).length).toBeGreaterThan(0);
    },
  );

  test.each(DENSE.flatMap((name) => KINDS.map((kind) => [name, kind] as const)))(
    "%s, %s: a K-group loads its weights once and spreads each row once",
    (name, kind) => {
      const { f, choice } = layers.get(name)![kind];
      const { rows, panels, widen } = tiled(choice!).schedule;
      expect(widen).toBe(kind === "relaxed" ? "nothing" : "both");
      const { own } = tileLoops(f).at(-1)!;
      const groups = dotsOf(own) / (rows * panels * 2);
      expect(Number.isInteger(groups)).toBe(true);
      expect(loadsOf(own)).toBe(groups * (panels * 2 + rows));
      // Beside them: additions to the accumulators where the dot product does not add, and the loop itself.
      const additions = kind === "relaxed" ? 0 : dotsOf(own);
      expect(working(own).length - dotsOf(own) - additions - loadsOf(own)).toBeLessThanOrEqual(4);
    },
  );
});

function tiled({ work, schedule }: Choice) {
  if (schedule.family !== "contraction" || work.family !== "contraction")
    throw new Error("not made of tiles");
  return { work, schedule };
}

/** Turns of the loops inside of a tile, outermost first, and multiply-accumulates of the tile. */
function turnsOf(choice: Choice): { readonly turns: readonly number[]; readonly macs: number } {
  const { work, schedule } = tiled(choice);
  const groups = Math.ceil(work.length / (schedule.widen === "both" ? 2 : 4));
  const looped = groups > schedule.unroll ? [Math.floor(groups / schedule.unroll)] : [];
  const turns = [...(work.pieces > 1 ? [work.pieces] : []), ...looped];
  const columns = Math.min(work.n, schedule.panels * 8);
  return { turns, macs: schedule.rows * columns * work.pieces * work.length };
}

interface Counts {
  /** Of the innermost loop that multiplies, with eight or sixteen multiply-accumulates in a dot product. */
  readonly hot: number;
  /** Of a whole tile, epilogue and stores included; for kernels with schedules. */
  readonly tile?: number;
}

const rounded = (x: number): number => Math.round(x * 1000) / 1000;

/** Multiply-accumulates per instruction. */
function countsOf({ f, choice }: Kernel, target: Target): Counts {
  const { own } = hotLoop(f);
  const perDot = target.dot4 ? 16 : 8;
  const hot = rounded((dotsOf(own) * perDot) / working(own).length);
  if (choice?.schedule.family !== "contraction") return { hot };
  const loops = tileLoops(f);
  const { turns, macs } = turnsOf(choice);
  let times = 1;
  let instructions = 0;
  loops.forEach((loop, i) => {
    instructions += times * working(loop.own).length;
    times *= turns[i] ?? 1;
  });
  return { hot, tile: rounded(macs / instructions) };
}

type Table = { readonly [layer: string]: { readonly baseline: Counts; readonly relaxed: Counts } };
const TABLE = new URL("./hot-loops.json", import.meta.url);

test("multiply-accumulates per instruction are those of hot-loops.json, or more", () => {
  const now: Table = Object.fromEntries(
    [...layers].map(([name, l]) => [
      name,
      { baseline: countsOf(l.baseline, wasmSimd), relaxed: countsOf(l.relaxed, wasmRelaxed) },
    ]),
  );
  if (process.env.BLESS === "1") writeFileSync(TABLE, `${JSON.stringify(now, undefined, 2)}\n`);
  const golden = JSON.parse(readFileSync(TABLE, "utf8")) as Table;
  expect(Object.keys(now)).toEqual(Object.keys(golden));
  const worse: string[] = [];
  for (const [name, kinds] of Object.entries(golden))
    for (const kind of KINDS)
      for (const which of ["hot", "tile"] as const) {
        const [was, is] = [kinds[kind][which], now[name]![kind][which]];
        if (was !== undefined && (is === undefined || is < was))
          worse.push(`${name}, ${kind}, ${which}: ${is} instead of ${was}`);
      }
  expect(worse).toEqual([]);
});

/**
 * An estimate, not a measurement: cycles of a tile at the rates of an engine that has the relaxed dot product as one instruction
 * (two of them, two loads and four vector instructions a cycle; eight instructions of any kind). The bound of each loop is the
 * resource it uses most.
 */
function estimatedCycles(f: Func, turns: readonly number[]): number {
  let times = 1;
  let cycles = 0;
  tileLoops(f).forEach((loop, i) => {
    const all = working(loop.own);
    const vector = all.filter(
      (x) => !x.name.startsWith("i32.") && !x.name.startsWith("br") && !x.name.includes("load"),
    );
    cycles += times * Math.max(dotsOf(all) / 2, loadsOf(all) / 2, vector.length / 4, all.length / 8);
    times *= turns[i] ?? 1;
  });
  return cycles;
}

test.each([
  ["1×1 K=64", 0.75],
  ["1×1 K=128", 0.85],
  ["1×1 K=256", 0.85],
  ["3×3 K=576", 0.85],
])("%s, relaxed: the estimate is at least %d of the dot product's peak", (name, share) => {
  const { f, choice } = layers.get(name)!.relaxed;
  const { turns, macs } = turnsOf(choice!);
  const { work, schedule } = tiled(choice!);
  const whole = Math.floor(work.pixels / schedule.rows) * schedule.rows;
  expect(whole).toBe(work.pixels);
  const peak = 32;
  const reached = macs / estimatedCycles(f, turns) / peak;
  console.log(`${name}, relaxed: estimated ${(100 * reached).toFixed(1)} % of ${peak} MAC/cycle`);
  expect(reached).toBeGreaterThanOrEqual(share);
  expect(reached).toBeLessThanOrEqual(1);
});

test("3×3 of stride 1, baseline: sixteen products instead of thirty-six, each weight loaded and each row spread once", () => {
  const { f, choice } = layers.get("3×3 K=576, stride 1")!.baseline;
  if (choice?.schedule.family !== "winograd") throw new Error("not by transforms");
  const { rows } = choice.schedule;
  const { own } = hotLoop(f);
  const groups = dotsOf(own) / (rows * 2);
  expect(Number.isInteger(groups)).toBe(true);
  expect(loadsOf(own)).toBe(groups * (2 + rows));
  expect(working(own).length - 2 * dotsOf(own) - loadsOf(own)).toBeLessThanOrEqual(4);
});

test("a row times a matrix, baseline: weights are widened by shifts, not by loads and extensions, which run one at a time", () => {
  const { f, choice } = layers.get("GEMV 1×1024×1024")!.baseline;
  expect(choice?.schedule.family).toBe("gemv");
  const { own } = hotLoop(f);
  expect(own.filter((i) => i.name.startsWith("v128.load8x8") || i.name.includes("extend"))).toEqual([]);
});
