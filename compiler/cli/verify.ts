/** `qc verify`: interpreter and artifact agree bit for bit, at every quantizer; other runtimes as second opinions. */
import type { TensorData } from "../../runtime/elements.ts";
import type { PortLayout, WasmTarget } from "../../runtime/format.ts";
import { type Compiled, compileModel, type Diagnostic, fail, ok, type Result } from "../index.ts";
import { modelOptions } from "./calib.ts";
import { compareExact, compareSample, type Subject, subjectsOf, type Verdict } from "./compare.ts";
import { readBytes } from "./external-data.ts";
import { count, type Histogram, histogramText } from "./histogram.ts";
import type { ModelChoices } from "./model.ts";
import type { NpyArray } from "./npy.ts";
import { onnxruntime, type Peer } from "./peer.ts";
import { countText, plain, plural, table } from "./print.ts";
import { randomInputs } from "./random-inputs.ts";
import { type Result as Named, runReference } from "./reference.ts";
import { EXIT, report } from "./report.ts";
import { readArrays, readInputs, samplesOf, type Tensors } from "./tensors.ts";
import { type CommonOptions, progress, type Terminal } from "./terminal.ts";

export interface VerifyCommand extends CommonOptions, ModelChoices {
  readonly target: WasmTarget;
  readonly inputs?: string;
  readonly samples: number;
  readonly seed: number;
  readonly against?: "onnxruntime";
}

/** The user's samples, then the random ones; `expected` holds the outputs that came with the samples. */
interface Data {
  readonly samples: readonly Tensors[];
  readonly given: number;
  readonly expected: ReadonlyMap<string, NpyArray>;
}

function dataOf({ manifest }: Compiled, options: VerifyCommand): Result<Data> {
  const { inputs, outputs } = manifest;
  const made = randomInputs(inputs, options.samples, options.seed);
  if (options.inputs === undefined) return ok({ samples: made, given: 0, expected: new Map() });
  const arrays = readArrays(options.inputs);
  if (!arrays.ok) return arrays;
  const read = readInputs([options.inputs], inputs);
  const samples = read.ok ? samplesOf(read.value, inputs) : read;
  if (!samples.ok) return samples;
  const expected = new Map<string, NpyArray>();
  for (const o of outputs) {
    const array =
      arrays.value.get(o.name) ?? (outputs.length === 1 ? arrays.value.get("expected") : undefined);
    if (array) expected.set(o.name, array);
  }
  return ok({ samples: [...samples.value, ...made], given: samples.value.length, expected });
}

interface Opinion {
  readonly source: string;
  readonly output: string;
  readonly histogram: Histogram;
}

/** Collects differences of the outputs from what other programs say, per source and output. */
function opinions(outputs: readonly PortLayout[]) {
  const list: Opinion[] = [];
  return {
    list,
    add(source: string, port: PortLayout, ours: TensorData, theirs: ArrayLike<number | bigint>): void {
      let o = list.find((x) => x.source === source && x.output === port.name);
      if (!o) {
        o = { source, output: port.name, histogram: new Map() };
        list.push(o);
      }
      count(o.histogram, port, ours, theirs);
    },
    async hear(peer: Peer, inputs: Tensors, ours: readonly TensorData[]): Promise<void> {
      const theirs = await peer.run(inputs);
      outputs.forEach((port, i) => {
        const t = theirs.get(port.name);
        if (t) this.add(peer.name, port, ours[i]!, t);
      });
    },
  };
}

interface Outcome {
  readonly verdicts: readonly Verdict[];
  readonly findings: readonly Diagnostic[];
  readonly opinions: readonly Opinion[];
}

