/**
 * What users get wrong, one file per mistake: the code, the tensor or node, both of its ends, a fix, the same as JSON, exit code 1,
 * nothing written. Fixes that the command line can apply are applied.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { importModel as importOrdered } from "../../compiler/frontend/import.ts";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { compileModel, type Diagnostic } from "../../compiler/index.ts";
import { parseProgram } from "../../compiler/ir/kernel/parser.ts";
import { verifyProgram } from "../../compiler/ir/kernel/verifier.ts";
import { qc } from "../cli/terminal.ts";
import { negativeFiles } from "../negative-files.ts";
import { f32, model, node, u8, value } from "../onnx-writer.ts";
import { type GraphBuilder, graphBuilder } from "./graphs/builder.ts";
import { x } from "./graphs/case.ts";

const dir = mkdtempSync(join(tmpdir(), "qc-negative-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Expected {
  readonly code: string;
  readonly message: RegExp;
  /** Node or tensor that it points at. */
  readonly at: string;
  /** Label and text of notes. */
  readonly ends: Readonly<Record<string, string>>;
  readonly fix: RegExp;
  /** Options that make it compile. */
  readonly apply?: readonly string[];
}

const expected: { readonly [name in keyof typeof negativeFiles]: Expected } = {
  "a branch without a quantizer": {
    code: "QC2101",
    message: /no quantizer on the input of HardSwish/,
    at: "right",
    ends: { tensor: '"c"   float32[1,4,6,6]', "made by": 'Conv "left"', "used by": 'HardSwish "right"' },
    fix: /--quant c=u8@\d\.\d+,\d+/,
    apply: ["--quant", "c=u8@0.149582,114"],
  },
  "weights off any grid": {
    code: "QC2102",
    message: /the weights of Conv are float/,
    at: "conv",
    ends: { tensor: '"wf"   float32[4,4,1,1]', "made by": "a constant", "used by": 'Conv "conv"' },
    fix: /export with quantized weights/,
    apply: ["--quant", "wf=i8@0.003"],
  },
  "a dynamic dimension that is not the batch": {
    code: "QC1138",
    message: /axis 2 of the input's shape \["N", 4, "height", 6\] is not fixed/,
    at: "x",
    ends: { "made by": "a graph input", "used by": "QuantizeLinear" },
    fix: /make_dynamic_shape_fixed --input_name "x"/,
  },
  "an unknown operator": {
    code: "QC2001",
    message: /operator com\.vendor::Twist is not supported/,
    at: "twist",
    ends: { reads: '"x_d" of DequantizeLinear', "used by": "QuantizeLinear" },
    fix: /cut the graph around com\.vendor::Twist/,
  },
  "a foreign quantizer left over": {
    code: "QC2008",
    message: /trt::TRT_FP8QuantizeLinear is the quantizer of another tool/,
    at: "left_over",
    ends: { reads: '"c" of Conv', "used by": "TRT_FP8DequantizeLinear" },
    fix: /export with QuantizeLinear and DequantizeLinear/,
  },
  "contradictory ranges": {
    code: "QC2129",
    message: /the bounds leave no integer: 3 … -3/,
    at: "fq",
    ends: { reads: '"x_d" of DequantizeLinear', "used by": 'graph output "y"' },
    fix: /the lower one below the upper one/,
  },
  "a scale that is not a number": {
    code: "QC2120",
    message: /scale "nan" is NaN; a scale must be positive and finite/,
    at: "q",
    ends: { reads: '"c" of Conv', "used by": 'graph output "y"' },
    fix: /calibrate or train again/,
  },
  "a dimension of size zero": {
    code: "QC1140",
    message: /shape \[1, 4, 0, 6\] has no elements/,
    at: "x",
    ends: { "made by": "a graph input", "used by": "QuantizeLinear" },
    fix: /at least one element along every axis/,
  },
};

test("each file has its line", () => {
  expect(Object.keys(expected).sort()).toEqual(Object.keys(negativeFiles).sort());
});

describe.each(Object.entries(negativeFiles))("%s", (name, bytes) => {
  const { code, message, at, ends, fix, apply } = expected[name]!;
  const path = join(dir, `${name.replaceAll(" ", "-")}.onnx`);
  writeFileSync(path, bytes);
  const out = join(dir, `out-${name}`);

  test("is diagnosed, in text and in JSON", async () => {
    const json = await qc("compile", path, "-o", out, "--json");
    const text = await qc("compile", path, "-o", out);
    expect([json.code, text.code, existsSync(out)]).toEqual([1, 1, false]);
    const [d] = (JSON.parse(json.out) as { diagnostics: readonly Diagnostic[] }).diagnostics;
    expect(d).toMatchObject({ code, severity: "error", message: expect.stringMatching(message) });
    expect(d!.loc).toMatchObject({ name: at });
    const notes = new Map(d!.notes?.map((n) => [n.label, n.text]));
    for (const [label, wanted] of Object.entries(ends)) expect(notes.get(label), label).toBe(wanted);
    expect(d!.fixes?.join("\n")).toMatch(fix);
    // The text says all of it.
    expect(text.err).toContain(`error[${code}] ${d!.message}`);
    const plain = text.err.replace(/\s+/g, " ");
    for (const part of [...(d!.notes ?? []).map((n) => n.text), ...(d!.fixes ?? [])])
      expect(plain).toContain(part.replace(/\s+/g, " "));
  });

  test("inspect says the same", async () => {
    const [a, b] = [await qc("inspect", path, "--json"), await qc("compile", path, "-o", out, "--json")];
    expect(JSON.parse(a.out).diagnostics).toEqual(JSON.parse(b.out).diagnostics);
    expect(a.code).toBe(1);
  });

  // Some fixes are made in training.
  if (apply !== undefined)
    test("the fix compiles", async () => {
      const { code, err } = await qc("compile", path, "-o", join(dir, `fixed-${name}`), ...apply);
      expect([code, err]).toEqual([0, ""]);
    });
});

