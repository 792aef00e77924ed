/** Integers and truth values of the run: WebAssembly against formulas on bigints, and against the interpreter. */
import { describe, expect, test } from "vitest";
import { compileModel } from "../../compiler/index.ts";
import { interpret } from "../../compiler/ir/interpreter.ts";
import type { Dense, Elements } from "../../compiler/ir/module.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { f32, i8, i64, type ModelSpec, model as modelBytes, node, tensor, value } from "../onnx-writer.ts";
import { randomWords } from "../random-inputs.ts";

type Feed = Float32Array | Int8Array | Uint8Array | Int16Array | Int32Array | Uint32Array | BigInt64Array;

const numbers = (x: ArrayLike<number | bigint>): number[] => Array.from(x as ArrayLike<number>, Number);

async function compiled(spec: ModelSpec, allowFloat = true) {
  const result = await compileModel(modelBytes(spec), { target: "wasm", allowFloat });
  if (!result.ok) throw new Error(result.diagnostics.map((d) => `${d.code} ${d.message}`).join("\n"));
  const { manifest, baseline, exact } = result.value;
  const artifact = await loadModel(layoutOf(manifest), {}, { wasm: baseline as Uint8Array<ArrayBuffer> });
  return { artifact, exact, diagnostics: result.diagnostics };
}

/** Outputs of the artifact, which are those of the integer graph as the interpreter has it. */
async function run(spec: ModelSpec, feeds: { readonly [name: string]: Feed }, allowFloat = true) {
  const { artifact, exact } = await compiled(spec, allowFloat);
  const got = artifact.run(feeds);
  const args = new Map(
    exact.funcs[0]!.params.map((p): [string, Dense] => {
      const { elem, shape } = p.value.type;
      if (elem.kind === "quant") throw new Error("quantised param");
      const given = feeds[p.name]!;
      const data = (given instanceof BigInt64Array ? Float64Array.from(given, Number) : given) as Elements;
      return [p.name, { kind: "dense", elem, shape, data }];
    }),
  );
  for (const { port, dense } of interpret(exact, args, { float32: true }))
    expect(numbers(got[port.name]!), port.name).toEqual(numbers(dense.data));
  return Object.fromEntries(Object.entries(got).map(([name, x]) => [name, numbers(x)]));
}

const codesOf = async (spec: ModelSpec): Promise<readonly string[]> => {
  const result = await compileModel(modelBytes(spec), { target: "wasm-simd", allowFloat: true });
  return result.diagnostics.filter((d) => d.severity === "error").map((d) => d.code);
};

const DTYPES = {
  int8: [Int8Array, 8, true],
  uint8: [Uint8Array, 8, false],
  int16: [Int16Array, 16, true],
  uint16: [Uint16Array, 16, false],
  int32: [Int32Array, 32, true],
  uint32: [Uint32Array, 32, false],
} as const;
type Name = keyof typeof DTYPES;

const wrap = (name: Name, x: bigint): number =>
  Number(DTYPES[name][2] ? BigInt.asIntN(DTYPES[name][1], x) : BigInt.asUintN(DTYPES[name][1], x));

/** Random values with the ends and small numbers among them; graph inputs of uint32 stay below 2³¹. */
function samples(name: Name, n: number, seed: number): Feed {
  const [array, bits, signed] = DTYPES[name];
  const word = randomWords(seed);
  const most = signed ? 2 ** (bits - 1) - 1 : 2 ** Math.min(bits, 31) - 1;
  const least = signed ? -(2 ** (bits - 1)) : 0;
  const ends = [least, most, 0, 1, signed ? -1 : 2, 3, least + 1];
  return new array(
    Array.from({ length: n }, () =>
      word() % 3 === 0 ? ends[word() % ends.length]! : least + (word() % (most - least + 1)),
    ),
  ) as Feed;
}

const floorDiv = (a: bigint, b: bigint): bigint => (a % b !== 0n && a < 0n !== b < 0n ? a / b - 1n : a / b);

