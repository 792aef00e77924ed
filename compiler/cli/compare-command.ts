/** `qc compare`: two models or artifacts on the same inputs, tensor by tensor. */
import type { PortLayout } from "../../runtime/format.ts";
import {
  type Diagnostic,
  fail,
  inputMismatch,
  inputMissing,
  nothingToCompare,
  ok,
  type Result,
  tensorsDiffer,
} from "../index.ts";
import { openPeer, openSide, type Side, type SideTensor } from "./compare-sides.ts";
import { addSample, type TensorVerdict } from "./compare-tensors.ts";
import { histogramText } from "./histogram.ts";
import type { ModelChoices } from "./model.ts";
import { countText, plain, plural, table } from "./print.ts";
import { randomInputs } from "./random-inputs.ts";
import { EXIT, report } from "./report.ts";
import { readInputs, samplesOf, type Tensors } from "./tensors.ts";
import { type CommonOptions, progress, type Terminal } from "./terminal.ts";

export interface CompareCommand extends CommonOptions, ModelChoices {
  readonly inputs?: string;
  readonly samples: number;
  readonly seed: number;
  /** Greatest difference that is no error, in units of the last place. */
  readonly tolerance: number;
  /** Runs the second model, or the only one, there. */
  readonly against?: "onnxruntime";
}

const typeText = ({ dtype, shape }: PortLayout): string => `${dtype}[${shape.join(", ")}]`;

/** Inputs of the second that the first has not, or has otherwise. */
function inputFindings(a: Side, b: Side): readonly Diagnostic[] {
  return b.inputs.flatMap((wants) => {
    const has = a.inputs.find((p) => p.name === wants.name);
    if (has === undefined)
      return [
        inputMissing(
          wants.name,
          typeText(wants),
          a.inputs.map((p) => p.name),
        ),
      ];
    return typeText(has) === typeText(wants)
      ? []
      : [inputMismatch(wants.name, typeText(has), typeText(wants))];
  });
}

async function open(
  first: string,
  second: string | undefined,
  options: CompareCommand,
): Promise<Result<readonly [Side, Side]>> {
  const a = await openSide(first, options);
  if (!a.ok) return a;
  const names = a.value.tensors.map((t) => t.name);
  const b =
    second === undefined || options.against
      ? await openPeer(second ?? first, names, a.value.inputs)
      : await openSide(second, {
          ...(options.batch !== undefined && { batch: options.batch }),
          ...((options.allowFloat || options.allowFloatAt) && { allowFloat: true }),
        });
  if (!b.ok) return fail(...a.diagnostics, ...b.diagnostics);
  const wrong = inputFindings(a.value, b.value);
  const all = [...a.diagnostics, ...b.diagnostics];
  return wrong.length > 0 ? fail(...all, ...wrong) : ok([a.value, b.value], all);
}

function dataOf({ inputs }: Side, options: CompareCommand): Result<readonly Tensors[]> {
  if (options.inputs === undefined) return ok(randomInputs(inputs, options.samples, options.seed));
  const read = readInputs([options.inputs], inputs);
  return read.ok ? samplesOf(read.value, inputs) : read;
}

/** Verdicts on the tensors that both have, in the first's order. */
async function run(
  [a, b]: readonly [Side, Side],
  samples: readonly Tensors[],
  tolerance: number,
  onSample: (i: number) => void,
): Promise<readonly TensorVerdict[]> {
  const verdicts = new Map<string, TensorVerdict>();
  const others = new Map<string, SideTensor>(b.tensors.map((t) => [t.name, t]));
  for (const [i, inputs] of samples.entries()) {
    onSample(i);
    const [x, y] = [await a.run(inputs), await b.run(inputs)];
    for (const t of a.tensors) {
      const [ours, theirs, other] = [x.get(t.name)!, y.get(t.name), others.get(t.name)];
      if (theirs === undefined || other === undefined || theirs.length !== ours.length) continue;
      verdicts.set(t.name, addSample(verdicts.get(t.name), [t, ours], [other, theirs], tolerance));
    }
  }
  return [...verdicts.values()];
}

export async function compare(
  first: string,
  second: string | undefined,
  options: CompareCommand,
  terminal: Terminal,
): Promise<number> {
  if (second === undefined && options.against === undefined) {
    terminal.err("error: missing argument 'second'; or --against onnxruntime\n");
    return EXIT.usage;
  }
  const meter = progress(terminal, options);
  meter.phase("compile");
  const sides = await open(first, second, options);
  const data = sides.ok ? dataOf(sides.value[0], options) : fail();
  if (!sides.ok || !data.ok) {
    meter.done();
    return report(terminal, options, [...sides.diagnostics, ...data.diagnostics]);
  }
  const n = data.value.length;
  const phase = (i: number): void => meter.phase(`sample ${i + 1} of ${n}`);
  const verdicts = await run(sides.value, data.value, options.tolerance, phase);
  meter.done();
  const [a, b] = sides.value;
  const wrong = verdicts.filter((v) => v.differing > 0);
  const findings: Diagnostic[] = [];
  if (verdicts.length === 0) findings.push(nothingToCompare(a.name, b.name));
  if (wrong[0]) findings.push(tensorsDiffer(wrong.length, verdicts.length, options.tolerance, wrong[0]));
  const tensors = verdicts.map((v) => ({ ...v, histogram: Object.fromEntries(v.histogram) }));
  const facts = {
    samples: n,
    tolerance: options.tolerance,
    tensors,
    ...(wrong[0] && { first: wrong[0].name }),
  };
  const known = new Set(verdicts.map((v) => v.name));
  const lone = a.tensors.filter((t) => !known.has(t.name)).map((t) => t.name);
  if (!options.json && !options.quiet && verdicts.length > 0)
    terminal.out(text(sides.value, verdicts, lone.length, n));
  return report(terminal, options, [...sides.diagnostics, ...findings], { ...facts, unmatched: lone });
}

const sideText = ({ name, engine }: Side): string => plain(name) + (engine ? ` in ${engine}` : "");

function text(
  [a, b]: readonly [Side, Side],
  verdicts: readonly TensorVerdict[],
  lone: number,
  samples: number,
): string {
  const rows = verdicts.map((v) => [
    plain(v.name),
    countText(v.elements),
    String(v.differing),
    String(v.most),
    histogramText(v.histogram),
  ]);
  return [
    `${plural(samples, "sample")}, ${sideText(a)} against ${sideText(b)}\n`,
    table([["tensor", "elements", "differ", "most", "differences"], ...rows], [1, 2, 3]),
    lone > 0 ? `${plural(lone, "tensor")} of the first without a counterpart\n` : "",
  ].join("");
}
