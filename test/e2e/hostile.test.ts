/**
 * Hostile files through the command line: a located diagnostic, exit code 1, nothing written, in bounded time; or, where
 * the file means something all the same, an artifact.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { qc } from "../cli/terminal.ts";
import { dense as valid } from "../fuzz/seeds.ts";
import {
  external,
  f32,
  type GraphSpec,
  graph,
  i8,
  i64,
  type ModelSpec,
  model,
  type Node,
  node,
  raw,
  type Tensor,
  tensor,
  u8,
  value,
} from "../onnx-writer.ts";

const root = mkdtempSync(join(tmpdir(), "qc-hostile-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const LIMIT_MS = 5_000;

interface Outcome {
  readonly code: number;
  readonly codes: readonly string[];
  readonly warnings: number;
  readonly err: string;
}

/** Compiles a file in a folder of its own; checks what holds for every failure. */
async function compile(bytes: Uint8Array, prepare: (dir: string) => void = () => {}): Promise<Outcome> {
  const dir = join(root, String(count++));
  mkdirSync(dir);
  writeFileSync(join(dir, "m.onnx"), bytes);
  prepare(dir);
  const before = readdirSync(dir, { recursive: true }).sort();
  const start = performance.now();
  const text = await qc("compile", join(dir, "m.onnx"), "-o", join(dir, "out"));
  expect(performance.now() - start).toBeLessThan(LIMIT_MS);
  const json = await qc("compile", join(dir, "m.onnx"), "-o", join(dir, "out"), "--json");
  const { diagnostics } = JSON.parse(json.out) as {
    diagnostics: { code: string; severity: string; loc?: unknown }[];
  };
  expect(json.code).toBe(text.code);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
  expect(text.err + text.out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
  expect(text.err).not.toMatch(/\n\s+at /);
  const errors = diagnostics.filter((d) => d.severity === "error");
  if (text.code !== 0) {
    expect(text.code).toBe(1);
    expect(text.out).toBe("");
    expect(readdirSync(dir, { recursive: true }).sort()).toEqual(before);
    expect(existsSync(join(dir, "out"))).toBe(false);
    expect(errors.length).toBeGreaterThan(0);
    // QC1108: a graph input or output without a name has no place to show.
    for (const e of errors) if (e.code !== "QC1108") expect(e.loc, e.code).toBeDefined();
  }
  return {
    code: text.code,
    codes: errors.map((d) => d.code),
    warnings: diagnostics.length - errors.length,
    err: text.err,
  };
}

describe("not a model", () => {
  const png = Uint8Array.from([
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52,
  ]);
  const text = (s: string): Uint8Array => new TextEncoder().encode(s);
  const cases: [string, Uint8Array][] = [
    ["zero bytes", new Uint8Array(0)],
    ["one byte", Uint8Array.of(0x3a)],
    ["a PNG", png],
    ["a page of an error", text("<!doctype html><html><body>404 Not Found</body></html>")],
    [
      "a pointer of Git LFS",
      text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
    ],
    ["a megabyte of zeros", new Uint8Array(1 << 20)],
    ["a megabyte of 0xff", new Uint8Array(1 << 20).fill(255)],
    ["nested groups of length", Uint8Array.from({ length: 4096 }, (_, i) => (i % 2 === 0 ? 0x3a : 0x7e))],
  ];
  test.each(cases)("%s", async (_, bytes) => {
    const { code, codes } = await compile(bytes);
    expect(code).toBe(1);
    expect(codes[0]).toMatch(/^QC1/);
  });

  test("every sixteenth truncation of a valid model", async () => {
    for (let length = 1; length < valid.length; length += Math.ceil(valid.length / 16))
      expect((await compile(valid.subarray(0, length))).code, `${length} bytes`).toBe(1);
    expect((await compile(valid)).code).toBe(0);
  });
});

/** x: u8 → DQ → MatMul with w → Q, with any piece replaced. */
function quantized(pieces: {
  readonly inits?: Readonly<Record<string, Tensor>>;
  readonly shape?: readonly (number | bigint)[];
  readonly nodes?: readonly Node[];
  readonly outputs?: ModelSpec["outputs"];
  readonly names?: { readonly x?: string; readonly y?: string };
}): Uint8Array {
  const { x = "x", y = "y" } = pieces.names ?? {};
  return model({
    inputs: [value(x, "uint8", pieces.shape ?? [1, 4])],
    outputs: pieces.outputs ?? [value(y, "uint8", [1, 3])],
    initializers: {
      w: i8([4, 3], [1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12]),
      sx: f32([], [0.5]),
      sw: f32([], [0.25]),
      sy: f32([], [0.75]),
      zx: u8([], [3]),
      zw: i8([], [0]),
      zy: u8([], [5]),
      ...pieces.inits,
    },
    nodes: [
      node("DequantizeLinear", [x, "sx", "zx"], ["xd"]),
      node("DequantizeLinear", ["w", "sw", "zw"], ["wd"]),
      node("MatMul", ["xd", "wd"], ["m"]),
      node("QuantizeLinear", ["m", "sy", "zy"], [y]),
      ...(pieces.nodes ?? []),
    ],
  });
}

describe("quantizers", () => {
  const bad: [string, number][] = [
    ["zero", 0],
    ["negative zero", -0],
    ["negative", -0.5],
    ["NaN", Number.NaN],
    ["infinite", Number.POSITIVE_INFINITY],
    ["minus infinity", Number.NEGATIVE_INFINITY],
  ];
  const where = ["sx", "sw", "sy"];
  test.each(where.flatMap((name) => bad.map(([what, s]): [string, string, number] => [name, what, s])))(
    "scale %s is %s",
    async (name, _, scale) => {
      const { code, err } = await compile(quantized({ inits: { [name]: f32([], [scale]) } }));
      expect(code).toBe(1);
      expect(err).toContain("scale");
    },
  );

  test.each(where)(
    "scale %s is denormal, the least or the greatest float32: an answer either way",
    async (name) => {
      for (const s of [2 ** -149, 2 ** -130, 3.4028234663852886e38])
        expect([0, 1]).toContain((await compile(quantized({ inits: { [name]: f32([], [s]) } }))).code);
    },
  );

  const zeros: [string, Readonly<Record<string, Tensor>>][] = [
    ["a float", { zy: f32([], [3]) }],
    ["of another length than the scale", { sw: f32([3], [1, 1, 1]), zw: i8([2], [0, 0]) }],
    ["a scale of the wrong length", { sw: f32([5], [1, 1, 1, 1, 1]), zw: i8([5], [0, 0, 0, 0, 0]) }],
    ["a scale without elements", { sw: f32([0], []), zw: i8([0], []) }],
    ["scale as integers", { sw: i64([], [1]) }],
  ];
  test.each(zeros)("zero point or scale %s", async (_, inits) => {
    expect((await compile(quantized({ inits }))).code).toBe(1);
  });
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("a bias of %d", async (x) => {
  const nodes = [node("Add", ["m", "bias"], ["b"]), node("QuantizeLinear", ["b", "sy", "zy"], ["z"])];
  const bytes = quantized({
    nodes,
    inits: { bias: f32([3], [0, x, 1]) },
    outputs: [value("z", "uint8", [1, 3])],
  });
  expect(await compile(bytes)).toMatchObject({ code: 1, codes: ["QC2109"] });
});

test("a zero point of another type than its tensor: the meaning is clear, so a warning", async () => {
  for (const inits of [{ zx: i8([], [0]) }, { zw: tensor("int16", [], [0]) }] as const)
    expect(await compile(quantized({ inits }))).toMatchObject({ code: 0, warnings: 1 });
  expect((await compile(quantized({ inits: { zw: tensor("int16", [], [300]) } }))).code).toBe(1);
});

describe("shapes", () => {
  const shapes: [string, readonly (number | bigint)[]][] = [
    ["2^31", [2n ** 31n, 4]],
    ["2^62 by 4", [2n ** 62n, 4]],
    ["2^63 − 1", [2n ** 63n - 1n, 4]],
    ["negative", [-1, 4]],
    ["least int64", [-(2n ** 63n), 4]],
    ["product of 2^53", [2n ** 26n, 2n ** 25n, 4]],
    ["rank 10,000", Array.from({ length: 10_000 }, () => 1)],
  ];
  test.each(shapes)("input of dims %s", async (_, shape) => {
    const { code, warnings } = await compile(quantized({ shape, outputs: [value("y", "uint8", undefined)] }));
    // A negative dimension, or one beyond 2^53, is unknown: a warning, and the batch dimension is 1.
    if (shape[0]! < 0 || shape[0]! > 2 ** 53) expect({ code, warnings }).toEqual({ code: 0, warnings: 1 });
    else expect(code).toBe(1);
  });
  test.each(shapes.slice(0, 6))("initializer of dims %s and little data", async (_, dims) => {
    expect((await compile(quantized({ inits: { w: raw("int8", dims, new Uint8Array(12)) } }))).code).toBe(1);
  });

  const huge: [string, Node[], Readonly<Record<string, Tensor>>][] = [
    ["Expand to 2^40", [node("Expand", ["y", "big"], ["z"])], { big: i64([2], [2 ** 20, 2 ** 20]) }],
    ["Tile by 2^40", [node("Tile", ["y", "big"], ["z"])], { big: i64([2], [2 ** 20, 2 ** 20]) }],
    ["Pad by 2^40", [node("Pad", ["y", "big"], ["z"])], { big: i64([4], [0, 2 ** 40, 0, 0]) }],
    ["Reshape to 2^40", [node("Reshape", ["y", "big"], ["z"])], { big: i64([2], [2 ** 20, 2 ** 20]) }],
    [
      "ConstantOfShape of 2^40",
      [node("ConstantOfShape", ["big"], ["z"])],
      { big: i64([2], [2 ** 20, 2 ** 20]) },
    ],
    [
      "Range of 2^40",
      [node("Range", ["a", "b", "c"], ["z"])],
      { a: i64([], [0]), b: i64([], [2 ** 40]), c: i64([], [1]) },
    ],
    ["a chain of Concat that doubles 40 times", doubling(40), {}],
  ];
  test.each(huge)("%s", async (_, nodes, inits) => {
    const z = nodes.at(-1)!.outputs[0]!;
    const bytes = quantized({
      nodes,
      inits,
      outputs: [value("y", "uint8", [1, 3]), value(z, "uint8", undefined)],
    });
    expect((await compile(bytes)).code).toBe(1);
  });
});

function doubling(n: number): Node[] {
  return Array.from({ length: n }, (_, i) =>
    node("Concat", [i === 0 ? "y" : `c${i - 1}`, i === 0 ? "y" : `c${i - 1}`], [`c${i}`], { axis: 1 }),
  );
}

describe("graphs", () => {
  test("a cycle", async () => {
    const nodes = [node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"])];
    const { code, err } = await compile(model({ outputs: [value("b", "float32", [1])], nodes }));
    expect(code).toBe(1);
    expect(err).toMatch(/cycl|itself/i);
  });
  test("a node that reads what it makes", async () => {
    const nodes = [node("Relu", ["a"], ["a"])];
    expect((await compile(model({ outputs: [value("a", "float32", [1])], nodes }))).code).toBe(1);
  });
  test("two nodes make one tensor; an initializer of an input's name", async () => {
    const twice = [node("QuantizeLinear", ["m", "sy", "zy"], ["y"])];
    expect((await compile(quantized({ nodes: twice }))).code).toBe(1);
    const { code } = await compile(quantized({ inits: { x: u8([1, 4], [1, 2, 3, 4]) } }));
    expect([0, 1]).toContain(code);
  });
  test("a name that nothing defines, an output that nothing makes", async () => {
    const nodes = [node("Add", ["m", "nowhere"], ["z"])];
    expect((await compile(quantized({ nodes, outputs: [value("z", "float32", [1, 3])] }))).err).toContain(
      "nowhere",
    );
    expect((await compile(quantized({ outputs: [value("ghost", "uint8", [1, 3])] }))).err).toContain("ghost");
  });
  test("a chain of 20,000 nodes", async () => {
    const nodes = Array.from({ length: 20_000 }, (_, i) =>
      node("Identity", [i === 0 ? "y" : `i${i - 1}`], [`i${i}`]),
    );
    expect((await compile(quantized({ nodes, outputs: [value("i19999", "uint8", [1, 3])] }))).code).toBe(0);
  });
  test("a chain of 5,000 float operators without a quantizer", async () => {
    const nodes = Array.from({ length: 5_000 }, (_, i) =>
      node("Tanh", [i === 0 ? "m" : `i${i - 1}`], [`i${i}`]),
    );
    expect((await compile(quantized({ nodes, outputs: [value("i4999", "float32", [1, 3])] }))).code).toBe(1);
  });
  test.each([10, 200, 1000])("subgraphs nested %d deep", async (depth) => {
    let body: GraphSpec = { nodes: [node("Identity", ["y"], ["r"])], outputs: [value("r")] };
    if (depth > 200) {
      // Beyond what the writer itself can nest: graph (6) in an attribute (5) of a node (1), by hand.
      let bytes = Uint8Array.of(0x0a, 0x01, 0x61);
      for (let i = 0; i < depth; i++) bytes = wrapped(bytes);
      body = { extra: bytes };
    } else
      for (let i = 0; i < depth; i++)
        body = { nodes: [node("If", ["y"], ["r"], { then_branch: graph(body) })], outputs: [value("r")] };
    const nodes = [node("If", ["y"], ["z"], { then_branch: graph(body), else_branch: graph(body) })];
    expect((await compile(quantized({ nodes, outputs: [value("z", "uint8", [1, 3])] }))).code).toBe(1);
  });
  test("a function that calls itself, and two that call each other", async () => {
    const call = (name: string) => node(name, ["i"], ["o"], {}, { domain: "d" });
    const fn = (name: string, body: Node) => ({
      name,
      domain: "d",
      inputs: ["i"],
      outputs: ["o"],
      nodes: [body],
    });
    for (const functions of [[fn("F", call("F"))], [fn("F", call("G")), fn("G", call("F"))]]) {
      const bytes = model({
        inputs: [value("x", "float32", [1])],
        outputs: [value("y", "float32", [1])],
        nodes: [node("F", ["x"], ["y"], {}, { domain: "d" })],
        functions,
        opsets: { d: 1 },
      });
      expect((await compile(bytes)).code).toBe(1);
    }
  });
});

/** A node (1) with an attribute (5) of a graph (6) that holds `body`. */
function wrapped(body: Uint8Array): Uint8Array<ArrayBuffer> {
  const field = (tag: number, b: Uint8Array): Uint8Array<ArrayBuffer> => {
    const length: number[] = [];
    for (let n = b.length; ; n >>>= 7) {
      length.push(n > 127 ? (n & 127) | 128 : n);
      if (n <= 127) break;
    }
    return Uint8Array.from([tag, ...length, ...b]);
  };
  return field(0x0a, field(0x2a, field(0x32, body)));
}

describe("names", () => {
  const hostile = [
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "*/ alert(1) /*",
    "${process.exit(3)}`",
    '"; process.exit(3); "',
    "line\nbreak\r\u2028",
    "nul\u0000byte",
    "\u001b[31mred\u001b]0;title\u0007",
    "\u202egnp.exe",
    "</script><script>",
    "../../../../etc/passwd",
    "",
    "n".repeat(100_000),
    "\ud800",
  ];
  test.each(hostile.map((name): [string, string] => [JSON.stringify(name.slice(0, 24)), name]))(
    "%s as an input, an output and an inner tensor",
    async (_, name) => {
      const good = await compile(quantized({ names: { x: name } }));
      if (name !== "") expect(good).toMatchObject({ code: 0, codes: [] });
      const out = await compile(quantized({ names: { y: name } }));
      if (name !== "") expect(out).toMatchObject({ code: 0, codes: [] });
      const nodes = [node(name, ["m"], [`${name}2`], { [`${name}a`]: 1 }, { name, domain: name })];
      const bad = await compile(quantized({ nodes, outputs: [value(`${name}2`, "float32", [1, 3])] }));
      expect(bad.code).toBe(1);
      expect(bad.err.length).toBeLessThan(5_000);
    },
  );
});

describe("external data", () => {
  const weights = Uint8Array.from({ length: 12 }, (_, i) => i);
  const at = (location: string, range = {}) =>
    quantized({ inits: { w: external(i8([4, 3], weights), location, range) } });
  test("beside the model", async () => {
    expect((await compile(at("w.bin"), (dir) => writeFileSync(join(dir, "w.bin"), weights))).code).toBe(0);
  });
  const outside: [string, string][] = [
    ["a parent folder", "../w.bin"],
    ["an absolute path", "/etc/hostname"],
    ["a detour", "sub/../../w.bin"],
    ["a Windows path", "..\\w.bin"],
    ["a NUL byte", "w\u0000.bin"],
    ["an empty path", ""],
    ["the folder itself", "."],
    ["a device", "/dev/zero"],
    ["a URL", "file:///etc/hostname"],
    ["a missing file", "none.bin"],
  ];
  writeFileSync(join(root, "w.bin"), weights);
  test.each(outside)("%s", async (_, location) => {
    expect((await compile(at(location))).code).toBe(1);
  });
  test("links: out of the folder refused, within it followed, a loop refused", async () => {
    const secret = join(root, "w.bin");
    expect((await compile(at("link.bin"), (dir) => symlinkSync(secret, join(dir, "link.bin")))).code).toBe(1);
    expect((await compile(at("up/w.bin"), (dir) => symlinkSync(root, join(dir, "up")))).code).toBe(1);
    const inside = (dir: string) => {
      writeFileSync(join(dir, "w.bin"), weights);
      symlinkSync("w.bin", join(dir, "link.bin"));
    };
    expect((await compile(at("link.bin"), inside)).code).toBe(0);
    expect((await compile(at("loop"), (dir) => symlinkSync("loop", join(dir, "loop")))).code).toBe(1);
  });
  const ranges: [string, { offset?: number | string; length?: number | string }][] = [
    ["an offset behind the end", { offset: 100 }],
    ["a negative offset", { offset: -4 }],
    ["an offset of 2^63", { offset: "9223372036854775808" }],
    ["an offset that is no number", { offset: "0x0; rm" }],
    ["a length beyond the end", { length: 2 ** 40 }],
    ["a length that does not suit the shape", { length: 5 }],
    ["a negative length", { length: -12 }],
  ];
  test.each(ranges)("%s", async (_, range) => {
    const { code } = await compile(at("w.bin", range), (dir) => writeFileSync(join(dir, "w.bin"), weights));
    expect(code).toBe(1);
  });
});
