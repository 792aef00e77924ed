/**
 * Single layers against the engine's peak: `npx node bench/layers.ts [--quick] [--no-write] [layer …]`. Prints the table and writes it
 * to README.md and results-layers.json beside this file. Each figure is one fused kernel, with its exact requantization and its
 * storing, on nominal multiply-accumulates.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { profile } from "../compiler/cli/bench/profile.ts";
import { type Spread, spreadOf } from "../compiler/cli/bench/sampling.ts";
import { compileModel } from "../compiler/compile.ts";
import type { Compiled } from "../compiler/compiled.ts";
import type { Backend } from "../runtime/index.ts";
import { array } from "./generate/float-ops.ts";
import { type Builder, type Network, network, type Value } from "./generate/network.ts";
import { quantizedModel } from "./generate/onnx.ts";
import { randomOf } from "./generate/random.ts";
import { type Machine, machineOf } from "./machine.ts";
import { machineLine, replaceSection, table } from "./report.ts";

/** What the layers of a row have to reach. */
interface Row {
  readonly name: string;
  readonly unit: "of peak" | "MAC/cycle";
  readonly relaxed: number;
  readonly baseline: number;
}

const DENSE64: Row = { name: "dense, K = 64", unit: "of peak", relaxed: 0.75, baseline: 0.8 };
const DENSE: Row = { name: "dense, K ≥ 128", unit: "of peak", relaxed: 0.85, baseline: 0.8 };
const DEPTHWISE: Row = { name: "depthwise 3×3", unit: "MAC/cycle", relaxed: 8, baseline: 4 };
const GEMV: Row = { name: "GEMV", unit: "MAC/cycle", relaxed: 20, baseline: 8 };
const ROWS: readonly Row[] = [DENSE64, DENSE, DEPTHWISE, GEMV];

interface Layer {
  readonly name: string;
  readonly row: Row;
  readonly make: () => Network;
}

/** One layer on random numbers of a shape. */
function layer(
  name: string,
  row: Row,
  dims: readonly number[],
  body: (net: Builder, x: Value) => Value,
): Layer {
  return {
    name,
    row,
    make: () => {
      const random = randomOf(7);
      const size = dims.reduce((a, b) => a * b, 1);
      const { net, input } = network(
        name,
        random,
        array(dims, Float32Array.from({ length: size }, random.normal)),
      );
      return net.finish(body(net, input));
    },
  };
}

const convolution = (row: Row, channels: number, outputs: number, size: number, kernel: number): Layer =>
  layer(
    `conv ${kernel}×${kernel}, ${size}²×${channels} → ${outputs}`,
    row,
    [1, channels, size, size],
    (net, x) => net.conv(x, { outputs, kernel, activation: "relu" }),
  );
const gemm = (row: Row, m: number, k: number, n: number): Layer =>
  layer(`GEMM ${m}×${k}×${n}`, row, [m, k], (net, x) => net.gemm(x, n));
const depthwise = (channels: number, size: number, stride: number): Layer =>
  layer(
    `depthwise 3×3, stride ${stride}, ${size}²×${channels}`,
    DEPTHWISE,
    [1, channels, size, size],
    (net, x) => net.conv(x, { outputs: channels, kernel: 3, stride, groups: channels, activation: "relu6" }),
  );

const LAYERS: readonly Layer[] = [
  convolution(DENSE64, 64, 64, 56, 1),
  convolution(DENSE64, 64, 256, 56, 1),
  gemm(DENSE64, 196, 64, 256),
  convolution(DENSE, 128, 128, 28, 1),
  convolution(DENSE, 128, 512, 28, 1),
  gemm(DENSE, 196, 128, 256),
  convolution(DENSE, 256, 256, 14, 1),
  convolution(DENSE, 256, 1024, 14, 1),
  gemm(DENSE, 196, 256, 256),
  convolution(DENSE, 512, 512, 14, 1),
  convolution(DENSE, 512, 2048, 7, 1),
  gemm(DENSE, 196, 512, 512),
  convolution(DENSE, 64, 64, 56, 3),
  convolution(DENSE, 128, 128, 28, 3),
  convolution(DENSE, 256, 256, 14, 3),
  convolution(DENSE, 512, 512, 7, 3),
  depthwise(32, 112, 1),
  depthwise(64, 112, 2),
  depthwise(128, 56, 1),
  depthwise(144, 56, 1),
  depthwise(256, 28, 1),
  depthwise(512, 14, 1),
  depthwise(1024, 7, 1),
  gemm(GEMV, 1, 1024, 1024),
];

interface Figure {
  readonly macsPerCycle: Spread;
  /** Of the register loop in the same rounds. */
  readonly ofPeak: Spread;
}

interface LayerResult {
  readonly name: string;
  readonly row: string;
  readonly baseline: Figure;
  readonly relaxed: Figure;
}

const BACKENDS = ["baseline", "relaxed"] as const;
/** Products of uint8 and ±63 in pairs stay within 16 bits, where the relaxed dot product saturates on some CPUs. */
const LEVELS: Readonly<Record<Backend, number>> = { baseline: 127, relaxed: 63 };

