/** Results as Markdown. */

import type { Spread } from "../compiler/cli/bench/sampling.ts";
import type { LiteRtBuild } from "./litert.ts";
import type { Machine } from "./machine.ts";
import type { Aside, LiteRtResult } from "./race.ts";
import type { ModelResult, Results } from "./results.ts";
import { beyondWeights, type Shipped, together } from "./sizes.ts";

const significant = (x: number): string => (x >= 100 ? x.toFixed(0) : x.toPrecision(3));
const spread = ({ median, p10, p90 }: Spread): string =>
  `${significant(median)} (${significant(p10)}–${significant(p90)})`;
const times = (x: number): string => `${x.toFixed(2)}×`;
const kb = (bytes: number): string => (bytes / 1000).toFixed(Math.abs(bytes) < 10_000 ? 1 : 0);
const size = (s: Shipped): string => `${kb(s.raw)} / ${kb(s.gzip)}`;

/** Cells in columns; the first column is text, the others are figures. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const width = head.map((h, i) => Math.max(h.length, 3, ...rows.map((r) => r[i]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((c, i) => (i === 0 ? c.padEnd(width[i]!) : c.padStart(width[i]!))).join(" | ")} |`;
  const rule = `|${width.map((w, i) => (i === 0 ? "-".repeat(w + 2) : `${"-".repeat(w + 1)}:`)).join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

const peerName = (m: ModelResult): string => {
  const { label, level } = m.peers[m.best]!;
  return level === "all" ? label : `${label}, ${level}`;
};

const latency = (models: readonly ModelResult[]): string =>
  table(
    [
      "model",
      "M MAC",
      "qc ms",
      "backend",
      "GMAC/s",
      "baseline ms",
      "onnxruntime-web ms",
      "its model",
      "ratio",
    ],
    models.map((m) => [
      m.name,
      (m.macs.nominal / 1e6).toFixed(2),
      spread(m.chosen),
      m.backend,
      (m.macs.nominal / m.chosen.median / 1e6).toFixed(1),
      significant(m.baseline.median),
      spread(m.peers[m.best]!),
      peerName(m),
      times(m.ratio.median),
    ]),
  );

/** Absent where LiteRT.js did not run. */
const litert = (models: readonly ModelResult[]): string[] => {
  const raced = models.filter((m) => m.litert !== undefined);
  if (raced.length === 0) return [];
  const of = (m: ModelResult, build: LiteRtBuild): LiteRtResult => m.litert!.find((r) => r.build === build)!;
  const columns = (m: ModelResult, build: LiteRtBuild): string[] => {
    const r = of(m, build);
    return [
      spread(r),
      (m.macs.nominal / r.median / 1e6).toFixed(1),
      times(r.ratio.median),
      significant(r.difference),
    ];
  };
  const rows = table(
    [
      "model",
      "qc ms",
      "LiteRT.js ms",
      "GMAC/s",
      "ratio",
      "differs",
      "baseline ms",
      "LiteRT.js compat ms",
      "GMAC/s",
      "ratio",
      "differs",
    ],
    raced.map((m) => [
      m.name,
      significant(m.chosen.median),
      ...columns(m, "default"),
      significant(m.baseline.median),
      ...columns(m, "compat"),
    ]),
  );
  return [
    `**Against LiteRT.js**, the models that exist as .tflite; the default build against the chosen backend, the compat build against the baseline\n\n${rows}`,
  ];
};

/** Engines that no target is set against, where they ran. */
const asides = (models: readonly ModelResult[]): string[] => {
  const rows = models.filter((m) => m.float ?? m.native);
  if (rows.length === 0) return [];
  const cells = (a: Aside | undefined): string[] =>
    a ? [`${spread(a)}${a.level === "all" ? "" : `, ${a.level}`}`, times(a.ratio.median)] : ["", ""];
  const text = table(
    ["model", "qc ms", "onnxruntime-web fp32 ms", "ratio", "onnxruntime-node int8 ms", "ratio"],
    rows.map((m) => [m.name, significant(m.chosen.median), ...cells(m.float), ...cells(m.native)]),
  );
  return [
    `**For orientation**: the float model in onnxruntime-web, and native code, onnxruntime-node\n\n${text}`,
  ];
};

const sizes = (models: readonly ModelResult[]): string =>
  table(
    [
      "model",
      "weights kB",
      "qc kB",
      "beyond weights",
      "with relaxed kB",
      "beyond weights",
      "onnxruntime-web kB",
      "ratio gzip",
      "arena kB",
      "memory kB",
    ],
    models.map((m) => {
      const { js, wasm, relaxed } = m.sizes.qc;
      const least = together([js, wasm]);
      const beyond = beyondWeights(m.sizes.qc, m.sizes.weights);
      return [
        m.name,
        kb(m.sizes.weights),
        size(least),
        kb(beyond.baseline),
        size(together([least, relaxed])),
        kb(beyond.relaxed),
        size(m.sizes.ort),
        times(m.sizes.ort.gzip / least.gzip),
        kb(m.arenaPeak),
        kb(m.memoryBytes),
      ];
    }),
  );

