/** The emitted modules themselves: the same bytes each time, no floating point, vector multiplies only, folding exact. */
import { afterAll, expect, test } from "vitest";
import { targetsOf } from "../../compiler/backends/wasm/build.ts";
import { table } from "../../compiler/cli/print.ts";
import { compileModel } from "../../compiler/index.ts";
import { attr } from "../../compiler/ir/op.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";
import { withCallees } from "../inline-calls.ts";
import { full } from "../require.ts";
import { countOf, decodeWasm, floatUses, scalarMultiplies } from "../wasm-decode.ts";
import { loadModel, loadModelBytes } from "../zoo.ts";
import {
  allModels,
  compiled,
  describeZoo,
  differences,
  FOLDER,
  inputsOf,
  models,
  runnersOf,
  shortName,
} from "./compiled.ts";

const RELAXED_DOT = "i32x4.relaxed_dot_i8x16_i7x16_add_s";

describeZoo("modules", () => {
  test.each(models)("%s compiles to the same bytes twice", async (name) => {
    const bytes = loadModelBytes(name);
    const once = await compileModel(bytes, { target: "wasm" });
    const twice = await compileModel(bytes.slice(), { target: "wasm" });
    if (!once.ok || !twice.ok) throw new Error("does not compile");
    expect(Buffer.compare(once.value.baseline, twice.value.baseline)).toBe(0);
    expect(Buffer.compare(once.value.relaxed!, twice.value.relaxed!)).toBe(0);
    expect(JSON.stringify(twice.value.manifest)).toBe(JSON.stringify(once.value.manifest));
    expect(twice.diagnostics).toEqual(once.diagnostics);
  });

  test.each(models)(
    "%s: no floating point, no scalar multiply in a dot product, relaxed dots",
    async (name) => {
      const artifact = await compiled(name, { profile: true });
      const lowered = lowerModule(artifact.module, targetsOf("wasm").baseline);
      if (!lowered.ok) throw new Error("does not lower");
      const kinds = new Map<string, "dot" | "depthwise">();
      for (const { kernel, call } of lowered.value.steps) {
        const root = artifact.module.funcs
          .find((f) => f.name === call?.attrs.callee)
          ?.ops.find((o) => o.name === "qc.conv" || o.name === "qc.matmul");
        if (root === undefined) continue;
        const channels = root.operands[0]!.type.shape.at(-1);
        const depthwise =
          root.name === "qc.conv" && attr<number>(root, "groups") === channels && channels !== 1;
        kinds.set(kernel, depthwise ? "depthwise" : "dot");
      }
      expect(kinds.size).toBeGreaterThan(3);
      for (const [which, bytes] of [
        ["baseline", artifact.baseline],
        ["relaxed", artifact.relaxed!],
      ] as const) {
        const module = decodeWasm(bytes);
        expect(floatUses(module), which).toEqual([]);
        const kernels = new Map(module.functions.map((f) => [f.exportName, withCallees(module, f)]));
        for (const [name, kind] of kinds) {
          const f = kernels.get(name);
          if (f === undefined) throw new Error(`${which} exports no kernel ${name}`);
          expect(scalarMultiplies(f), `${which} ${name}`).toBe(0);
          const dots = countOf(f.body, RELAXED_DOT);
          if (which === "relaxed" && kind === "dot") expect(dots, `${which} ${name}`).toBeGreaterThan(0);
          if (which === "baseline") expect(dots, `${which} ${name}`).toBe(0);
        }
      }
    },
  );
});

const rows: string[][] = [];
afterAll(() => {
  if (rows.length === 0) return;
  const head = ["model", "folded channels", "MACs nominal", "executed", "", "weight bytes off", "on"];
  console.log(`constant-channel folding, outputs equal bit for bit\n${table([head, ...rows.sort()])}`);
});

const folding = full
  ? allModels
  : ["mlperf_vww", "mcunet_vww"].map((m) => `${FOLDER}/${m}`).filter((m) => allModels.includes(m));

describeZoo("constant channels", () => {
  test.each(folding)(
    "%s: the same outputs with folding and without",
    async (name) => {
      const on = await compiled(name);
      const off = await compiled(name, { foldConstants: false });
      const [with_] = await runnersOf(on);
      const [without] = await runnersOf(off);
      const samples = inputsOf(name, loadModel(name));
      const few = full ? samples.slice(0, 24) : samples;
      for (const [s, inputs] of few.entries())
        expect(differences(with_!.run(inputs), without!.run(inputs)), `sample ${s}`).toEqual([]);
      const { nominal, executed } = on.manifest.macs;
      expect(off.manifest.macs.nominal).toBe(nominal);
      expect(off.manifest.macs.executed).toBe(nominal);
      expect(executed).toBeLessThanOrEqual(nominal);
      const { folded, total } = on.manifest.constantChannels;
      expect(off.manifest.constantChannels).toEqual({ folded: 0, total });
      if (name.endsWith("_vww")) expect(executed).toBeLessThan(nominal);
      rows.push([
        shortName(name),
        `${folded} of ${total}`,
        String(nominal),
        String(executed),
        `${((100 * executed) / nominal).toFixed(1)} %`,
        String(off.manifest.sizes.weights),
        String(on.manifest.sizes.weights),
      ]);
    },
    120_000,
  );
});