async function runAll(
  builds: readonly { readonly compiled: Compiled; readonly subjects: readonly Subject[] }[],
  { samples, given, expected }: Data,
  peer: Peer | undefined,
  onSample: (i: number) => void,
): Promise<Outcome> {
  const totals = new Map<string, Verdict>();
  const findings = new Map<string, Diagnostic>();
  const { manifest, module } = builds[0]!.compiled;
  const heard = opinions(manifest.outputs);
  for (const [s, inputs] of samples.entries()) {
    onSample(s);
    for (const { compiled, subjects } of builds) {
      const reference = byName(runReference(compiled.module, inputs, { raw: true, float32: true }));
      const verdicts = subjects.map((subject) => compareSample(subject, inputs, s, reference));
      if (compiled.manifest.taps !== undefined) {
        const exact = byName(runReference(compiled.exact, inputs, { raw: true, float32: true }));
        verdicts.unshift(compareExact(s, reference, exact));
      }
      for (const { first, ...v } of verdicts) {
        const t = totals.get(v.subject) ?? { ...v, elements: 0, differing: 0 };
        totals.set(v.subject, {
          ...t,
          elements: t.elements + v.elements,
          differing: t.differing + v.differing,
        });
        if (first && !findings.has(v.subject)) findings.set(v.subject, first);
      }
    }
    if (s >= given && !peer) continue;
    const ours = runReference(module, inputs, { float32: true }).map((r) => r.data);
    manifest.outputs.forEach((port, i) => {
      const n = ours[i]!.length;
      const e = s < given ? expected.get(port.name) : undefined;
      if (e) heard.add("expected", port, ours[i]!, e.data.subarray(s * n, (s + 1) * n));
    });
    if (peer) await heard.hear(peer, inputs, ours);
  }
  return { verdicts: [...totals.values()], findings: [...findings.values()], opinions: heard.list };
}

/** Results by name; a tensor that is both an output and a tap is the same either way. */
const byName = (results: readonly Named[]): ReadonlyMap<string, TensorData> =>
  new Map(results.map((r) => [r.port.name, r.data]));

/** The artifact as shipped, and the debug build with every quantizer's tensor; the first error ends it. */
async function build(path: string, bytes: Uint8Array, options: VerifyCommand, onPhase: (p: string) => void) {
  const { target } = options;
  const choices = await modelOptions(path, bytes, options);
  if (!choices.ok) return choices;
  const one = (debug: boolean) =>
    compileModel(bytes, {
      target,
      ...choices.value,
      debug,
      onPhase,
    });
  const shipped = await one(false);
  if (!shipped.ok) return shipped;
  const debug = await one(true);
  if (!debug.ok) return debug;
  const parts = [
    { compiled: shipped.value, ...(await subjectsOf(shipped.value, "")) },
    { compiled: debug.value, ...(await subjectsOf(debug.value, ", every quantizer")) },
  ];
  return ok(parts, [...choices.diagnostics, ...shipped.diagnostics]);
}

export async function verify(path: string, options: VerifyCommand, terminal: Terminal): Promise<number> {
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return report(terminal, options, [bytes]);
  const meter = progress(terminal, options);
  const builds = await build(path, bytes, options, meter.phase);
  const first = builds.ok ? builds.value[0]!.compiled : undefined;
  const data = first ? dataOf(first, options) : fail();
  const peer = first && options.against ? await onnxruntime(bytes, first.manifest.inputs) : undefined;
  if (!builds.ok || !data.ok || (peer && !peer.ok)) {
    meter.done();
    const all = [...builds.diagnostics, ...data.diagnostics, ...(peer?.diagnostics ?? [])];
    return report(terminal, options, all);
  }
  const n = data.value.samples.length;
  const outcome = await runAll(builds.value, data.value, peer?.value, (i) =>
    meter.phase(`sample ${i + 1} of ${n}`),
  );
  meter.done();
  const skipped = builds.value.flatMap((b) => b.skipped);
  const { verdicts, findings } = outcome;
  const others = outcome.opinions.map((o) => ({ ...o, histogram: Object.fromEntries(o.histogram) }));
  const facts = { samples: n, verdicts, skipped, opinions: others };
  const code = report(terminal, options, [...builds.diagnostics, ...findings], facts);
  if (!options.json && !options.quiet) terminal.out(text(outcome, skipped, n));
  return findings.length > 0 ? EXIT.bug : code;
}

function text({ verdicts, opinions: others }: Outcome, skipped: readonly string[], samples: number): string {
  const rows = verdicts.map((v) => [
    v.subject,
    plural(v.tensors, "tensor"),
    `${countText(v.elements)} elements`,
    v.differing === 0 ? "all equal" : `${v.differing} differ`,
  ]);
  return [
    `${plural(samples, "sample")}, artifact against the reference interpreter\n`,
    table(rows),
    ...skipped.map((s) => `not run here: ${s}\n`),
    ...others.map((o) => `${o.source}, ${plain(o.output)}: ${histogramText(o.histogram)}\n`),
  ].join("");
}
