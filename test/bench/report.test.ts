import { describe, expect, test } from "vitest";
import { ratiosSvg } from "../../bench/plot.ts";
import { markdown, replaceSection } from "../../bench/report.ts";
import type { ModelResult, Results } from "../../bench/results.ts";
import type { Spread } from "../../compiler/cli/bench/sampling.ts";

const around = (median: number): Spread => ({ median, p10: median * 0.9, p90: median * 1.2 });
const shipped = (gzip: number) => ({ raw: 2 * gzip, gzip });

function model(name: string, ratio: number): ModelResult {
  return {
    name,
    macs: { nominal: 2e6, executed: 1e6 },
    sizes: {
      qc: { js: shipped(4000), wasm: shipped(30_000), relaxed: shipped(9000) },
      ort: shipped(4e6),
      weights: 20_000,
    },
    arenaPeak: 1000,
    start: { qc: around(10), ort: around(150) },
    compileMs: 100,
    backend: "baseline",
    backendReason: "asked for",
    chosen: around(1),
    baseline: around(1),
    peers: [{ label: "as is", level: "all", refused: [], difference: 0, ...around(ratio) }],
    best: 0,
    ratio: around(ratio),
    memoryBytes: 65_536,
  };
}

const results: Results = {
  machine: {
    cpu: "a CPU",
    cores: 2,
    extensions: ["avx2"],
    engine: "Node 24",
    onnxruntime: "1",
    relaxedRefusal: "no relaxed SIMD",
    commit: "abc",
    date: "2000-01-01",
    load: 0.5,
  },
  command: "npm run bench",
  models: [model("slow <one>", 1), model("fast", 16)],
  refused: [{ name: "odd", reason: "QC2110 no kernel" }],
};

describe("the tables", () => {
  const text = markdown(results);
  const row = (head: string): string[] =>
    text
      .split("\n")
      .find((l) => l.startsWith(`| ${head}`))!
      .split("|")
      .map((c) => c.trim());

  test("hold geometric means, least ratios and how many models miss the aim", () => {
    expect(row("onnxruntime-web, int8").slice(3, 6)).toEqual(["4.00×", "1.00×", "1"]);
    expect(row("onnxruntime-web, to the first result").slice(3, 6)).toEqual(["15.00×", "15.00×", "2"]);
  });

  test("say who does not take part, and why", () => {
    expect(text).toContain("odd does not take part, qc refuses it: QC2110 no kernel.");
  });

  test("subtract the weights from what a page fetches", () => {
    const sizes = text.slice(text.indexOf("**Bytes**"));
    const cells = sizes
      .split("\n")
      .find((l) => l.startsWith("| fast"))!
      .split("|");
    expect(cells.slice(4, 7).map((c) => c.trim())).toEqual(["14", "86 / 43", "23"]);
  });

  test("replace their section and nothing else", () => {
    expect(replaceSection("a <!-- x --> old <!-- /x --> b", "x", "new")).toBe(
      "a <!-- x -->\n\nnew\n\n<!-- /x --> b",
    );
    expect(() => replaceSection("a", "x", "new")).toThrow("<!-- x -->");
  });
});

test("the plot names models and engines, and leaves out an engine that did not run", () => {
  const svg = ratiosSvg(results);
  for (const words of ["slow &lt;one&gt;", "fast", "onnxruntime-web int8", "16×"])
    expect(svg).toContain(words);
  expect(svg).not.toContain("LiteRT.js");
});
