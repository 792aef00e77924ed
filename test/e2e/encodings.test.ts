/** Encodings beside a model: the artifact equals that of the same network with the quantizers written in. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type CompileOptions, compileModel } from "../../compiler/index.ts";
import { qc } from "../cli/terminal.ts";
import { f32, i8, model, type Node, node, type Tensor, u8, value } from "../onnx-writer.ts";
import { randomSource } from "../zoo.ts";

const random = randomSource(3);
const noise = (n: number): number[] => Array.from({ length: n }, () => Math.fround(random() - 0.5));
const W = noise(4 * 3 * 3 * 3);
const FC = noise(4 * 4);
const BIAS = noise(4);

const SCALES = {
  x: 0.015625,
  y: 0.02,
  z: 0.03,
  w: [0.004, 0.0041, 0.0042, 0.0039],
  fc: 0.005,
} as const;

/** Conv, Relu, GlobalAveragePool, Gemm. With `written`, quantizers at the tensors that the encodings name. */
function network(written: boolean): Uint8Array {
  const nodes: Node[] = [];
  const initializers: Record<string, Tensor> = {
    w: f32([4, 3, 3, 3], W),
    b: f32([4], BIAS),
    fc: f32([4, 4], FC),
  };
  const pair = (
    x: string,
    scale: readonly number[],
    zero: readonly number[],
    signed: boolean,
    axis = 0,
  ): string => {
    if (!written) return x;
    const dims = scale.length === 1 ? [] : [scale.length];
    initializers[`${x}_s`] = f32(dims, scale);
    initializers[`${x}_z`] = (signed ? i8 : u8)(dims, zero);
    const attributes = scale.length === 1 ? {} : { axis };
    nodes.push(node("QuantizeLinear", [x, `${x}_s`, `${x}_z`], [`${x}_q`], attributes));
    nodes.push(node("DequantizeLinear", [`${x}_q`, `${x}_s`, `${x}_z`], [`${x}_d`], attributes));
    return `${x}_d`;
  };
  const x = pair("x", [SCALES.x], [127], false);
  const w = pair("w", SCALES.w, [0, 0, 0, 0], true);
  nodes.push(node("Conv", [x, w, "b"], ["c"], { pads: [1, 1, 1, 1] }));
  nodes.push(node("Relu", ["c"], ["r"]));
  const r = pair("r", [SCALES.y], [0], false);
  nodes.push(node("GlobalAveragePool", [r], ["p"]));
  nodes.push(node("Flatten", ["p"], ["f"]));
  const f = pair("f", [SCALES.y], [3], false);
  const fc = pair("fc", [SCALES.fc], [0], true);
  nodes.push(node("Gemm", [f, fc], ["y"], { transB: 1 }));
  const y = pair("y", [SCALES.z], [0], true);
  return model({
    inputs: [value("x", "float32", [1, 3, 6, 6])],
    outputs: [value(y)],
    initializers,
    nodes,
    opset: 13,
  });
}

type Entry = readonly [name: string, scales: readonly number[], offset: number, param?: boolean];
const ENTRIES: readonly Entry[] = [
  ["x", [SCALES.x], -127],
  ["r", [SCALES.y], 0],
  ["f", [SCALES.y], -3],
  ["y", [SCALES.z], -128],
  ["w", SCALES.w, -128, true],
  ["fc", [SCALES.fc], -128, true],
];

const old = (entries: readonly Entry[]): string => {
  const part = (param: boolean) =>
    Object.fromEntries(
      entries
        .filter((e) => (e[3] ?? false) === param)
        .map(([name, scales, offset]) => [
          name,
          scales.map((scale) => ({
            bitwidth: 8,
            dtype: "int",
            is_symmetric: String(offset === -128),
            max: (255 + offset) * scale,
            min: offset * scale,
            offset,
            scale,
          })),
        ]),
    );
  return JSON.stringify({ version: "0.6.1", activation_encodings: part(false), param_encodings: part(true) });
};

const recent = (entries: readonly Entry[]): string => {
  const part = (param: boolean) =>
    entries
      .filter((e) => (e[3] ?? false) === param)
      .map(([name, scale, offset]) => ({
        name,
        bw: 8,
        dtype: "INT",
        enc_type: scale.length > 1 ? "PER_CHANNEL" : "PER_TENSOR",
        is_sym: offset === -128,
        offset: scale.map(() => offset),
        scale,
      }));
  return JSON.stringify({ version: "1.0.0", activation_encodings: part(false), param_encodings: part(true) });
};

async function build(bytes: Uint8Array, options: Partial<CompileOptions> = {}) {
  return compileModel(bytes, { target: "wasm-simd", ...options });
}

