/** Writes the generated reference pages: docs/ops.md, docs/diagnostics.md. Run with Node 24: `npx node scripts/docs.mjs`. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { OPS } from "../compiler/ir/ops/index.ts";
import { printAttr } from "../compiler/ir/printer.ts";
import { kindText } from "../compiler/ir/verifier.ts";
import { diagnosticsPage } from "./diagnostics.mjs";

const DIALECTS = {
  const: "Constants.",
  quant: "Quantizers: between real numbers and stored integers.",
  float: "Real arithmetic of the imported graph, NCHW as in ONNX. None is left after `integerize`.",
  int: "Plain integers and truth values of the run, that no quantizer has made.",
  index: "Elements picked and placed by indices of the run, of every element type.",
  layout: "Data movement, for every element type; elements are not read.",
  qc: "The integer graph, NHWC. Every result is exact in its declared type.",
};

const TRAITS = {
  elementwise: "result element i depends on operand elements i only, after broadcasting",
  movement: "moves elements without reading them",
  commutative: "operands may be swapped",
  monotone: "non-decreasing in its one tensor operand",
  float: "works on real numbers",
  accumulates: "sums in 32 bits",
  constant: "no operands",
};

const dialectOf = (name) => name.split(".")[0];
const cell = (text) => text.replaceAll("|", "\\|");

function opSection(def) {
  const operands = def.operands.length === 0 ? "" : ` ${def.operands.map((o) => `%${o}`).join(", ")}`;
  const lines = [`### \`${def.name}${operands}\``, "", def.summary];
  if (def.traits.length > 0) lines.push("", `Traits: ${def.traits.join(", ")}.`);
  const attrs = Object.entries(def.attrs);
  if (attrs.length > 0) {
    lines.push("", "| attribute | value | default | meaning |", "|---|---|---|---|");
    for (const [name, a] of attrs) {
      const fallback = a.default === undefined ? "required" : `\`${printAttr(a.default)}\``;
      lines.push(`| \`${name}\` | ${cell(kindText(a.kind))} | ${fallback} | ${cell(a.doc)} |`);
    }
  }
  return lines.join("\n");
}

/** docs/ops.md, from the op table. */
export function opsPage() {
  const parts = [
    "# Ops of the graph IR",
    "Generated from `compiler/ir/ops` by `scripts/docs.mjs`; do not edit.",
    ["Traits", "", ...Object.entries(TRAITS).map(([t, text]) => `- ${t}: ${text}`)].join("\n"),
  ];
  for (const [dialect, text] of Object.entries(DIALECTS)) {
    const ops = OPS.filter((def) => dialectOf(def.name) === dialect);
    parts.push(`## ${dialect}`, text, ...ops.map(opSection));
  }
  const unknown = OPS.find((def) => !(dialectOf(def.name) in DIALECTS));
  if (unknown) throw new Error(`no dialect text for ${unknown.name}`);
  return `${parts.join("\n\n")}\n`;
}

/** Generated pages by path below the project root. */
export const pages = { "docs/ops.md": opsPage, "docs/diagnostics.md": diagnosticsPage };

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [path, make] of Object.entries(pages)) {
    writeFileSync(new URL(`../${path}`, import.meta.url), make());
    console.log(path);
  }
