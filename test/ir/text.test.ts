import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Module } from "../../compiler/ir/module.ts";
import { parseModule } from "../../compiler/ir/parser.ts";
import { printModule } from "../../compiler/ir/printer.ts";
import { printNumber, readNumber } from "../../compiler/ir/text/literals.ts";
import { anyModule } from "./arbitrary.ts";
import { difference } from "./equal.ts";

function parse(text: string): Module {
  const r = parseModule(text);
  if (!r.ok) throw new Error(`${JSON.stringify(r.diagnostics, null, 1)}\n${text}`);
  return r.value;
}

describe("print and parse", () => {
  test("random modules come back the same, and their text too", () => {
    fc.assert(
      fc.property(anyModule, fc.boolean(), (module, locs) => {
        const text = printModule(module, { locs });
        const again = parse(text);
        expect(difference(module, again, locs)).toBe(undefined);
        expect(printModule(again, { locs })).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });

  test("the difference oracle can say no", () => {
    const text =
      "func @f(%x: tensor<2xf32>) -> (tensor<2xf32>) {\n  %y = float.clip %x {lo = 0} : tensor<2xf32>\n  return %y\n}";
    const a = parse(text);
    for (const [from, to] of [
      ["lo = 0", "lo = -0"],
      ["lo = 0", "hi = 0"],
      ["return %y", "return %x"],
      ["float.clip %x {lo = 0}", "float.relu %x"],
      ["@f", "@g"],
    ] as const)
      expect(difference(a, parse(text.replace(from, to)), false)).not.toBe(undefined);
  });

  test("numbers are exact", () => {
    fc.assert(
      fc.property(fc.oneof(fc.double(), fc.float(), fc.integer()), (x) => {
        expect(readNumber(printNumber(x))).toBe(x);
      }),
      { numRuns: 5000 },
    );
    expect(printNumber(Math.fround(0.02))).toBe("0.02f");
    expect(printNumber(0.02)).toBe("0.02");
    expect(printNumber(-0)).toBe("-0");
  });

  test("shared constants are stored once and stay shared", () => {
    const data = Array.from({ length: 40 }, (_, i) => i).join(", ");
    const text = `func @f() -> (tensor<40xi8>, tensor<2x20xi8>) {
      %a = const {value = dense<40xi8> [${data}]} : tensor<40xi8>
      return %a, %a
    }`;
    const once = parse(text.replace("tensor<2x20xi8>)", "tensor<40xi8>)"));
    const [op] = once.funcs[0]!.ops;
    const twice: Module = {
      funcs: [
        { ...once.funcs[0]!, ops: [op!, { ...op!, results: [{ name: "b", type: op!.results[0]!.type }] }] },
      ],
    };
    const printed = printModule(twice);
    expect(printed.match(/int8 "/g)).toHaveLength(1);
    const [p, q] = parse(printed).funcs[0]!.ops;
    expect((p!.attrs.value as { data: unknown }).data).toBe((q!.attrs.value as { data: unknown }).data);
  });

  test("elided text has fingerprints and does not load", () => {
    const value = `dense<40xi8> [${new Array(40).fill(1).join(", ")}]`;
    const m = parse(`func @f() -> () { %a = const {value = ${value}} : tensor<40xi8> return }`);
    const text = printModule(m, { elide: true });
    expect(text).toMatch(/dense<40xi8> #[0-9a-f]{16}/);
    const r = parseModule(text);
    expect(r.ok).toBe(false);
    expect(r.diagnostics[0]!.message).toContain("elided");
  });
});

describe("never throws", () => {
  test("on damaged text", () => {
    fc.assert(
      fc.property(anyModule, fc.nat(), fc.string({ maxLength: 3 }), fc.nat(3), (module, at, junk, drop) => {
        const text = printModule(module);
        const i = at % (text.length + 1);
        const r = parseModule(text.slice(0, i) + junk + text.slice(i + drop));
        if (r.ok) return;
        expect(r.diagnostics.length).toBeGreaterThan(0);
        for (const d of r.diagnostics) expect(d.loc).toMatchObject({ kind: "text" });
      }),
      { numRuns: 500 },
    );
  });
  test("on deep nesting", () => {
    const deep = "[".repeat(100_000);
    const r = parseModule(`func @f() -> () { qc.foo {a = ${deep}} return }`);
    expect(r.diagnostics[0]).toMatchObject({ code: "QC4010", loc: { line: 1 } });
  });
});
