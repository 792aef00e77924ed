/** `qc inspect`: what a model becomes, without writing it. */
import type {
  ExactOn,
  Manifest,
  PortLayout,
  RelaxedDot,
  RescaleCertificate,
  WasmTarget,
} from "../../runtime/format.ts";
import {
  type Compiled,
  compileModel,
  type Diagnostic,
  fail,
  type LayerReport,
  loweredOnnx,
  type OpCounts,
  ok,
  type Result,
} from "../index.ts";
import { modelOptions } from "./calib.ts";
import { readBytes } from "./external-data.ts";
import { writeWhole } from "./files.ts";
import type { ModelChoices } from "./model.ts";
import { bytesText, countText, footer, plain, table } from "./print.ts";
import { EXIT, report } from "./report.ts";
import { type CommonOptions, progress, type Terminal } from "./terminal.ts";

export interface InspectCommand extends CommonOptions, ModelChoices {
  readonly target: WasmTarget;
  /** Where to write the recognized graph as a standard ONNX file. */
  readonly write?: string;
}

const counts = (ops: OpCounts): string =>
  Object.entries(ops)
    .sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
    .map(([op, n]) => `${plain(op)} ${n}`)
    .join(", ");

function portText(p: PortLayout): readonly string[] {
  const grids = p.slots.map(({ elem, boundary: b }) =>
    b.kind === "quantize"
      ? `${elem} ${b.lo} … ${b.hi}, scale ${b.scale}, zero point ${b.zeroPoint}`
      : b.kind === "thresholds"
        ? `${elem} ${b.lo} … ${b.hi}, by ${b.thresholds.length} thresholds`
        : b.kind === "dequantize"
          ? `${elem}, ${b.scales.length === 1 ? `scale ${b.scales[0]}, zero point ${b.zeroPoints[0]}` : `${b.scales.length} scales along axis ${b.axis}`}`
          : `${elem}${typeof p.quantization?.scale === "number" ? `, scale ${p.quantization.scale}, zero point ${p.quantization.zeroPoint}` : ""}`,
  );
  return [plain(p.name), `${p.dtype}[${p.shape.join(", ")}]`, grids.join(" and ")];
}

/** How far integers may be from the real number they stand for. */
const boundText = (bound: number): string => `within 1/2 + ${Number(bound.toPrecision(2))}`;

/** Softmaxes and normalizations: integer algorithms with a bound instead of a certificate. */
function bounded(layers: readonly LayerReport[]): readonly (readonly string[])[] {
  const bounds = layers.flatMap((l) => l.bound ?? []);
  if (bounds.length === 0) return [];
  const most = boundText(Math.max(...bounds));
  return [["bounded", `${bounds.length} tensors ${most} steps of the real function, hence at most 1 off`]];
}

function layerTable(layers: readonly LayerReport[], rescales: readonly RescaleCertificate[]): string {
  const byTensor = new Map(rescales.map((r) => [r.tensor, r]));
  const head = [
    "tensor",
    "op",
    "shape",
    "MACs",
    "weights",
    "acc bits",
    "rescale",
    "n",
    "m bits",
    "window bits",
  ];
  const rows = layers.map((l) => {
    const r = byTensor.get(l.tensor);
    byTensor.delete(l.tensor);
    const macs =
      l.macs.executed < l.macs.nominal
        ? `${countText(l.macs.executed)} of ${countText(l.macs.nominal)}`
        : countText(l.macs.nominal);
    return [
      plain(l.tensor),
      l.op,
      l.shape.join("×"),
      l.macs.nominal ? macs : "",
      l.weights
        ? `${bytesText(l.weights.bytes)}, ${l.weights.bits} bits`
        : l.table
          ? `${bytesText(l.table)} table`
          : "",
      String(l.accBits ?? r?.accBits ?? ""),
      r ? `${r.class} ${r.form}` : l.bound === undefined ? "" : boundText(l.bound),
      String(r?.n ?? ""),
      String(r?.mBits ?? ""),
      String(r?.windowBits ?? ""),
    ];
  });
  return table([head, ...rows], [3, 5, 7, 8, 9]);
}

function rescaleSummary(rescales: readonly RescaleCertificate[]): string {
  if (rescales.length === 0) return "none";
  const classes = new Map<string, { tensors: number; channels: number }>();
  for (const r of rescales) {
    const key = `${r.class}${r.form === "floor" ? "" : ` (${r.form})`}`;
    const c = classes.get(key) ?? { tensors: 0, channels: 0 };
    classes.set(key, { tensors: c.tensors + 1, channels: c.channels + r.channels });
  }
  const most = (f: (r: RescaleCertificate) => number) => Math.max(...rescales.map(f));
  const list = [...classes].map(([k, c]) => `${c.channels} channels of ${c.tensors} tensors ${k}`).join(", ");
  return `${list}; all certified; m at most ${most((r) => r.mBits)} bits, window ${most((r) => r.windowBits)}, accumulator ${most((r) => r.accBits)}`;
}