const diagnose = async (bytes: Uint8Array, grids: readonly string[] = []): Promise<readonly string[]> => {
  const result = await compileModel(bytes, { target: "wasm-simd", grids });
  return result.diagnostics.map((d) => `${d.severity} ${d.code}`);
};
const graphOf = (build: (g: GraphBuilder) => string): Uint8Array => {
  const g = graphBuilder();
  return g.finish([build(g)], 21);
};

describe("smaller mistakes", () => {
  test("QC2006: arithmetic on stored integers", async () => {
    expect(await diagnose(graphOf((g) => g.op("Sigmoid", [g.input([1, 4])])))).toEqual(["error QC2006"]);
  });

  test("QC2113: a mean of a normalization without a quantizer is rounded, and said to be", async () => {
    const bytes = graphOf((g) => {
      const n = g.op("LayerNormalization", [x(g, [1, 6, 16]), g.floats([16], 1)]);
      return g.q(g.op("ReduceMean", [n, g.ints([1])]), 0.02, 128);
    });
    expect(await diagnose(bytes)).toEqual(["warning QC2113"]);
  });

  test("QC2126: a quantizer of floats", async () => {
    const bytes = graphOf((g) =>
      g.op("DequantizeLinear", [
        g.op("DequantizeLinear", [g.input([1, 4]), g.floats([], 0.5)]),
        g.floats([], 0.5),
      ]),
    );
    expect(await diagnose(bytes)).toEqual(["error QC2126"]);
  });

  test("QC2133: rows of blocks out of order", async () => {
    const bytes = graphOf((g) =>
      g.op(
        "MatMulNBits",
        [
          x(g, [1, 32]),
          g.constant("uint8", [4, 2, 8], 17),
          g.floats([8], 0.5),
          "",
          g.constant(
            "int32",
            [32],
            Array.from({ length: 32 }, (_, i) => i % 2),
          ),
        ],
        { K: 32, N: 4, bits: 4, block_size: 16 },
        "com.microsoft",
      ),
    );
    expect(await diagnose(bytes)).toEqual(["error QC2133"]);
  });

  test.each(["x=u8", "x=u33@1", "x=u8@0", "x=i8@1,200", "=u8@1", "x=f8@1", "x=u8@nan", ""])(
    "QC2141: --quant %j",
    async (grid) => {
      expect(
        await diagnose(
          graphOf((g) => x(g)),
          [grid],
        ),
      ).toEqual(["error QC2141"]);
    },
  );

  test("QC1147: nodes out of order reach the importer only past the sorting", () => {
    const read = readModel(
      model({
        inputs: [value("x", "uint8", [1, 4])],
        outputs: [value("y")],
        initializers: { s: f32([], [0.5]), z: u8([], [3]) },
        nodes: [node("Relu", ["a"], ["y"]), node("DequantizeLinear", ["x", "s", "z"], ["a"])],
      }),
    );
    if (!read.ok) throw new Error("not read");
    expect(importOrdered(read.value).diagnostics.map((d) => d.code)).toContain("QC1147");
  });

  test("QC4050, QC4051, QC4052: kernels in text", () => {
    const head = "input @x bytes 64 align 16\noutput @y bytes 64 align 16\n";
    const codes = (text: string, to = "@y"): readonly string[] => {
      const kernel = `kernel @k reads(@x) writes(@y) {\n  let %a = load.i32 @x[0]\n  store ${to}[0], %a\n}\n`;
      const program = parseProgram(text + kernel);
      if (!program.ok) throw new Error(program.diagnostics[0]!.message);
      return verifyProgram(program.value).map((d) => d.code);
    };
    expect(codes(head)).toEqual([]);
    expect(codes(head, "@x")).toEqual(["QC4050"]);
    expect(codes(head.replace("align 16", "align 3"))).toEqual(["QC4051"]);
    expect(parseProgram("kernel kernel").diagnostics.map((d) => d.code)).toEqual(["QC4052"]);
  });

  test("QC5005, QC5009: files of the command line", async () => {
    const codes = async (...argv: string[]) => {
      const { code, out } = await qc(argv[0]!, ...argv.slice(1), "--json");
      return [code, ...(JSON.parse(out) as { diagnostics: Diagnostic[] }).diagnostics.map((d) => d.code)];
    };
    expect(await codes("run", dir)).toEqual([1, "QC5005"]);
    expect(await codes("bench", dir, "--profile", join(dir, "t.json"))).toEqual([2, "QC5009"]);
  });
});
