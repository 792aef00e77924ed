/** `qc compare` and `qc inspect --write`, on small models made here. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { SideTensor } from "../../compiler/cli/compare-sides.ts";
import { addSample } from "../../compiler/cli/compare-tensors.ts";
import { f32, i8, i32, model, node, u8, value } from "../onnx-writer.ts";
import { qc } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "qc-compare-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Variant {
  readonly weights?: readonly number[];
  readonly input?: string;
  readonly output?: string;
  readonly width?: number;
  readonly middle?: string;
}

/** x → Q → DQ → MatMul → Q → DQ → Relu → Q → DQ → y */
function file(
  name: string,
  { weights, input = "x", output = "y", width = 4, middle = "m" }: Variant = {},
): string {
  const quantizer = (from: string, to: string) => [
    node("QuantizeLinear", [from, "s", "z"], [`${to}_q`]),
    node("DequantizeLinear", [`${to}_q`, "s", "z"], [to]),
  ];
  const path = join(root, name);
  const values = weights ?? Array.from({ length: width * 3 }, (_, i) => ((i * 7) % 11) - 5);
  writeFileSync(
    path,
    model({
      inputs: [value(input, "float32", [1, width])],
      outputs: [value(output, "float32", [1, 3])],
      initializers: {
        s: f32([], [0.25]),
        z: u8([], [100]),
        w8: i8([width, 3], values),
        ws: f32([], [0.125]),
      },
      nodes: [
        ...quantizer(input, `${middle}0`),
        node("DequantizeLinear", ["w8", "ws"], ["w"]),
        node("MatMul", [`${middle}0`, "w"], ["p"]),
        ...quantizer("p", middle),
        node("Relu", [middle], ["r"]),
        node("QuantizeLinear", ["r", "s", "z"], [`${middle}2_q`]),
        node("DequantizeLinear", [`${middle}2_q`, "s", "z"], [output]),
      ],
    }),
  );
  return path;
}

interface Verdict {
  readonly name: string;
  readonly elements: number;
  readonly differing: number;
  readonly most: number;
}

interface Comparison {
  readonly ok: boolean;
  readonly diagnostics: readonly { readonly code: string }[];
  readonly tensors: readonly Verdict[];
  readonly first?: string;
  readonly unmatched: readonly string[];
}

async function compared(...argv: string[]): Promise<Comparison & { readonly code: number }> {
  const { code, out, err } = await qc("compare", ...argv, "--json");
  expect(err).toBe("");
  return { code, ...(JSON.parse(out) as Comparison) };
}
const codes = ({ diagnostics }: Comparison): readonly string[] => diagnostics.map((d) => d.code);

const plain = file("plain.onnx");

describe("qc inspect --write", () => {
  test("a standard file that compares equal, here and in onnxruntime, the same bytes each time", async () => {
    const to = join(root, "lowered.onnx");
    const first = await qc("inspect", plain, "--write", to);
    expect(first).toMatchObject({ code: 0, err: "" });
    expect(first.out).toMatch(/lowered\.onnx\s+\S+ \S+, standard ONNX/);
    const bytes = readFileSync(to);
    const json = JSON.parse((await qc("inspect", plain, "--write", to, "--json")).out);
    expect(json).toMatchObject({ ok: true, written: { path: to, bytes: bytes.length } });
    expect(readFileSync(to)).toEqual(bytes);
    const names = ["m0_q", "m_q", "m2_q", "y"];
    for (const against of [[], ["--against", "onnxruntime"]]) {
      const c = await compared(plain, to, ...against);
      expect(c).toMatchObject({ code: 0, ok: true, diagnostics: [], unmatched: [] });
      expect(c.tensors.map((t) => t.name)).toEqual(names);
      expect(c.tensors.every((t) => t.differing === 0 && t.elements === (t.name === "m0_q" ? 52 : 39))).toBe(
        true,
      );
    }
  });

  test("is written also where the model has no integer form; what cannot be read or written is said once", async () => {
    const float = join(root, "float.onnx");
    writeFileSync(
      float,
      model({
        inputs: [value("x", "float32", [1, 4])],
        outputs: [value("y", "float32", [1, 4])],
        nodes: [node("Sigmoid", ["x"], ["y"])],
      }),
    );
    const to = join(root, "float-lowered.onnx");
    const s = await qc("inspect", float, "--write", to);
    expect(s.code).toBe(1);
    expect(existsSync(to)).toBe(true);
    const broken = join(root, "broken.onnx");
    writeFileSync(broken, "no model");
    const b = JSON.parse((await qc("inspect", broken, "--write", to, "--json")).out);
    expect(b.diagnostics).toHaveLength(1);
    const n = JSON.parse((await qc("inspect", plain, "--write", join(root, "none", "x.onnx"), "--json")).out);
    expect(n.diagnostics.map((d: { code: string }) => d.code)).toEqual(["QC5002"]);
  });
});