/** All that computes: the kernels with their constants. */
async function kernels(
  bytes: Uint8Array,
  options: Partial<CompileOptions> = {},
): Promise<readonly unknown[]> {
  const result = await build(bytes, options);
  if (!result.ok) throw new Error(result.diagnostics.map((d) => `${d.code} ${d.message}`).join("\n"));
  const { module, manifest } = result.value;
  const ops = module.funcs.flatMap((f) =>
    f.ops.map((o) => [o.name.replace(/^qc\.call$/, "call"), o.attrs, o.results.map((r) => r.type)]),
  );
  const boundaries = manifest.inputs.map(({ name, ...rest }) => rest);
  return [
    JSON.stringify(
      ops.filter(([name]) => name !== "call"),
      (_, v) => (typeof v === "bigint" ? `${v}n` : ArrayBuffer.isView(v) ? Array.from(v as Int32Array) : v),
    ),
    boundaries,
  ];
}

describe("the same network with the quantizers written in", () => {
  test.each([
    ["0.6.1", old],
    ["1.0.0", recent],
  ] as const)("version %s", async (_, text) => {
    const want = await kernels(network(true));
    expect(await kernels(network(false), { encodings: text(ENTRIES) })).toEqual(want);
    // One scale more, and it is another network.
    const other = ENTRIES.map((e): Entry => (e[0] === "r" ? ["r", [0.021], 0] : e));
    expect(await kernels(network(false), { encodings: text(other) })).not.toEqual(want);
  });
});

test("qc compile, verify and inspect --encodings", async () => {
  const dir = mkdtempSync(join(tmpdir(), "qc-encodings-"));
  try {
    const [path, side] = [join(dir, "m.onnx"), join(dir, "m.encodings")];
    writeFileSync(path, network(false));
    writeFileSync(side, recent(ENTRIES));
    expect(await qc("compile", path, "-o", join(dir, "out"))).toMatchObject({ code: 1 });
    expect(await qc("compile", path, "-o", join(dir, "out"), "--encodings", side)).toMatchObject({ code: 0 });
    expect(await qc("verify", path, "--encodings", side)).toMatchObject({ code: 0 });
    expect(await qc("inspect", path, "--encodings", side)).toMatchObject({ code: 0 });
    const absent = await qc("inspect", path, "--encodings", join(dir, "gone"));
    expect(absent.code).toBe(1);
    expect(absent.err).toMatch(/gone/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("encodings for tensors that are not there are listed", async () => {
  const encodings = recent([...ENTRIES, ["gone", [1], 0], ["away", [1], 0, true]]);
  const result = await build(network(false), { encodings, encodingsPath: "m.encodings" });
  expect(result.ok).toBe(true);
  const [warning] = result.diagnostics.filter((d) => d.code === "QC2154");
  expect(warning?.message).toMatch(/m\.encodings.*2 tensors.*gone.*away/);
});

const entry = (change: object): string => {
  const file = JSON.parse(recent(ENTRIES)) as { activation_encodings: object[] };
  file.activation_encodings[0] = { ...file.activation_encodings[0], ...change };
  return JSON.stringify(file);
};

test.each([
  ["no JSON", "{", "QC2150", /JSON/],
  ["another file", "{}", "QC2150", /activation_encodings/],
  ["a nameless entry", '{"activation_encodings": [{}]}', "QC2150", /entry 0.*no name/],
  ["a float", entry({ dtype: "FLOAT", bw: 16 }), "QC2153", /x.*float of 16 bits/],
  ["a bit width", entry({ bw: 33 }), "QC2151", /33 bits/],
  ["a scale", entry({ scale: [-1] }), "QC2151", /scale -1/],
  ["a positive offset", entry({ offset: [3] }), "QC2151", /offset 3/],
  ["blocks", entry({ enc_type: "PER_BLOCK" }), "QC2151", /PER_BLOCK/],
  ["offsets of other channels", entry({ offset: [0, 0] }), "QC2151", /1 scales and 2 offsets/],
  ["the same tensor twice", entry({ name: "r" }), "QC2151", /twice/],
  ["0.x without a list", '{"activation_encodings": {"x": 3}}', "QC2151", /not a list/],
  [
    "an axis that nothing tells",
    recent([...ENTRIES.slice(1), ["x", [1, 1, 1, 1, 1, 1], -1]]),
    "QC2152",
    /6 scales.*\[1, 3, 6, 6\]/,
  ],
])("%s: refused", async (_, encodings, code, says) => {
  const result = await build(network(false), { encodings });
  const errors = result.diagnostics.filter((d) => d.severity === "error");
  expect(result.ok).toBe(false);
  expect(errors.map((d) => d.code)).toContain(code);
  expect(errors.map((d) => d.message).join("\n")).toMatch(says);
});
