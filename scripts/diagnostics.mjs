/**
 * docs/diagnostics.md, from the sources of compiler/ir/messages*.ts: each code with its severity, message, fixes, and an
 * example where a test shows one. Messages are read as text, because they are functions of facts that only a model has.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

const read = (path) => readFileSync(`${ROOT}${path}`, "utf8");
const below = (folder, match) =>
  readdirSync(`${ROOT}${folder}`, { recursive: true })
    .map((path) => `${folder}/${path}`.replaceAll("\\", "/"))
    .filter((path) => match.test(path))
    .sort();

/** Index just after the string, template or bracket that starts at `i`. */
function skip(s, i) {
  const open = s[i];
  if (open === undefined) throw new Error(`nothing closes in: ${s.slice(0, 200)}`);
  if (open === '"' || open === "'") {
    const end = /(?<!\\)(?:\\\\)*["']/g;
    for (end.lastIndex = i + 1; ; ) {
      const found = end.exec(s);
      if (found === null) throw new Error(`nothing closes in: ${s.slice(i, i + 200)}`);
      if (found[0].endsWith(open)) return end.lastIndex;
    }
  }
  if (open === "`") {
    for (i += 1; s[i] !== "`"; )
      if (i >= s.length) throw new Error(`nothing closes in: ${s.slice(0, 200)}`);
      else if (s[i] === "\\") i += 2;
      else i = s.startsWith("${", i) ? skip(s, i + 1) : i + 1;
    return i + 1;
  }
  if ("([{".includes(open)) {
    for (i += 1; !")]}".includes(s[i]); ) i = skip(s, i);
    return i + 1;
  }
  if (s.startsWith("//", i)) return s.indexOf("\n", i);
  return i + 1;
}

/** Splits at a separator outside of strings and brackets. */
function split(s, separator) {
  const parts = [];
  let from = 0;
  for (let i = 0; i < s.length; )
    if (s.startsWith(separator, i)) {
      parts.push(s.slice(from, i));
      i += separator.length;
      from = i;
    } else i = skip(s, i);
  parts.push(s.slice(from));
  return parts.map((p) => p.trim());
}

const unquote = (s) => (s.startsWith("'") ? s.slice(1, -1).replaceAll("\\'", "'") : JSON.parse(s));

/** A message expression as readers see it: facts in ‹›, alternatives as ‹a | b›. */
export function template(expression) {
  const e = expression.trim();
  const whole = (open) => e[0] === open && skip(e, 0) === e.length;
  if (whole('"') || whole("'")) return unquote(e);
  if (whole("(")) return template(e.slice(1, -1));
  if (whole("`")) {
    let text = "";
    for (let i = 1; i < e.length - 1; )
      if (e.startsWith("${", i)) {
        const end = skip(e, i + 1);
        text += template(e.slice(i + 2, end - 1));
        i = end;
      } else {
        if (e[i] === "\\") i += 1;
        text += e[i];
        i += 1;
      }
    return text;
  }
  const [, then] = split(e.replaceAll("?.", "\u0001").replaceAll("??", "\u0002"), "?");
  if (then !== undefined) {
    const branches = split(e.slice(e.indexOf("?") + 1), ":").map(template);
    const texts = branches.filter((b) => b !== "");
    return `‹${texts.map((t) => t.replace(/^‹(.*)›$/, "$1")).join(" | ")}›`;
  }
  const call = /^(\w+)\(([\w.]+)/.exec(e);
  const name = (call?.[2] ?? /^\w+(?:\.\w+)*/.exec(e)?.[0] ?? "…").split(".").at(-1);
  return call?.[1] === "quote" ? `"‹${name}›"` : `‹${name}›`;
}

/** Every string literal in the `fixes` of a message. */
function fixesOf(detail) {
  const at = /\bfixes:\s*/.exec(detail);
  if (at === null) return [];
  const [list] = split(detail.slice(at.index + at[0].length), ",");
  const texts = [];
  for (let i = 0; i < list.length; )
    if ("\"'`".includes(list[i])) {
      const end = skip(list, i);
      texts.push(template(list.slice(i, end)));
      i = end;
    } else i += 1;
  return texts;
}

/** The messages of one source file. */
export function messagesOf(source) {
  const found = [];
  const calls = /\b(?:diagnostic\(\s*(?:\w+|"\w+"),\s*"QC\d{4}"|error\(\s*"QC\d{4}")/g;
  for (const { 0: call, index } of source.matchAll(calls)) {
    const open = index + call.indexOf("(");
    const args = split(source.slice(open + 1, skip(source, open) - 1), ",");
    const [severity, code, message, detail = ""] = /^"QC/.test(args[0]) ? ['"error"', ...args] : args;
    const doc = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*export (?:const|function) (?:(?!export )[\s\S])*$/.exec(
      source.slice(0, open),
    );
    found.push({
      code: unquote(code),
      severity: severity.startsWith('"') ? unquote(severity) : "error or warning",
      message: template(message),
      doc: doc?.[1].replace(/\s*\n\s*\*\s?/g, " ").trim() ?? "",
      fixes: fixesOf(detail),
    });
  }
  return found;
}

/** A message that a golden test expects: one that is the code's template with facts filled in. */
function exampleOf({ code, message }, texts) {
  const escaped = message.split(/‹[^›]*›/).map((s) => s.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const form = new RegExp(`^${escaped.join(".*")}$`);
  const same = new RegExp(`${code} at \\S+: (.*)$`, "gm");
  for (const text of texts)
    for (const [, example] of text.matchAll(same)) {
      if (example !== message && form.test(example)) return example;
    }
  return undefined;
}

const BLOCKS = [
  ["QC10", "Reading the file"],
  ["QC11", "The ONNX graph"],
  ["QC20", "What is not supported"],
  ["QC21", "Quantizers"],
  ["QC30", "Numerics"],
  ["QC40", "Text, verifier and pass manager"],
  ["QC50", "Command line and data"],
  ["QC51", "Tuning files"],
];

const code = (text) => {
  const ticks = text.includes("`") ? "``" : "`";
  return `${ticks}${text}${ticks}`;
};

function section(messages, texts) {
  const [{ code: id, severity }] = messages;
  const lines = [`### ${id}`, ""];
  for (const m of messages) {
    lines.push(`${severity === m.severity ? severity : m.severity}: ${code(m.message)}`, "");
    if (m.doc !== "") lines.push(m.doc, "");
    const example = exampleOf(m, texts);
    if (example !== undefined) lines.push(`For example: ${code(example)}`, "");
    if (m.fixes.length > 0) lines.push(...m.fixes.map((fix) => `- fix: ${fix}`), "");
  }
  return lines.join("\n").trimEnd();
}

/** All messages, in the order of their codes. */
export const allMessages = () =>
  below("compiler/ir", /^compiler\/ir\/messages(?:-\w+)?\.ts$/)
    .flatMap((path) => messagesOf(read(path)))
    .sort((a, b) => (a.code < b.code ? -1 : a.code > b.code ? 1 : 0));

export function diagnosticsPage() {
  const texts = [...below("test/ir/invalid", /\.qir$/), ...below("compiler/passes", /\.qir$/)].map(read);
  const messages = allMessages();
  const stray = messages.find((m) => !BLOCKS.some(([prefix]) => m.code.startsWith(prefix)));
  if (stray) throw new Error(`${stray.code} is in no block`);
  const parts = [
    "# Diagnostics",
    "Generated from `compiler/ir/messages*.ts` by `scripts/docs.mjs`; do not edit.",
    "A diagnostic has a stable code, a severity, a place, labelled facts and, where there is something to do, numbered fixes. `--json` prints the same as data. Errors make the exit code 1 and leave nothing written; warnings do not. In the messages below, ‹…› stands for a fact of the model.",
  ];
  for (const [prefix, title] of BLOCKS) {
    const own = messages.filter((m) => m.code.startsWith(prefix));
    const codes = [...new Set(own.map((m) => m.code))];
    parts.push(
      `## ${prefix}xx: ${title}`,
      ...codes.map((id) =>
        section(
          own.filter((m) => m.code === id),
          texts,
        ),
      ),
    );
  }
  return `${parts.join("\n\n")}\n`;
}