test("qc inspect counts each node of the file once, also one that is several ops", async () => {
  const path = join(root, "gemm.onnx");
  writeFileSync(
    path,
    model({
      inputs: [value("x", "uint8", [1, 4])],
      outputs: [value("y", "uint8", [1, 2])],
      initializers: {
        s: f32([], [0.25]),
        z: u8([], [0]),
        w8: i8([4, 2], [1, -2, 3, -4, 5, 6, -7, 8]),
        b32: i32([2], [3, -3]),
      },
      nodes: [
        node("DequantizeLinear", ["x", "s", "z"], ["r"]),
        node("DequantizeLinear", ["w8", "s"], ["w"]),
        node("DequantizeLinear", ["b32", "s"], ["b"]),
        node("Gemm", ["r", "w", "b"], ["g"]),
        node("QuantizeLinear", ["g", "s", "z"], ["y"]),
      ],
    }),
  );
  const { report } = JSON.parse((await qc("inspect", path, "--json")).out);
  expect(report.ops.before).toEqual({ DequantizeLinear: 3, Gemm: 1, QuantizeLinear: 1 });
});

describe("qc compare", () => {
  test("an artifact with its model, with and without its inner tensors", async () => {
    for (const [more, names] of [
      [[], ["y"]],
      [["--debug-tensors"], ["m0_q", "m_q", "m2_q", "y"]],
    ] as const) {
      const dir = join(root, `dist${more.length}`);
      expect((await qc("compile", plain, "-o", dir, ...more)).code).toBe(0);
      const c = await compared(dir, plain);
      expect(c).toMatchObject({ code: 0, ok: true });
      expect(c.tensors.map((t) => t.name)).toEqual(names);
      expect((await compared(plain, dir)).unmatched).toHaveLength(4 - names.length);
    }
  });

  test("names the first tensor that differs, and by how much; a tolerance takes it", async () => {
    const weights = Array.from({ length: 12 }, (_, i) => ((i * 7) % 11) - 5 + (i === 4 ? 1 : 0));
    const other = file("other.onnx", { weights });
    const c = await compared(plain, other, "--samples", "20");
    expect(c).toMatchObject({ code: 1, ok: false, first: "m_q" });
    expect(codes(c)).toEqual(["QC5014"]);
    expect(c.tensors[0]).toMatchObject({ name: "m0_q", differing: 0, most: 0 });
    // One weight step, 1/8, at most 155 quanta of input away from zero.
    const { most, differing } = c.tensors[1]!;
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(20);
    expect(differing).toBeGreaterThan(0);
    expect(await compared(plain, other, "--samples", "20", "--tolerance", "20")).toMatchObject({
      code: 0,
      ok: true,
    });
    const text = await qc("compare", plain, other);
    expect(text.out).toContain("plain.onnx against");
    expect(text.out).toMatch(/m_q +39 +\d+ +\d+ .*LSB/);
    expect(text.err).toContain("error[QC5014]");
    expect(await qc("compare", plain, other, "--quiet")).toMatchObject({ code: 1, out: "" });
  });

  test("given inputs, and the seed", async () => {
    const a = await compared(plain, plain, "--samples", "2", "--seed", "3");
    expect(a.tensors.at(-1)).toMatchObject({ name: "y", elements: 15 });
    expect(await compared(plain, plain, "--samples", "2", "--seed", "3")).toEqual(a);
  });

  test("a model by itself, in onnxruntime", async () => {
    const c = await compared(plain, "--against", "onnxruntime", "--samples", "3");
    expect(c).toMatchObject({ code: 0, ok: true });
    expect(c.tensors.map((t) => t.name)).toEqual(["m0_q", "m_q", "m2_q", "y"]);
  });

  test("what cannot be compared", async () => {
    expect(await qc("compare", plain)).toMatchObject({ code: 2, out: "" });
    expect((await qc("compare", plain, plain, "--tolerance", "-1")).code).toBe(2);
    expect(codes(await compared(plain, file("named.onnx", { input: "image" })))).toEqual(["QC5006"]);
    expect(codes(await compared(plain, file("wide.onnx", { width: 5 })))).toEqual(["QC5008"]);
    expect(codes(await compared(plain, join(root, "absent.onnx")))).toEqual(["QC1021"]);
    const nothing = await compared(plain, file("renamed.onnx", { output: "other", middle: "n" }));
    expect(nothing).toMatchObject({ code: 1, tensors: [] });
    expect(codes(nothing)).toEqual(["QC5013"]);
  });
});

