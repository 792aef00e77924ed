/** Builder, rewriter, interpreter, verifier and pass manager on modules that text cannot express or need not. */
import { describe, expect, test } from "vitest";
import { createBuilder } from "../../compiler/ir/builder.ts";
import { dense } from "../../compiler/ir/dense.ts";
import { interpret } from "../../compiler/ir/interpreter.ts";
import { checkLegality } from "../../compiler/ir/legality.ts";
import type { Func, Module, Op } from "../../compiler/ir/module.ts";
import { parseModule } from "../../compiler/ir/parser.ts";
import { definePass, type Pass, parsePasses, runPipeline } from "../../compiler/ir/pass.ts";
import { printModule } from "../../compiler/ir/printer.ts";
import { dce, greedy, mapFuncs, type Rule, rebuild } from "../../compiler/ir/rewriter.ts";
import { I8, I32, tensor, U8 } from "../../compiler/ir/types.ts";
import { verifyModule } from "../../compiler/ir/verifier.ts";
import { checkSame } from "../filetest.ts";

function parse(text: string): Module {
  const r = parseModule(text);
  if (!r.ok) throw new Error(JSON.stringify(r.diagnostics));
  return r.value;
}
const port = (name: string) => ({ name, dtype: "int8" });

describe("builder", () => {
  test("fills in defaults, infers types, passes hints and locations on", () => {
    const b = createBuilder("main");
    const x = b.param(tensor([1, 2, 2, 1], I8), port("x"));
    const loc = { kind: "tensor", name: "t" } as const;
    const y = b.add1("qc.conv", [x, x], { strides: [1, 1], pads: [0, 0, 0, 0] }, { loc, names: ["y"] });
    b.result(y, port("y"));
    const f = b.build();
    expect(y).toEqual({ name: "y", type: tensor([1, 1, 1, 1], I32) });
    expect(f.ops[0]!.attrs).toMatchObject({ dilations: [1, 1], groups: 1, pad_value: 0 });
    expect(f.ops[0]!.loc).toBe(loc);
    expect(verifyModule({ funcs: [f] })).toEqual([]);
  });
  test("throws on mistakes", () => {
    const b = createBuilder();
    const x = b.param(tensor([2], I8), port("x"));
    expect(() => b.op("qc.foo", [x])).toThrow("no op is called qc.foo");
    expect(() => b.op("qc.clamp", [x], { lo: 0 })).toThrow("lacks attribute hi");
    expect(() => b.op("qc.clamp", [x], { lo: 0, hi: 1, z: 2 })).toThrow("no attribute z");
    expect(() => b.op("qc.clamp", [x], { lo: 2, hi: 1 })).toThrow("lo must not exceed hi");
    expect(() => b.op("qc.clamp", [x, x], { lo: 0, hi: 1 })).toThrow("2 operands");
  });
});

const CHAIN = `func @main(%x: tensor<4xi8>) -> (tensor<4xi8>) {
  %a = qc.clamp %x {lo = -9, hi = 9} : tensor<4xi8>
  %b = qc.clamp %a {lo = -7, hi = 8} : tensor<4xi8>
  %c = qc.clamp %b {lo = -5, hi = 20} : tensor<4xi8>
  %d = qc.clamp %x {lo = 0, hi = 1} : tensor<4xi8>
  return %c
}`;

/** clamp(clamp(x, a, b), c, d) = clamp(x, max(a, c), min(b, d)) where that is a range. */
const mergeClamps: Rule = {
  name: "merge-clamps",
  ops: ["qc.clamp"],
  rewrite: (op, [x], ctx) => {
    const inner = ctx.def(x!);
    if (inner?.name !== "qc.clamp" || ctx.useCount(x!) !== 1) return undefined;
    const lo = Math.max(op.attrs.lo as number, inner.attrs.lo as number);
    const hi = Math.min(op.attrs.hi as number, inner.attrs.hi as number);
    return lo <= hi ? [ctx.b.add1("qc.clamp", inner.operands, { lo, hi })] : undefined;
  },
};

