/** Diagnostics, tables and figures as text. Everything untrusted arrives escaped or is escaped here. */
import type { Manifest } from "../../runtime/format.ts";
import { type Diagnostic, type LayerReport, type Loc, plain, quote } from "../index.ts";

export interface Style {
  readonly color: boolean;
  readonly width?: number | undefined;
}

export { plain };

/** Free text from a file, such as a path or a source line: escaped, without quotes. */
const text = (s: string): string => quote(s, 400).slice(1, -1).replaceAll('\\"', '"');

export function locText(loc: Loc): { readonly label: string; readonly text: string } {
  switch (loc.kind) {
    case "node": {
      const name = loc.name === "" ? "" : ` ${plain(loc.name)}`;
      const source = loc.source === undefined ? "" : `   ${text(loc.source)}`;
      return { label: "node", text: `${plain(loc.op)}${name} → ${plain(loc.output)}${source}` };
    }
    case "tensor":
      return { label: "tensor", text: plain(loc.name) };
    case "file":
      return {
        label: "file",
        text: text(loc.path) + (loc.offset === undefined ? "" : ` at byte ${loc.offset}`),
      };
    case "text":
      return { label: "at", text: `${text(loc.file)}:${loc.line}:${loc.column}` };
    case "fused":
      return { label: "nodes", text: loc.locs.map((l) => locText(l).text).join("; ") };
    case "pass":
      return { label: "pass", text: plain(loc.pass) + (loc.at ? ` at ${locText(loc.at).text}` : "") };
  }
}

const colors = { error: 31, warning: 33, note: 36 } as const;

/** Breaks at spaces so that no line exceeds `width`; continuation lines start with `indent` spaces. */
function wrap(s: string, indent: number, width: number | undefined): string {
  if (width === undefined || width < indent + 30) return s;
  const [first = "", ...words] = s.split(" ");
  const lines = [first];
  for (const word of words) {
    const line = lines.at(-1)!;
    if (line.length + 1 + word.length > width - indent) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.join(`\n${" ".repeat(indent)}`);
}

/** A diagnostic as its headline, labelled facts and numbered fixes, with a final newline. */
export function diagnosticText(d: Diagnostic, { color, width }: Style): string {
  const paint = (code: number, s: string) => (color ? `\x1b[1;${code}m${s}\x1b[0m` : s);
  const head = `${d.severity}[${d.code}]`;
  const facts = [
    ...(d.loc && !d.notes.some((n) => n.label === d.loc?.kind) ? [locText(d.loc)] : []),
    ...d.notes,
  ];
  const fixes = d.fixes.map((f, i) => ({
    label: i === 0 ? "fix" : "",
    text: d.fixes.length > 1 ? `${i + 1} ${f}` : f,
  }));
  const column = Math.max(7, ...facts.map((f) => f.label.length)) + 3;
  const rows = [...facts, ...fixes].map((f) =>
    `  ${paint(2, f.label.padEnd(column - 2))}${wrap(f.text, column, width)}`.trimEnd(),
  );
  const title = wrap(d.message, 4, width && width - head.length);
  return `${[`${paint(colors[d.severity], head)} ${title}`, ...rows].join("\n")}\n`;
}

/** Diagnostics in order, with an empty line between them. */
export const diagnosticsText = (list: readonly Diagnostic[], style: Style): string =>
  list.map((d) => diagnosticText(d, style)).join("\n");

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;

const units = ["B", "KB", "MB", "GB"];
/** 1 KB = 1000 B; three significant digits. */
export function bytesText(n: number): string {
  let i = 0;
  let x = n;
  while (x >= 1000 && i < units.length - 1) {
    x /= 1000;
    i++;
  }
  return `${i === 0 ? x : x.toPrecision(3)} ${units[i]}`;
}

/** Multiply-accumulates: 12.5 M. */
export const countText = (n: number): string =>
  n >= 1e9
    ? `${(n / 1e9).toPrecision(3)} G`
    : n >= 1e6
      ? `${(n / 1e6).toPrecision(3)} M`
      : n >= 1e3
        ? `${(n / 1e3).toPrecision(3)} k`
        : String(n);

/** Columns padded to equal width, two spaces apart; columns listed in `right` are flush right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((c, i) => {
      widths[i] = Math.max(widths[i] ?? 0, c.length);
    });
  return rows
    .map((row) =>
      row
        .map((c, i) => (right.includes(i) ? c.padStart(widths[i]!) : c.padEnd(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/** `21 weight tensors, 19 need only 4 bits`, for layers with weights. */
function weightsText(layers: readonly LayerReport[]): string | undefined {
  const bits = layers.flatMap((l) => (l.weights ? [l.weights.bits] : []));
  if (bits.length === 0) return undefined;
  const narrow = bits.filter((b) => b <= 4).length;
  return `weights: ${plural(bits.length, "tensor")}${narrow ? `, ${narrow} need only 4 bits` : ""}`;
}

/** What runs in float32, and how much of the work that is. */
function floatText({ coverage: { float }, macs }: Manifest): string | undefined {
  if (float === undefined) return undefined;
  const share = macs.nominal === 0 ? "" : ` (${Math.round((100 * float.macs) / macs.nominal)} % of MACs)`;
  return `${float.ops} in float32${share}`;
}

/** The one line that ends a compile or an inspection. */
export function footer(
  manifest: Manifest,
  layers: readonly LayerReport[],
  diagnostics: readonly Diagnostic[],
): string {
  const { coverage, macs } = manifest;
  const warnings = diagnostics.filter((d) => d.severity === "warning").length;
  const saved = macs.executed < macs.nominal ? `, ${countText(macs.executed)} executed` : "";
  return [
    `${coverage.integer}/${coverage.total} ops integer`,
    floatText(manifest),
    `${countText(macs.nominal)} MACs${saved}`,
    weightsText(layers),
    warnings ? plural(warnings, "warning") : undefined,
  ]
    .filter((s) => s !== undefined)
    .join(" · ");
}