describe("differences", () => {
  const t = (scale?: number | readonly number[]): SideTensor => ({
    name: "t",
    shape: [2, 2],
    ...(scale !== undefined && {
      quantization: { scale, zeroPoint: typeof scale === "number" ? 1 : scale.map(() => 1), axis: 0 },
    }),
  });
  const counts = (...args: Parameters<typeof addSample>): unknown => [...addSample(...args).histogram];

  test("integers, of one grid and of two", () => {
    const [x, y] = [Int8Array.of(1, 2, 3, 4), Int8Array.of(1, 2, 5, 3)];
    expect(addSample(undefined, [t(), x], [t(), y], 1)).toMatchObject({ elements: 4, differing: 1, most: 2 });
    expect(counts(undefined, [t(2), x], [t(2), y], 0)).toEqual([
      [0, 2],
      [-2, 1],
      [1, 1],
    ]);
    // (q − 1)·2 against (q − 1)·4, in steps of 2: 0, 2 − 4, 4 − 16, 6 − 8.
    expect(counts(undefined, [t(2), x], [t(4), y], 0)).toEqual([
      [0, 1],
      [-1, 2],
      [-6, 1],
    ]);
    // Per channel: the second row is in steps of 4.
    expect(counts(undefined, [t([2, 4]), x], [t(2), y], 0)).toEqual([
      [0, 3],
      [2, 1],
    ]);
  });

  test("integers and floats, floats, and NaN", () => {
    const real = Float32Array.of(0, 2.1, 4, 4);
    expect(counts(undefined, [t(2), Int8Array.of(1, 2, 3, 4)], [t(), real], 0)).toEqual([
      [0, 3],
      [1, 1],
    ]);
    const next = Math.fround(1 + 2 ** -23);
    expect(
      counts(undefined, [t(), Float32Array.of(1, -0, 1, 1)], [t(), Float32Array.of(next, 0, 1, 1)], 0),
    ).toEqual([
      [-1, 1],
      [0, 3],
    ]);
    const nan = addSample(
      undefined,
      [t(2), Int8Array.of(1, 1, 1, 1)],
      [t(), Float32Array.of(0, 0, Number.NaN, 0)],
      5,
    );
    expect(nan).toMatchObject({ differing: 1, most: Number.POSITIVE_INFINITY });
  });

  test("samples add up", () => {
    const once = addSample(undefined, [t(), Int8Array.of(1)], [t(), Int8Array.of(2)], 0);
    expect(addSample(once, [t(), Int8Array.of(1)], [t(), Int8Array.of(5)], 0)).toMatchObject({
      elements: 2,
      differing: 2,
      most: 4,
      histogram: new Map([
        [-1, 1],
        [-4, 1],
      ]),
    });
  });
});