/** Engines by what their dot product of bytes does. */
const ENGINES: { readonly [dot in RelaxedDot]: string } = {
  u8s8: "u8·s8 (x86 with AVX-VNNI)",
  s8s8: "s8·s8 (ARM)",
  pairs16: "u8·s8 with pairs saturated to 16 bits (other x86)",
};

/** Where each relaxed module is exact; elsewhere the baseline runs. */
function relaxedText({ exactOn }: Manifest): string {
  const { relaxed, relaxedS8 } = exactOn!;
  if (relaxed === "any") return "exact on every engine: dot products take at most 7 bits";
  const dots = Object.keys(ENGINES) as RelaxedDot[];
  const by = (on: ExactOn | undefined): readonly RelaxedDot[] => (on === "any" ? dots : (on ?? []));
  const covered = dots.filter((d) => by(relaxed).includes(d) || by(relaxedS8).includes(d));
  const rest = dots.filter((d) => !covered.includes(d));
  const list = (some: readonly RelaxedDot[]): string => some.map((d) => ENGINES[d]).join(", ");
  return `exact on ${list(covered) || "no engine"}${rest.length > 0 ? `; baseline on ${list(rest)}` : ""}`;
}

function facts(m: Manifest, layers: readonly LayerReport[]): string {
  const { sizes, constantChannels: k } = m;
  const { baseline, relaxed, relaxedS8 } = sizes.code;
  const code = Object.entries({ baseline, relaxed, "relaxed-s8": relaxedS8 }).flatMap(([name, n]) =>
    n === undefined ? [] : [`${bytesText(n)} ${name}`],
  );
  return table([
    ["rescales", rescaleSummary(m.rescales)],
    ...bounded(layers),
    ["constant channels", `${k.folded} of ${k.total} folded away`],
    ["MACs", `${countText(m.macs.nominal)} nominal, ${countText(m.macs.executed)} executed`],
    ["weights", bytesText(sizes.weights)],
    ["code", code.length > 1 ? code.join(", ") : bytesText(baseline)],
    ...(m.exactOn ? [["relaxed SIMD", relaxedText(m)]] : []),
    ["memory", `${bytesText(sizes.memory)}, of it ${bytesText(sizes.arenaPeak)} activations at peak`],
  ]);
}

function text({ manifest, report: r }: Compiled): string {
  return [
    table([
      ["inputs", "", ""],
      ...manifest.inputs.map(portText),
      ["outputs", "", ""],
      ...manifest.outputs.map(portText),
    ]),
    table([
      ["before", counts(r.ops.before)],
      ["after", counts(r.ops.after)],
    ]),
    layerTable(r.layers, manifest.rescales),
    facts(manifest, r.layers),
  ].join("\n");
}

const isNew = (d: Diagnostic, known: readonly Diagnostic[]): boolean =>
  !known.some((k) => k.code === d.code && k.message === d.message);

interface WrittenFile {
  readonly path: string;
  readonly bytes: number;
}

/** The file that `--write` asks for, also where the model has no integer form yet; what went wrong, otherwise. */
async function writeLowered(
  to: string,
  bytes: Uint8Array,
  options: Parameters<typeof loweredOnnx>[1],
): Promise<Result<WrittenFile>> {
  const lowered = await loweredOnnx(bytes, options);
  if (!lowered.ok) return lowered;
  const failure = writeWhole(to, lowered.value);
  return failure ? fail(failure) : ok({ path: to, bytes: lowered.value.length });
}

export async function inspect(path: string, options: InspectCommand, terminal: Terminal): Promise<number> {
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return report(terminal, options, [bytes]);
  const choices = await modelOptions(path, bytes, options);
  if (!choices.ok) return report(terminal, options, choices.diagnostics);
  const meter = progress(terminal, options);
  const { target } = options;
  const model = choices.value;
  const file = options.write === undefined ? undefined : await writeLowered(options.write, bytes, model);
  const written = file?.ok ? { written: file.value } : {};
  const result = await compileModel(bytes, { target, ...model, onPhase: meter.phase });
  meter.done();
  // What keeps the model from being read at all is said once.
  const failures = file && !file.ok ? file.diagnostics.filter((d) => isNew(d, result.diagnostics)) : [];
  const diagnostics = [...choices.diagnostics, ...result.diagnostics, ...failures];
  if (!result.ok) return report(terminal, options, diagnostics, written);
  const { manifest, report: r } = result.value;
  const code = report(terminal, options, diagnostics, { manifest, report: r, ...written });
  if (code !== EXIT.ok || options.json) return code;
  terminal.out(text(result.value));
  if (file?.ok) terminal.out(`\n${plain(file.value.path)}  ${bytesText(file.value.bytes)}, standard ONNX\n`);
  if (!options.quiet) terminal.out(`\n${footer(manifest, r.layers, diagnostics)}\n`);
  return code;
}