const BINARY: { readonly [op: string]: (a: bigint, b: bigint) => bigint } = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => (b === 0n ? 0n : a / b),
  Mod: (a, b) => (b === 0n ? 0n : a - b * floorDiv(a, b)),
  Min: (a, b) => (a < b ? a : b),
  Max: (a, b) => (a > b ? a : b),
  BitwiseAnd: (a, b) => a & b,
  BitwiseOr: (a, b) => a | b,
  BitwiseXor: (a, b) => a ^ b,
};
const RELATIONS: { readonly [op: string]: (a: bigint, b: bigint) => boolean } = {
  Equal: (a, b) => a === b,
  Less: (a, b) => a < b,
  Greater: (a, b) => a > b,
  LessOrEqual: (a, b) => a <= b,
  GreaterOrEqual: (a, b) => a >= b,
};

const names = Object.keys(DTYPES) as Name[];

describe.each(names)("%s", (name) => {
  test.each(Object.keys(BINARY))("%s", async (op) => {
    const [rows, columns] = [9, 23];
    const spec: ModelSpec = {
      opset: 18,
      inputs: [value("a", name, [rows, columns]), value("b", name, [columns])],
      outputs: [value("y", name)],
      nodes: [node(op, ["a", "b"], ["y"])],
    };
    const [a, b] = [samples(name, rows * columns, 1), samples(name, columns, 2)];
    const { y } = await run(spec, { a, b });
    expect(y).toEqual(
      numbers(a).map((v, i) => wrap(name, BINARY[op]!(BigInt(v), BigInt(Number(b[i % columns]))))),
    );
  });
  test("relations, choices and casts", async () => {
    const n = 61;
    const relations = Object.keys(RELATIONS);
    const spec: ModelSpec = {
      opset: 18,
      inputs: [value("a", name, [n]), value("b", name, [n])],
      outputs: [
        ...relations.map((op) => value(op, "bool")),
        value("w", name),
        value("c", "int16"),
        value("t", "bool"),
      ],
      nodes: [
        ...relations.map((op) => node(op, ["a", "b"], [op])),
        node("Where", ["Less", "b", "a"], ["w"]),
        node("Add", ["a", "b"], ["sum"]),
        node("Cast", ["sum"], ["c"], { to: 5 }),
        node("Cast", ["sum"], ["t"], { to: 9 }),
      ],
    };
    const [a, b] = [samples(name, n, 3), samples(name, n, 4)];
    const got = await run(spec, { a, b });
    const pairs = numbers(a).map((v, i) => [BigInt(v), BigInt(Number(b[i]))] as const);
    for (const op of relations)
      expect(got[op]).toEqual(pairs.map(([p, q]) => (RELATIONS[op]!(p, q) ? 1 : 0)));
    const sums = pairs.map(([p, q]) => wrap(name, p + q));
    expect(got.w).toEqual(pairs.map(([p, q]) => Number(p < q ? q : p)));
    expect(got.c).toEqual(sums.map((s) => wrap("int16", BigInt(s))));
    expect(got.t).toEqual(sums.map((s) => (s === 0 ? 0 : 1)));
  });
});

describe("64 bits", () => {
  const one = (op: string): ModelSpec => ({
    opset: 18,
    inputs: [value("a", "int64", [5]), value("b", "int64", [5])],
    outputs: [value("y", "int64")],
    nodes: [node(op, ["a", "b"], ["y"])],
  });
  test("values within 32 bits are exact, others are refused when they come", async () => {
    const { artifact } = await compiled(one("Max"));
    const a = BigInt64Array.of(-(2n ** 31n), 2n ** 31n - 1n, 0n, -1n, 7n);
    const b = new BigInt64Array(5);
    expect(artifact.run({ a, b }).y).toEqual(a.map((v) => (v > 0n ? v : 0n)));
    for (const far of [2n ** 31n, -(2n ** 31n) - 1n, 2n ** 32n, 2n ** 40n])
      expect(() => artifact.run({ a, b: BigInt64Array.of(0n, 0n, far, 0n, 0n) })).toThrow(/outside/);
  });
  test("sums and products that may need more are refused", async () => {
    for (const op of ["Add", "Sub", "Mul"]) expect(await codesOf(one(op))).toEqual(["QC2157"]);
  });
  test("bounded ones are exact", async () => {
    const spec: ModelSpec = {
      opset: 18,
      inputs: [value("a", "int64", [5])],
      outputs: [value("y", "int64")],
      initializers: { m: i64([], [1000]) },
      nodes: [node("Mod", ["a", "m"], ["r"]), node("Mul", ["r", "r"], ["y"])],
    };
    const { y } = await run(spec, { a: BigInt64Array.of(-1n, 999n, -(2n ** 31n), 123456n, 0n) });
    expect(y).toEqual([999 * 999, 999 * 999, 352 * 352, 456 * 456, 0]);
  });
  test("floats cast to int64 saturate, and say so", async () => {
    const spec: ModelSpec = {
      opset: 18,
      inputs: [value("x", "float32", [4])],
      outputs: [value("y", "int64")],
      nodes: [node("Cast", ["x"], ["y"], { to: 7 })],
    };
    const { diagnostics } = await compiled(spec);
    expect(diagnostics.map((d) => d.code)).toContain("QC2158");
    const { y } = await run(spec, { x: Float32Array.of(-2.5, 1e12, -1e12, 3.999) });
    expect(y).toEqual([-2, 2 ** 31 - 1, -(2 ** 31), 3]);
  });
});

