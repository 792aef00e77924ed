/**
 * The programs behind an artifact's modules on every kind of engine: the graph for signed bytes equals the other one, its
 * certificates hold, and each relaxed program gives the interpreter's integers wherever it is said to be exact, its dot products
 * computed as that engine does. Where it is not, there are inputs for which they are wrong.
 */
import { afterAll, describe, expect, test } from "vitest";
import { wasmRelaxed } from "../../compiler/backends/wasm/target.ts";
import { table } from "../../compiler/cli/print.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";
import { full } from "../require.ts";
import { loadModel, zooIsThere, zooModels } from "../zoo.ts";
import { compiled, differences, inputsOf, models } from "./compiled.ts";
import { DOTS, findings, integersOf, isExact, outputsOf, signedOf, unwrap } from "./engine-programs.ts";

/** Narrow ones, whose relaxed module also runs where pairs saturate. */
const NARROW = ["qonnx/tfc_1w2a", "qonnx/kws_mlp_w3a3", "qonnx/torch_mnist_w4a4", "qcdq/brevitas_cnv_2w2a"];
const MODELS = [...models, ...NARROW.filter((m) => full || !m.includes("cnv"))].filter((name) =>
  zooModels(name.split("/")[0]!).includes(name),
);
/** Minutes in the kernel interpreter. */
const LARGE = /mobilenet|vww|resnet8|cnv/;

const rows: string[][] = [];
afterAll(() => {
  const head = ["model", "engines, relaxed", "engines, relaxed-s8", "samples"];
  if (rows.length > 0) console.log(`relaxed programs as engines run them\n${table([head, ...rows.sort()])}`);
});

describe.skipIf(!zooIsThere)("relaxed programs = interpreter where they are said to be exact", () => {
  test.each(MODELS)("%s", { timeout: 600_000 }, async (name) => {
    const artifact = await compiled(name, { debug: true });
    const { exactOn } = artifact.manifest;
    const signed = signedOf(artifact);
    expect(findings(signed)).toEqual([]);
    const programs = [
      {
        on: exactOn!.relaxed!,
        module: artifact.module,
        program: unwrap(lowerModule(artifact.module, wasmRelaxed)),
      },
      ...(exactOn!.relaxedS8
        ? [{ on: exactOn!.relaxedS8, module: signed, program: unwrap(lowerModule(signed, wasmRelaxed)) }]
        : []),
    ];
    const samples = inputsOf(name, loadModel(name));
    const few = LARGE.test(name) ? samples.slice(0, 1) : [...samples.slice(0, 1), ...samples.slice(-2)];
    const agreed: string[][] = [];
    for (const { on, module, program } of programs) {
      const dots = DOTS.filter((d) => isExact(on, d));
      agreed.push(dots);
      for (const [s, inputs] of few.entries()) {
        const expected = integersOf(artifact.module, inputs);
        expect(
          differences(expected, integersOf(module, inputs, artifact.module)),
          `graph, sample ${s}`,
        ).toEqual([]);
        for (const dot of LARGE.test(name) ? dots.slice(-1) : dots)
          expect(
            differences(expected, outputsOf(program, module, inputs, dot, artifact.module)),
            `${dot}, sample ${s}`,
          ).toEqual([]);
      }
      // A proof that is never missing where it matters would prove nothing.
      if (name.endsWith("kws_dscnn"))
        for (const dot of DOTS.filter((d) => !dots.includes(d)))
          expect(
            differences(
              integersOf(artifact.module, few[0]!),
              outputsOf(program, module, few[0]!, dot, artifact.module),
            ).length,
            dot,
          ).toBeGreaterThan(0);
    }
    rows.push([name, agreed[0]!.join(" "), (agreed[1] ?? ["–"]).join(" "), String(few.length)]);
  });
});
