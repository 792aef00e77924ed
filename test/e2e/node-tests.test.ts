/**
 * The ONNX standard's node tests through the whole compiler: passed, rejected with a diagnosis, or failed. The table per
 * operator is docs/node-tests.md. A test passes as it is, or with all inputs but the first as constants.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { OnnxTensor } from "../../compiler/frontend/onnx/model.ts";
import { elements } from "../../compiler/frontend/onnx/tensor.ts";
import { compileModel } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { type NodeTest, nodeTests, nodeTestsAreThere } from "../onnx-node-tests.ts";
import { full } from "../require.ts";

type Outcome =
  | { readonly kind: "passed"; readonly constants: boolean }
  | { readonly kind: "rejected"; readonly codes: readonly string[] }
  | { readonly kind: "failed"; readonly why: string };

/** As the standard's own runner: relative and absolute slack of float results; integers are equal. */
const [RELATIVE, ABSOLUTE] = [1e-3, 1e-7];

/** Expected values written down with four decimals. */
const ROUNDED = ["test_averagepool_2d_ceil_last_window_starts_on_pad"];

const isFloat = (dtype: string): boolean => /^b?float/.test(dtype);

function difference(got: ArrayLike<number | bigint>, want: OnnxTensor, name: string): string | undefined {
  const expected = Array.from(elements(want) as ArrayLike<number | bigint>, Number);
  if (got.length !== expected.length) return `${got.length} elements, not ${expected.length}`;
  const absolute = ROUNDED.includes(name) ? 1e-4 : ABSOLUTE;
  for (const [i, e] of expected.entries()) {
    const g = Number(got[i]);
    const close = isFloat(want.dataType) && Math.abs(g - e) <= absolute + RELATIVE * Math.abs(e);
    if (!Object.is(g, e) && g !== e && !close) return `[${i}] is ${g}, not ${e}`;
  }
  return undefined;
}

async function outcomeOf(t: NodeTest, bytes: Uint8Array, constants: boolean): Promise<Outcome> {
  const result = await compileModel(bytes, { target: "wasm-simd", allowFloat: true });
  if (!result.ok)
    return {
      kind: "rejected",
      codes: [...new Set(result.diagnostics.filter((d) => d.severity === "error").map((d) => d.code))],
    };
  const { manifest, baseline } = result.value;
  const artifact = await loadModel(layoutOf(manifest), {}, { wasm: baseline as Uint8Array<ArrayBuffer> });
  const names = t.model!.graph.inputs.map((info) => info.name);
  const feeds = Object.fromEntries(
    manifest.inputs.map(({ name }) => [name, elements(t.inputs[names.indexOf(name)]!) as Float32Array]),
  );
  const outputs = artifact.run(feeds);
  for (const [k, { name }] of t.model!.graph.outputs.entries()) {
    const want = t.outputs[k]!;
    const shape = manifest.outputs[k]!.shape;
    if (shape.join() !== want.dims.join()) return { kind: "failed", why: `${name}: shape ${shape}` };
    const d = difference(outputs[name]! as Float32Array, want, t.name);
    if (d !== undefined) return { kind: "failed", why: `${name}${d}` };
  }
  return { kind: "passed", constants };
}

/** The better of both ways to see the inputs. Whatever escapes as an exception is a failure. */
async function outcome(t: NodeTest): Promise<Outcome> {
  const readable = t.model !== undefined && [...t.inputs, ...t.outputs].every((x) => x !== undefined);
  try {
    const asIs = await outcomeOf(t, t.bytes, false);
    if (asIs.kind !== "rejected" || t.inputs.length < 2) return asIs;
    const constant = await outcomeOf(t, t.withParameters(), true);
    return constant.kind === "rejected" ? asIs : constant;
  } catch (error) {
    if (!readable) return { kind: "rejected", codes: ["unread"] };
    return { kind: "failed", why: error instanceof Error ? error.message : String(error) };
  }
}

/** The operator a test is about; of an expanded one, that of the test it was expanded from. */
function operators(tests: readonly NodeTest[]): (t: NodeTest) => string {
  const own = new Map<string, string>();
  for (const { name, model } of tests) {
    const nodes = model?.graph.nodes.filter((n) => n.op !== "Constant") ?? [];
    if (nodes.length === 1) own.set(name, nodes[0]!.op);
  }
  return ({ name }) => {
    const base = own.get(name.replace(/_expanded.*$/, ""));
    return base ?? own.get(name) ?? "several";
  };
}

function page(tests: readonly NodeTest[], outcomes: ReadonlyMap<NodeTest, Outcome>): string {
  const operatorOf = operators(tests);
  const groups = new Map<string, NodeTest[]>();
  for (const t of tests) groups.set(operatorOf(t), [...(groups.get(operatorOf(t)) ?? []), t]);
  const of = (list: readonly NodeTest[]) => list.map((t) => outcomes.get(t)!);
  const count = (list: readonly Outcome[], kind: Outcome["kind"]) =>
    list.filter((o) => o.kind === kind).length;
  const all = of(tests);
  const rows = [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([op, list]) => {
      const found = of(list);
      const constants = found.filter((o) => o.kind === "passed" && o.constants).length;
      const codes = new Map<string, number>();
      for (const o of found)
        if (o.kind === "rejected") for (const c of o.codes) codes.set(c, (codes.get(c) ?? 0) + 1);
      const why = [...codes].sort(([, a], [, b]) => b - a).map(([c, n]) => `${c} ${n}`);
      return `| ${op} | ${list.length} | ${count(found, "passed")} | ${constants} | ${count(found, "rejected")} | ${count(found, "failed")} | ${why.join(", ")} |`;
    });
  return `# The ONNX standard's node tests

Generated by \`test/e2e/node-tests.test.ts\`; do not edit. ${tests.length} tests of ONNX 1.22: ${count(all, "passed")} passed, ${count(all, "rejected")} rejected with a diagnosis, ${count(all, "failed")} failed.

The models are compiled with \`--allow-float\`, since most are not quantized. A test passes when the compiled WebAssembly gives the expected outputs: integers equal, floats within the tolerance of the standard's own runner. Many tests give parameters (scales, axes, shapes) as inputs of the graph; those that pass once all inputs but the first are constants are counted in _with constants_ too.

| operator | tests | passed | with constants | rejected | failed | codes |
|---|--:|--:|--:|--:|--:|---|
${rows.join("\n")}
`;
}

if (!full)
  console.warn(
    "skipped: the standard's node tests through the compiler: slow, they run in npm run test:full",
  );

describe.skipIf(!nodeTestsAreThere || !full)("the standard's node tests", () => {
  test("pass or are diagnosed", { timeout: 1_200_000 }, async () => {
    const tests = nodeTests();
    const outcomes = new Map<NodeTest, Outcome>();
    for (const t of tests) outcomes.set(t, await outcome(t));
    const failed = [...outcomes].flatMap(([t, o]) => (o.kind === "failed" ? [`${t.name}: ${o.why}`] : []));
    expect(failed).toEqual([]);
    const url = new URL("../../docs/node-tests.md", import.meta.url);
    const text = page(tests, outcomes);
    if (process.env.BLESS === "1") writeFileSync(url, text);
    expect(readFileSync(url, "utf8"), "`BLESS=1 npm run test:full` writes it").toBe(text);
  });
});