describe("indices", () => {
  const [rows, columns] = [5, 19];
  const x = Float32Array.from({ length: rows * columns }, (_, i) => ((i * 37) % 41) - 20);

  test("gathers count negative ones from the end and stay inside", async () => {
    const spec: ModelSpec = {
      opset: 18,
      inputs: [value("x", "float32", [rows, columns]), value("i", "int64", [2, 3])],
      outputs: [value("y", "float32")],
      nodes: [node("Gather", ["x", "i"], ["y"])],
    };
    const i = BigInt64Array.of(0n, -1n, 4n, -5n, 9n, -77n);
    const { y } = await run(spec, { x, i });
    const at = [0, 4, 4, 0, 4, 0];
    expect(y).toEqual(at.flatMap((r) => numbers(x.slice(r * columns, (r + 1) * columns))));
  });

  test.each(["none", "add", "mul", "min", "max"])("scatter, reduction %s, in order", async (reduction) => {
    const spec: ModelSpec = {
      opset: 18,
      inputs: [value("x", "int32", [6]), value("i", "int32", [9]), value("u", "int32", [9])],
      outputs: [value("y", "int32")],
      nodes: [node("ScatterElements", ["x", "i", "u"], ["y"], { reduction })],
    };
    const [data, i, u] = [samples("int32", 6, 5), [0, 3, 3, -1, 5, 0, 0, 2, -6], samples("int32", 9, 6)];
    const { y } = await run(spec, { x: data, i: Int32Array.from(i), u });
    const want = numbers(data).map(BigInt);
    const join = { add: BINARY.Add!, mul: BINARY.Mul!, min: BINARY.Min!, max: BINARY.Max! } as const;
    i.forEach((k, t) => {
      const [p, v] = [(k + 6) % 6, BigInt(Number(u[t]))];
      const old = BigInt(wrap("int32", want[p]!));
      want[p] = reduction === "none" ? v : join[reduction as "add"](old, v);
    });
    expect(y).toEqual(want.map((v) => wrap("int32", v)));
  });

  test.each([
    [0, 3, 1],
    [1, 19, 1],
    [1, 7, 0],
    [0, 5, 0],
  ])("TopK along axis %i, k = %i, largest = %i: equal ones in order of place", async (axis, k, largest) => {
    const spec: ModelSpec = {
      opset: 18,
      inputs: [value("x", "float32", [rows, columns])],
      outputs: [value("v", "float32"), value("i", "int64")],
      initializers: { k: i64([1], [k]) },
      nodes: [node("TopK", ["x", "k"], ["v", "i"], { axis, largest })],
    };
    const { v, i } = await run(spec, { x });
    const lines = axis === 1 ? rows : columns;
    const at = (line: number, p: number): number => (axis === 1 ? line * columns + p : p * columns + line);
    for (let line = 0; line < lines; line++) {
      const order = Array.from({ length: axis === 1 ? columns : rows }, (_, p) => p).sort((p, q) => {
        const d = x[at(line, q)]! - x[at(line, p)]!;
        return (largest ? d : -d) || p - q;
      });
      const got = Array.from({ length: k }, (_, r) => i![axis === 1 ? line * k + r : r * columns + line]!);
      expect(got).toEqual(order.slice(0, k));
      got.forEach((p, r) => {
        expect(v![axis === 1 ? line * k + r : r * columns + line]).toBe(x[at(line, p)]);
      });
    }
  });

  test("of one grid stay integers: no float is needed", async () => {
    const spec: ModelSpec = {
      opset: 18,
      inputs: [value("x", "float32", [4, 16])],
      outputs: [value("v", "float32"), value("i", "int64")],
      initializers: { s: f32([], [0.25]), z: i8([], [3]), k: i64([1], [5]) },
      nodes: [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["r"]),
        node("TopK", ["r", "k"], ["v", "i"]),
      ],
    };
    const { artifact } = await compiled(spec, false);
    const given = Float32Array.from({ length: 64 }, (_, i) => (((i * 29) % 64) - 32) / 4 + 0.01);
    const { v, i } = artifact.run({ x: given });
    const real = numbers(given).map((g) => Math.max(-128, Math.min(127, Math.round(g / 0.25) + 3)) - 3);
    for (let r = 0; r < 4; r++) {
      const line = real.slice(16 * r, 16 * r + 16);
      const order = line.map((_, p) => p).sort((p, q) => line[q]! - line[p]! || p - q);
      expect(numbers(i!).slice(5 * r, 5 * r + 5)).toEqual(order.slice(0, 5));
      expect(numbers(v!).slice(5 * r, 5 * r + 5)).toEqual(order.slice(0, 5).map((p) => line[p]! / 4));
    }
  });
});

