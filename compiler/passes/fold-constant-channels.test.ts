import { describe, expect, test } from "vitest";
import { randomInputs as randomDenses } from "../../test/random-inputs.ts";
import { limitsOf, randomIntegerGraph } from "../../test/random-integer-graph.ts";
import { loadModelBytes, loadSamples, zooModels } from "../../test/zoo.ts";
import { importModel } from "../frontend/import.ts";
import { orderModel } from "../frontend/onnx/graph.ts";
import { readModel } from "../frontend/onnx/reader.ts";
import { denseOf } from "../ir/dense.ts";
import { interpretFunc } from "../ir/interpreter.ts";
import { macsOf } from "../ir/macs.ts";
import type { Dense, Func, Module, Port } from "../ir/module.ts";
import { type Pass, runPipeline } from "../ir/pass.ts";
import { printModule } from "../ir/printer.ts";
import { analyzeRanges, rangeAt } from "../ir/ranges.ts";
import { sizeOf } from "../ir/types.ts";
import { integerPasses } from "../pipeline.ts";
import { type ChannelStats, channelStats, foldConstantChannels } from "./fold-constant-channels.ts";
import { narrowTypes } from "./narrow-types.ts";

function run(module: Module, passes: readonly Parameters<typeof runPipeline>[1][number][]): Module {
  const done = runPipeline(module, passes, { verifyEach: true });
  if (!done.ok) throw new Error(done.diagnostics.map((d) => d.message).join("\n"));
  return done.value;
}

/** Random inputs, all lowest, all highest, and both in turn. */
function inputsOf(func: Func, seed: number): Dense[][] {
  const filled = (f: (p: Port, i: number) => number): Dense[] =>
    func.params.map((p) =>
      denseOf(
        p.value.type,
        Array.from({ length: sizeOf(p.value.type.shape) }, (_, i) => f(p, i)),
      ),
    );
  const ends = (p: Port) => limitsOf(p.value);
  return [
    ...[seed, seed + 1, seed + 2].map((s) => [...randomDenses(func, s).values()]),
    filled((p) => ends(p)[0]),
    filled((p) => ends(p)[1]),
    filled((p, i) => ends(p)[i % 2]!),
  ];
}

/** The first difference between the results of two modules; `undefined` if there is none. */
function differs(a: Module, b: Module, args: readonly Dense[]): string | undefined {
  const want = interpretFunc(a, a.funcs[0]!, args);
  const got = interpretFunc(b, b.funcs[0]!, args);
  if (want.length !== got.length) return "another number of results";
  for (const [r, w] of want.entries()) {
    if (w.shape.join() !== got[r]!.shape.join()) return `result ${r} has shape ${got[r]!.shape}`;
    for (let i = 0; i < w.data.length; i++)
      if (w.data[i] !== got[r]!.data[i]) return `result ${r}[${i}]: ${w.data[i]} became ${got[r]!.data[i]}`;
  }
  return undefined;
}

describe("random integer graphs", () => {
  test.each<[string, readonly Pass[]]>([
    ["fold-constant-channels", [foldConstantChannels]],
    ["narrow-types", [narrowTypes]],
    ["both", [foldConstantChannels, narrowTypes]],
  ])("%s keeps every result", (_, passes) => {
    let folded = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const before = randomIntegerGraph(seed);
      const after = run(before, passes);
      folded += channelStats(before.funcs[0]!, after.funcs[0]!).folded;
      expect(macsOf(after.funcs[0]!)).toBeLessThanOrEqual(macsOf(before.funcs[0]!));
      for (const args of inputsOf(before.funcs[0]!, seed * 10)) {
        const wrong = differs(before, after, args);
        if (wrong !== undefined)
          throw new Error(`seed ${seed}: ${wrong}\n${printModule(before)}\n${printModule(after)}`);
      }
    }
    // The graphs give the pass something to do.
    if (passes.includes(foldConstantChannels)) expect(folded).toBeGreaterThan(300);
  });

  test("no value of a narrowed graph leaves its range or its type", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const module = run(randomIntegerGraph(seed), [foldConstantChannels, narrowTypes]);
      const [func] = module.funcs;
      const ranges = analyzeRanges(func!);
      for (const args of inputsOf(func!, seed))
        interpretFunc(module, func!, args, {
          observe: (v, d) => {
            const n = v.type.shape.at(-1) ?? 1;
            for (let i = 0; i < d.data.length; i++) {
              const { min, max } = rangeAt(ranges.of(v), i % n);
              if (d.data[i]! < min || d.data[i]! > max)
                throw new Error(`seed ${seed}: %${v.name} is ${d.data[i]}, not in ${min} … ${max}`);
            }
          },
        });
    }
  });

  test("a second run finds nothing", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const once = run(randomIntegerGraph(seed), [foldConstantChannels]);
      expect(run(once, [foldConstantChannels])).toBe(once);
    }
  });
});

const models = zooModels("int8-qdq");
const FOLDED: {
  readonly [name: string]: ChannelStats & { readonly nominal: number; readonly executed: number };
} = {
  "int8-qdq/mlperf_vww": { folded: 1724, total: 2738, nominal: 7489664, executed: 3727313 },
  "int8-qdq/mcunet_vww": { folded: 352, total: 6114, nominal: 11578816, executed: 10931325 },
};

function integerGraph(name: string): Module {
  const read = readModel(loadModelBytes(name), { path: `${name}/model.onnx` });
  const ordered = read.ok ? orderModel(read.value) : read;
  const imported = ordered.ok ? importModel(ordered.value) : ordered;
  if (!imported.ok) throw new Error(imported.diagnostics.map((d) => d.message).join("\n"));
  return run(imported.value, integerPasses());
}

/** A sample as the function's argument: quantized as the port's boundary says. */
function argument({ value, boundary }: Port, sample: ArrayLike<number | bigint>): Dense {
  const b = boundary;
  return denseOf(
    value.type,
    Array.from(sample as ArrayLike<number>, (x) => {
      if (b.kind !== "quantize") return Number(x);
      const y = Math.fround(x / b.scale);
      const even = Math.round(y) - (Math.abs(y % 1) === 0.5 && Math.round(y) % 2 !== 0 ? 1 : 0);
      return Math.min(Math.max(even + b.zeroPoint, b.lo), b.hi);
    }),
  );
}

describe.runIf(models.length > 0)("zoo", () => {
  test.each(models)("%s computes the same with and without the passes", (name) => {
    const before = integerGraph(name);
    const after = run(before, [foldConstantChannels]);
    const narrow = run(after, [narrowTypes]);
    const [f, g] = [before.funcs[0]!, after.funcs[0]!];
    const { inputs } = loadSamples(name);
    for (const sample of inputs.slice(0, 2)) {
      const args = f.params.map((p) => argument(p, sample));
      expect(differs(before, narrow, args)).toBeUndefined();
    }
    const now = { ...channelStats(f, g), nominal: macsOf(f), executed: macsOf(g) };
    console.log(
      `${name}: ${now.folded} of ${now.total} channels folded, ${now.executed} of ${now.nominal} MACs left`,
    );
    if (FOLDED[name]) expect(now).toEqual(FOLDED[name]);
    else expect(now.executed).toBeLessThanOrEqual(now.nominal);
  });
});