describe("rewriter", () => {
  test("greedy reaches the fixpoint and drops what is unused", () => {
    const before = parse(CHAIN);
    const after = mapFuncs(before, (f) => greedy(f, [mergeClamps]));
    expect(after.funcs[0]!.ops.map((o) => o.attrs)).toEqual([{ lo: -5, hi: 8 }]);
    expect(verifyModule(after)).toEqual([]);
    checkSame(before, after);
  });
  test("useCount sees operands and results", () => {
    const shared = parse(CHAIN.replace("return %c", "return %c, %b").replace("-> (", "-> (tensor<4xi8>, "));
    const after = mapFuncs(shared, (f) => greedy(f, [mergeClamps]));
    expect(after.funcs[0]!.ops.map((o) => o.attrs)).toEqual([
      { lo: -7, hi: 8 },
      { lo: -5, hi: 20 },
    ]);
  });
  test("a function no rule applies to stays the same object", () => {
    const f = parse(CHAIN).funcs[0]!;
    expect(greedy(dce(f), [])).toEqual(dce(f));
    const clean = dce(f);
    expect(dce(clean)).toBe(clean);
    expect(rebuild(clean, () => undefined).ops.every((o, i) => o === clean.ops[i])).toBe(true);
  });
  test("rules that never end are a bug", () => {
    const flip: Rule = {
      name: "flip",
      rewrite: (op, operands, ctx) => [ctx.b.add1(op.name, operands, op.attrs)],
    };
    expect(() => greedy(parse(CHAIN).funcs[0]!, [flip], 5)).toThrow("rules flip do not end after 5 sweeps");
  });
  test("a changed operand type is inferred onward", () => {
    const f = parse(`func @main(%x: tensor<2x3xi8>) -> (tensor<3x2xi8>) {
      %a = qc.clamp %x {lo = 0, hi = 1} : tensor<2x3xi8>
      %b = layout.transpose %a {perm = [1, 0]} : tensor<3x2xi8>
      return %b
    }`).funcs[0]!;
    const out = rebuild(f, (op, [x], b) =>
      op.name === "qc.clamp" ? b.op(op.name, [x!], op.attrs, { types: [tensor([2, 3], U8)] }) : undefined,
    );
    expect(out.results[0]!.value.type).toEqual(tensor([3, 2], U8));
  });
  test("the meaning check can say no", () => {
    const other = parse(CHAIN.replace("lo = -5", "lo = -4"));
    expect(() => checkSame(parse(CHAIN), other)).toThrow(/check: same – result 0, seed \d: element/);
  });
});

describe("interpreter", () => {
  test("calls functions, shows every value, takes inputs by name", () => {
    const m = parse(`func @main(%x: tensor<2xi8> {name = "in"}) -> (tensor<2xi16> {name = "out"}) {
      %y = qc.call %x {callee = "double"} : tensor<2xi16>
      return %y
    }
    func @double(%x: tensor<2xi8>) -> (tensor<2xi16>) {
      %y = qc.requant %x {axis = 0, scales = [[2/1]], lo = -300, hi = 300} : tensor<2xi16>
      return %y
    }`);
    const seen: string[] = [];
    const [out] = interpret(m, new Map([["in", dense(I8, [2], [100, -3])]]), {
      observe: (v, d) => seen.push(`${v.name}=${Array.from(d.data)}`),
    });
    expect(Array.from(out!.dense.data)).toEqual([200, -6]);
    expect(seen).toEqual(["x=100,-3", "x=100,-3", "y=200,-6", "y=200,-6"]);
  });
  test("refuses inputs of another type", () => {
    const m = parse(CHAIN);
    expect(() => interpret(m, new Map())).toThrow("no input for x");
    expect(() => interpret(m, new Map([["x", dense(U8, [4], [0, 0, 0, 0])]]))).toThrow("wrong element type");
    expect(() => interpret(m, new Map([["x", dense(I8, [1], [0])]]))).toThrow("shape [1] instead of [4]");
  });
  test("a convolution of 30 million products takes seconds at most", () => {
    const b = createBuilder();
    const x = b.param(tensor([1, 56, 56, 32], I8), port("x"));
    const w = b.param(tensor([32, 3, 3, 32], I8), port("w"));
    b.result(b.add1("qc.conv", [x, w], { strides: [1, 1], pads: [1, 1, 1, 1] }), port("y"));
    const ones = (shape: number[]) => dense(I8, shape, new Int8Array(shape.reduce((p, q) => p * q)).fill(1));
    const start = performance.now();
    const [y] = interpret(
      { funcs: [b.build()] },
      new Map([
        ["x", ones([1, 56, 56, 32])],
        ["w", ones([32, 3, 3, 32])],
      ]),
    );
    expect(performance.now() - start).toBeLessThan(5000);
    expect(y!.dense.data[0]).toBe(4 * 32);
    expect(y!.dense.data[57 * 32]).toBe(9 * 32);
  });
});