describe("constants and choices at their ends", () => {
  test("the magnitude of unsigned integers is theirs", async () => {
    const spec = {
      inputs: [value("x", "uint8", [3])],
      outputs: [value("y", "uint8", [3])],
      nodes: [node("Abs", ["x"], ["y"])],
    };
    expect(await run(spec, { x: Uint8Array.of(5, 200, 0) })).toEqual({ y: [5, 200, 0] });
  });

  test("a choice by constants does not see what it leaves out", async () => {
    const spec = {
      inputs: [value("x", "float32", [3])],
      outputs: [value("y", "float32", [3])],
      initializers: { c: tensor("bool", [3], [1, 0, 0]), seven: f32([], [7]) },
      nodes: [node("Log", ["x"], ["l"]), node("Where", ["c", "l", "seven"], ["y"])],
    };
    expect(await run(spec, { x: Float32Array.of(1, 0, -1) })).toEqual({ y: [0, 7, 7] });
  });

  test("constants of 32 bits without sign are not taken for negative ones", async () => {
    const spec = {
      inputs: [value("x", "uint32", [3])],
      outputs: [value("y", "bool", [3])],
      initializers: { k: tensor("uint32", [3], [4294967295, 2147483648, 1]) },
      nodes: [node("Less", ["x", "k"], ["y"])],
    };
    expect(await codesOf(spec)).toEqual(["QC3001"]);
  });

  test.each([-3, 0, 5_000_000_000])("a depth of %d is refused", async (depth) => {
    const spec = {
      inputs: [value("x", "int64", [2])],
      outputs: [value("y")],
      initializers: { depth: i64([], [depth]), values: f32([2], [0, 1]) },
      nodes: [node("OneHot", ["x", "depth", "values"], ["y"])],
    };
    expect(await codesOf(spec)).toEqual(["QC1135"]);
  });

  test("negative indices count from the end, as integers and as floats", async () => {
    for (const [type, x] of [
      ["int64", BigInt64Array.of(-1n, 1n)],
      ["float32", Float32Array.of(-1, 1)],
    ] as const) {
      const spec = {
        inputs: [value("x", type, [2])],
        outputs: [value("y", "float32", [2, 3])],
        initializers: { depth: i64([], [3]), values: f32([2], [0, 1]) },
        nodes: [node("OneHot", ["x", "depth", "values"], ["y"])],
      };
      expect(await run(spec, { x })).toEqual({ y: [0, 0, 1, 0, 1, 0] });
    }
  });

  test("an index beyond 32 bits is refused, wherever it stands", async () => {
    for (const indices of [
      [0, 4294967298],
      [4294967298, 0],
    ]) {
      const spec = {
        inputs: [value("x", "float32", [2])],
        outputs: [value("y", "float32", [2])],
        initializers: { data: f32([3], [1, 2, 3]), at: i64([2], indices) },
        nodes: [node("GatherElements", ["data", "at"], ["g"]), node("Add", ["x", "g"], ["y"])],
      };
      expect(await codesOf(spec)).toEqual(["QC1135"]);
    }
  });
});