const megabytes = (bytes: number | undefined): string =>
  bytes === undefined ? "" : (bytes / 1e6).toFixed(1);

const starts = (models: readonly ModelResult[]): string => {
  const rows = models.flatMap((m) => (m.start ? [{ ...m, start: m.start }] : []));
  const others = rows.some(({ start }) => start.litert);
  const memory = rows.some(({ start }) => start.memory);
  return table(
    [
      "model",
      "qc ms",
      "onnxruntime-web ms",
      "ratio",
      ...(others ? ["LiteRT.js ms", "ratio"] : []),
      ...(memory ? ["qc MB", "onnxruntime-web MB"] : []),
      ...(memory && others ? ["LiteRT.js MB"] : []),
      "compile ms",
    ],
    rows.map(({ name, compileMs, start: { qc, ort, litert, memory: used } }) => [
      name,
      spread(qc),
      spread(ort),
      times(ort.median / qc.median),
      ...(others ? (litert ? [spread(litert), times(litert.median / qc.median)] : ["", ""]) : []),
      ...(memory ? [megabytes(used?.qc), megabytes(used?.ort)] : []),
      ...(memory && others ? [megabytes(used?.litert)] : []),
      compileMs.toFixed(0),
    ]),
  );
};

export function geomean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length);
}

export const machineLine = (m: Machine): string =>
  `${m.cpu}, ${m.cores} cores (${m.extensions.join(", ")}), ${m.engine}, onnxruntime-web ${m.onnxruntime}, ` +
  (m.litert === undefined ? "" : `LiteRT.js ${m.litert}, `) +
  `qc ${m.commit}, ${m.date}, load at start ${m.load.toFixed(1)} per core. ` +
  (m.relaxedRefusal === undefined
    ? "Relaxed kernels may run."
    : `Relaxed kernels do not run: ${m.relaxedRefusal}.`);

interface Aim {
  readonly geomean?: number;
  readonly least?: number;
}

const NO_RELAXED = "none here: relaxed kernels do not run";

/** What was set out to be reached, and what was. */
function aims(models: readonly ModelResult[]): string {
  const relaxed = models.some((m) => m.backend === "relaxed");
  const row = (what: string, aim: Aim | string, ratios: readonly number[]): string[][] => {
    if (ratios.length === 0) return [];
    const wanted =
      typeof aim === "string"
        ? aim
        : [
            ...(aim.geomean === undefined ? [] : [`mean ≥ ${aim.geomean}×`]),
            ...(aim.least === undefined ? [] : [`each ≥ ${aim.least}×`]),
          ].join(", ");
    const least = Math.min(...ratios);
    const short = typeof aim === "object" ? ratios.filter((r) => r < (aim.least ?? 0)).length : 0;
    return [[what, wanted, times(geomean(ratios)), times(least), short === 0 ? "" : String(short)]];
  };
  const lite = (build: LiteRtBuild): number[] =>
    models.flatMap((m) => m.litert?.find((l) => l.build === build)?.ratio.median ?? []);
  const starting = (of: "ort" | "litert"): number[] =>
    models.flatMap(({ start }) => (start?.[of] ? [start[of].median / start.qc.median] : []));
  return table(
    ["time of a peer over qc's", "aim", "geometric mean", "least", "models below"],
    [
      ...row("LiteRT.js, default build", relaxed ? { geomean: 2, least: 1.2 } : NO_RELAXED, lite("default")),
      ...row("LiteRT.js, compat build; qc baseline", { geomean: 1.3, least: 1 }, lite("compat")),
      ...row(
        "onnxruntime-web, int8",
        relaxed ? { geomean: 7, least: 2.5 } : { geomean: 3.5, least: 1.5 },
        models.map((m) => m.ratio.median),
      ),
      ...row("onnxruntime-web, to the first result", { least: 20 }, starting("ort")),
      ...row("LiteRT.js, to the first result", "", starting("litert")),
    ],
  );
}

export function markdown({ machine, command, models, refused }: Results): string {
  return [
    `${machineLine(machine)}\nCommand: \`${command}\`.`,
    ...refused.map(({ name, reason }) => `${name} does not take part, qc refuses it: ${reason}.`),
    `**In short**\n\n${aims(models)}`,
    `**Latency**, median (10th–90th percentile) of one inference\n\n${latency(models)}`,
    ...litert(models),
    ...asides(models),
    `**Bytes** a page fetches, raw / gzip, and memory\n\n${sizes(models)}`,
    ...(models.some((m) => m.start)
      ? [
          `**To the first result**, and linear memory after it; beside them what \`qc compile\` took\n\n${starts(models)}`,
        ]
      : []),
  ].join("\n\n");
}

/** `text` with what is between the markers of `section` replaced. Throws if they are missing. */
export function replaceSection(text: string, section: string, body: string): string {
  const [open, close] = [`<!-- ${section} -->`, `<!-- /${section} -->`];
  const [from, to] = [text.indexOf(open), text.indexOf(close)];
  if (from < 0 || to < from) throw new Error(`no ${open} … ${close} in the text`);
  return `${text.slice(0, from + open.length)}\n\n${body}\n\n${text.slice(to)}`;
}