describe("verifier", () => {
  const x = { name: "x", type: tensor([2], I8) };
  const y = { name: "y", type: tensor([2], I8) };
  const clamp = (from: typeof x, to: typeof x): Op => ({
    name: "qc.clamp",
    operands: [from],
    attrs: { lo: 0, hi: 1 },
    results: [to],
  });
  const func = (ops: Op[], result = y): Func => ({
    name: "main",
    params: [{ value: x, ...port("x"), boundary: { kind: "none" } }],
    ops,
    results: [{ value: result, ...port("y"), boundary: { kind: "none" } }],
  });
  const codes = (...funcs: Func[]) => verifyModule({ funcs }).map((d) => d.code);
  test("finds what text cannot express", () => {
    expect(codes(func([clamp(x, y)]))).toEqual([]);
    expect(codes()).toEqual(["QC4033"]);
    expect(codes(func([clamp(y, y)]))).toEqual(["QC4027"]);
    expect(codes(func([clamp(x, y), clamp(x, y)]))).toEqual(["QC4028"]);
    expect(codes(func([clamp(x, x)], x))).toEqual(["QC4028"]);
    expect(codes(func([]))).toEqual(["QC4034"]);
    expect(codes(func([clamp(x, y)]), func([clamp(x, y)]))).toEqual(["QC4031"]);
  });
});

describe("pass manager", () => {
  const merge = definePass({ name: "merge", summary: "Merge clamps.", rules: [mergeClamps] });
  const breakIt = definePass({
    name: "break",
    summary: "Leaves an unsound module.",
    options: { how: { doc: "nothing", default: 0 } },
    run: (m) => ({
      ok: true,
      value: mapFuncs(m, (f) => ({ ...f, ops: f.ops.slice(1) })),
      diagnostics: [],
    }),
  });
  const lies = definePass({ name: "lies", summary: "Ensures too much.", ensures: ["certified"], rules: [] });
  const registry = new Map<string, Pass>([merge, breakIt, lies].map((p) => [p.name, p]));
  const requant = parse(`func @main(%x: tensor<2xi8>) -> (tensor<2xi8>) {
    %y = qc.requant %x {axis = 0, scales = [[1/2]], lo = -9, hi = 9} : tensor<2xi8>
    return %y
  }`);

  test("stops, starts and reports", () => {
    const seen: string[] = [];
    const all = [merge, breakIt, lies];
    const onModule = (pass: string, _: Module, i: number) => void seen.push(`${i} ${pass}`);
    runPipeline(parse(CHAIN), all, { startAfter: "merge", stopAfter: "break", onModule });
    expect(seen).toEqual(["1 break"]);
    const r = runPipeline(parse(CHAIN), all, { stopAfter: "brake" });
    expect(r.diagnostics.map((d) => d.code)).toEqual(["QC4041"]);
  });
  test("verifies after every pass", () => {
    const r = runPipeline(parse(CHAIN), [breakIt], { verifyEach: true });
    expect(r.diagnostics.map((d) => d.code)).toEqual(["QC4027"]);
    expect(runPipeline(parse(CHAIN), [breakIt]).ok).toBe(true);
  });
  test("checks legality sets", () => {
    const r = runPipeline(requant, [lies], { verifyEach: true });
    expect(r.diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual([
      "QC4040 qc.requant is not legal after lies (certified): it is not certified",
    ]);
  });
  test("no-float looks at ops, results and params", () => {
    const m = parse(`func @main(%x: tensor<2xf32>, %q: tensor<2x!q<i8, 1:0>>) -> () {
      %y = float.relu %x : tensor<2xf32>
      %z = layout.reshape %x {shape = [2]} : tensor<2xf32>
      return
    }`);
    expect(checkLegality(m, "no-float", "here").map((d) => d.message)).toEqual([
      'param "x" is not legal here (no-float): it has a float type',
      'param "q" is not legal here (no-float): it has a quantised type',
      "float.relu is not legal here (no-float): it works on real numbers",
      "layout.reshape is not legal here (no-float): it has a float type",
    ]);
  });
  test("reads pass lists", () => {
    const names = (text: string) => {
      const r = parsePasses(text, registry);
      return r.ok ? r.value.map((u) => [u.pass.name, u.options]) : r.diagnostics.map((d) => d.code);
    };
    expect(names("")).toEqual([]);
    expect(names('merge, break{"how": 1},lies')).toEqual([
      ["merge", {}],
      ["break", { how: 1 }],
      ["lies", {}],
    ]);
    expect(names("marge")).toEqual(["QC4041"]);
    expect(names('merge{"how": 1}')).toEqual(["QC4042"]);
    expect(names("merge{how}")).toEqual(["QC4042"]);
    expect(names("merge;lies")).toEqual(["QC4042"]);
  });
  test("printed text loads at every phase", () => {
    const r = runPipeline(parse(CHAIN), [merge]);
    if (!r.ok) throw new Error("merge failed");
    expect(printModule(parse(printModule(r.value)))).toBe(printModule(r.value));
  });
});
