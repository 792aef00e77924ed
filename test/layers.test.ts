/** Who may import whom. The rules are in layers.ts, the reasons in ARCHITECTURE.md. */
import { describe, expect, test } from "vitest";
import { cycles, DOORS, type Edge, fault, importsOf, LAYERS } from "./layers.ts";
import { files, isTest } from "./sources.ts";

const sources = files(/^(compiler|runtime)\/.*(\.ts|\.gen\.js)$/).filter(
  (f) => !isTest(f) && !f.path.endsWith(".d.ts"),
);
const edges = sources.flatMap(({ path, text }) => importsOf(path, text));

describe("the source tree", () => {
  test("keeps to its layers and doors", () => {
    expect(edges.flatMap((edge) => fault(edge) ?? [])).toEqual([]);
  });

  test("has no cycle of imports", () => {
    expect(cycles(edges).map((cycle) => cycle.join(" → "))).toEqual([]);
  });

  test("was really scanned: every layer, every door, every import", () => {
    const seen = new Set(edges.map(({ to }) => to));
    for (const { name, has } of LAYERS)
      expect(
        edges.some(({ from }) => has(from)),
        name,
      ).toBe(true);
    for (const name of Object.keys(DOORS))
      expect(
        [...seen].some((to) => to === name || to?.startsWith(`${name}/`)),
        name,
      ).toBe(true);
    for (const { path, text } of sources.filter((f) => f.path.endsWith(".ts"))) {
      const statements = text.match(/^(?:import\b|export\b|\}).*\bfrom "[^"]+";$|^import "[^"]+";$/gm) ?? [];
      const found = edges.filter(({ from, kind }) => from === path && kind !== "lazy");
      expect(found.length, path).toBe(statements.length);
    }
    const paths = new Set(sources.map(({ path }) => path));
    const missing = edges.filter(({ to }) => to?.startsWith("compiler/") && !paths.has(to));
    expect(missing.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test("has no global of Node in what runs in a browser", () => {
    const core = sources.filter(({ path }) => !path.startsWith("compiler/cli/") && !path.includes(".gen."));
    const code = (text: string) => text.replace(/^\s*(?:\/\*\*?|\*|\/\/).*$/gm, "");
    const used = core.filter(({ text }) =>
      /(?<![.?\w"])\b(?:process\.|Buffer\.(?:from|alloc|concat|isBuffer)|__dirname\b|__filename\b|require\()/.test(
        code(text),
      ),
    );
    expect(used.map(({ path }) => path)).toEqual([]);
  });
});

describe("the scanner", () => {
  const scan = (source: string) => importsOf("compiler/ir/a.ts", source);

  test("sees every form of import", () => {
    const source = [
      'import { a,\n  b } from "./b.ts";',
      'import type { C } from "../frontend/c.ts";',
      'import * as d from "node:fs";',
      'import e, { f } from "./text/e.ts";',
      'import "./g.ts";',
      'export { h } from "./h.ts";',
      'export * from "./i.ts";',
      'export type { J } from "./j.ts";',
      'const k = (await import("binaryen")).default;',
      'type L = import("./l.ts").L;',
      "const m = await import(name);",
      '// import { no } from "./no.ts"',
      ' * `import("./no.ts")`',
    ].join("\n");
    expect(scan(source).map(({ to, kind }) => [to, kind])).toEqual([
      ["compiler/ir/b.ts", "static"],
      ["compiler/frontend/c.ts", "type"],
      ["node:fs", "static"],
      ["compiler/ir/text/e.ts", "static"],
      ["compiler/ir/h.ts", "static"],
      ["compiler/ir/i.ts", "static"],
      ["compiler/ir/j.ts", "type"],
      ["compiler/ir/g.ts", "static"],
      ["binaryen", "lazy"],
      ["compiler/ir/l.ts", "lazy"],
      [undefined, "lazy"],
    ]);
  });
});

describe("the rules", () => {
  const edge = (from: string, to: string | undefined, kind: Edge["kind"] = "static"): Edge => ({
    from,
    to,
    kind,
  });

  test.each([
    edge("compiler/ir/verifier.ts", "compiler/frontend/import.ts", "type"),
    edge("compiler/frontend/qdq.ts", "compiler/passes/certify.ts"),
    edge("compiler/frontend/qdq.ts", "runtime/format.ts"),
    edge("compiler/passes/certify.ts", "compiler/passes/unsigned.ts"),
    edge("compiler/passes/lower/index.ts", "compiler/passes/integerize/rep.ts"),
    edge("compiler/passes/lower/index.ts", "compiler/backends/wasm/target.ts"),
    edge("compiler/backends/wasm/emit.ts", "compiler/backends/wgsl/emit.ts"),
    edge("compiler/backends/wasm/emit.ts", "runtime/instance.ts"),
    edge("compiler/compile.ts", "compiler/cli/main.ts"),
    edge("compiler/cli/run.ts", "compiler/ir/module.ts", "type"),
    edge("compiler/cli/run.ts", "compiler/plugin/index.ts"),
    edge("compiler/plugin/index.ts", "compiler/cli/files.ts"),
    edge("runtime/load.ts", "compiler/ir/types.ts", "type"),
    edge("runtime/load.ts", "node:fs"),
    edge("compiler/ir/module.ts", "node:buffer"),
    edge("compiler/ir/module.ts", undefined, "lazy"),
    edge("compiler/ir/printer.ts", "chevrotain"),
    edge("compiler/frontend/onnx/convert.ts", "protobufjs/minimal.js"),
    edge("compiler/backends/wasm/emit.ts", "binaryen", "type"),
    edge("compiler/backends/wasm/assemble.ts", "binaryen"),
    edge("compiler/index.ts", "commander"),
    edge("runtime/source.ts", "fflate", "lazy"),
    edge("compiler/cli/run.ts", "lodash"),
    edge("compiler/ir/module.ts", "test/zoo.ts"),
    edge("compiler/misc/stray.ts", "compiler/ir/module.ts"),
  ])("refuse $from → $to ($kind)", (bad) => {
    expect(fault(bad)).toContain(bad.from);
  });

  test.each([
    edge("compiler/passes/lower/index.ts", "compiler/passes/lower/halo.ts"),
    edge("compiler/passes/lower/index.ts", "compiler/ir/target.ts", "type"),
    edge("compiler/backends/wasm/artifact/files.ts", "runtime/format.ts"),
    edge("compiler/backends/wasm/assemble.ts", "binaryen", "lazy"),
    edge("compiler/cli/run.ts", "node:fs"),
  ])("allow $from → $to ($kind)", (good) => {
    expect(fault(good)).toBeUndefined();
  });

  test("find a cycle, and none where two paths meet", () => {
    const chain = [edge("a", "b"), edge("b", "c", "type")];
    expect(cycles([...chain, edge("c", "a")])).toEqual([["a", "b", "c", "a"]]);
    expect(cycles([...chain, edge("a", "c")])).toEqual([]);
  });
});