async function measure(
  compiled: Compiled,
  backend: Backend,
  runs: number,
): Promise<Figure & { peak: number }> {
  const [port] = compiled.manifest.inputs;
  const random = randomOf(8);
  const size = port!.shape.reduce((a, b) => a * b, 1);
  const inputs = new Map([[port!.name, Float32Array.from({ length: size }, random.normal)]]);
  const rates: number[] = [];
  const shares: number[] = [];
  const peaks: number[] = [];
  for (let i = 0; i < runs; i++) {
    const p = await profile(compiled, backend, inputs, { rounds: 15, sampleMs: 0.5 });
    // What multiplies nothing, such as a layout change at the boundary, is not the layer.
    const kernels = p.kernels.filter((k) => k.macs > 0);
    const macs = kernels.reduce((sum, k) => sum + k.macs, 0);
    const rate = macs / (kernels.reduce((sum, k) => sum + k.ms, 0) * p.gigahertz * 1e6);
    rates.push(rate);
    shares.push(rate / p.peakMacsPerCycle);
    peaks.push(p.peakMacsPerCycle);
  }
  return { macsPerCycle: spreadOf(rates), ofPeak: spreadOf(shares), peak: spreadOf(peaks).median };
}

interface LayerResults {
  readonly machine: Machine;
  readonly command: string;
  readonly peak: Readonly<Record<Backend, number>>;
  readonly layers: readonly LayerResult[];
}

const percent = (x: number): string => `${(100 * x).toFixed(0)} %`;

function markdown({ machine, command, peak, layers }: LayerResults): string {
  const cells = ({ macsPerCycle: m, ofPeak }: Figure): string[] => [
    `${m.median.toFixed(1)} (${m.p10.toFixed(1)}–${m.p90.toFixed(1)})`,
    percent(ofPeak.median),
  ];
  const all = table(
    ["layer", "baseline MAC/cycle", "of peak", "relaxed MAC/cycle", "of peak"],
    layers.map((l) => [l.name, ...cells(l.baseline), ...cells(l.relaxed)]),
  );
  const verdicts = ROWS.flatMap(({ name, unit, ...wanted }): string[][] => {
    const own = layers.filter((l) => l.row === name);
    if (own.length === 0) return [];
    const show = (x: number): string => (unit === "of peak" ? percent(x) : x.toFixed(1));
    const columns = (backend: Backend): string[] => {
      const values = own.map((l) => l[backend][unit === "of peak" ? "ofPeak" : "macsPerCycle"].median);
      const reached = values.filter((v) => v >= wanted[backend]).length;
      return [
        `≥ ${show(wanted[backend])}`,
        `${show(Math.min(...values))}–${show(Math.max(...values))}`,
        `${reached} of ${values.length}`,
      ];
    };
    return [[`${name} (${unit})`, ...columns("relaxed"), ...columns("baseline")]];
  });
  const summary = table(
    ["layers", "relaxed aim", "reached", "layers", "baseline aim", "reached", "layers"],
    verdicts,
  );
  return [
    `${machineLine(machine)}\nCommand: \`${command}\`.`,
    `Register-loop peak: ${peak.baseline.toFixed(1)} MAC/cycle baseline, ${peak.relaxed.toFixed(1)} relaxed. The relaxed kernels run ` +
      `models whose weights are halved (±63): where the engine's relaxed dot product saturates, their results are right nevertheless, and ` +
      `time does not depend on the values. Median and range of several runs.`,
    summary,
    all,
  ].join("\n\n");
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false }, "no-write": { type: "boolean", default: false } },
});
const results: LayerResult[] = [];
const peaks: Record<Backend, number[]> = { baseline: [], relaxed: [] };
for (const { name, row, make } of LAYERS) {
  if (positionals.length > 0 && !positionals.some((w) => name.includes(w))) continue;
  const net = make();
  const figures = {} as Record<Backend, Figure>;
  for (const backend of BACKENDS) {
    const compiled = await compileModel(quantizedModel(net, LEVELS[backend]), {
      target: "wasm",
      profile: true,
    });
    if (!compiled.ok) throw new Error(`${name}: ${compiled.diagnostics.map((d) => d.message).join("; ")}`);
    const { peak, ...figure } = await measure(compiled.value, backend, values.quick ? 2 : 5);
    figures[backend] = figure;
    peaks[backend].push(peak);
  }
  results.push({ name, row: row.name, ...figures });
  console.error(
    `${name}: ${BACKENDS.map((b) => `${b} ${figures[b].macsPerCycle.median.toFixed(1)} ${percent(figures[b].ofPeak.median)}`).join(", ")}`,
  );
}
const words = process.argv.slice(2);
const found: LayerResults = {
  machine: machineOf(`Node ${process.versions.node} (V8 ${process.versions.v8})`),
  command: ["npx node bench/layers.ts", ...words].join(" "),
  peak: { baseline: spreadOf(peaks.baseline).median, relaxed: spreadOf(peaks.relaxed).median },
  layers: results,
};
const text = markdown(found);
console.log(text);
if (!values["no-write"]) {
  const at = (name: string): URL => new URL(`./${name}`, import.meta.url);
  writeFileSync(at("results-layers.json"), `${JSON.stringify(found, undefined, 2)}\n`);
  writeFileSync(at("README.md"), replaceSection(readFileSync(at("README.md"), "utf8"), "layers", text));
}
