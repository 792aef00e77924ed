/** Replaces every exact requantization by integer multiply, add and shift, proved equal on the reachable range. */
import { type Diagnostic, fail, ok } from "../ir/diagnostics.ts";
import { accumulatorTooWide, notCertified } from "../ir/messages-quant.ts";
import type { Attr, Func, Op, Value } from "../ir/module.ts";
import { attr } from "../ir/op.ts";
import { requantSpec } from "../ir/ops/integer-requant.ts";
import { rescaleAttr } from "../ir/ops/integer-rescale.ts";
import { definePass } from "../ir/pass.ts";
import { analyzeRanges, exceedsAccumulator, type Ranges, rangeAt, whole } from "../ir/ranges.ts";
import type { Rational } from "../ir/rational.ts";
import { type Certified, certify as certifySpecs } from "../ir/rescale/index.ts";
import type { Certificate, IntRange, RequantSpec } from "../ir/rescale/types.ts";
import { rebuild } from "../ir/rewriter.ts";

/** The specification and reachable ranges per channel; one entry when all channels share them. */
function problem(op: Op, ranges: Ranges) {
  const axis = attr<number>(op, "axis");
  const shape = op.results[0]!.type.shape;
  const channels = shape[axis] ?? 1;
  const followsLast = (v: Value): boolean => axis === shape.length - 1 && v.type.shape.at(-1) === channels;
  const reach = op.operands.map((v) =>
    followsLast(v) ? ranges.of(v) : [whole(ranges.of(v))].map((r) => ({ min: [r.min], max: [r.max] }))[0]!,
  );
  const lists = [
    ...attr<readonly (readonly Rational[])[]>(op, "scales"),
    attr<readonly Rational[]>(op, "offset"),
  ];
  const n = lists.some((l) => l.length > 1) ? channels : 1;
  const specs = Array.from({ length: n }, (_, c) => requantSpec(op.attrs, c));
  const intervals: IntRange[][] = specs.map((_, c) => reach.map((r) => (n === 1 ? whole(r) : rangeAt(r, c))));
  return { specs, intervals };
}

/** What was proved, for reports and the manifest: widths, reachable ranges, and the exact map per channel. */
function proofAttr(
  op: Op,
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
  c: Certificate,
): Attr {
  return {
    mBits: c.mBits,
    windowBits: c.windowBits,
    accBits: c.accBits,
    ties: c.ties,
    ranges: ranges.map((channel) => channel.map((r) => [r.min, r.max])),
    scales: specs.map((s) => s.scales),
    offsets: specs.map((s) => s.offset),
    zero_point: op.attrs.zero_point!,
    rounding: op.attrs.rounding!,
    order: op.attrs.order!,
  };
}

/** Integers that no quantizer has made are no accumulators: words may lack a sign, results wrap as declared. */
const isPlain = (op: Op): boolean => op.name.startsWith("int.") || op.name.startsWith("index.");

function certifyFunc(
  func: Func,
  progress: (share: number) => void,
): { func: Func; diagnostics: Diagnostic[] } {
  const diagnostics: Diagnostic[] = [];
  let done = 0;
  const ranges = analyzeRanges(func);
  // Operands change identity while the function is rebuilt; the ranges are those of the original values.
  const next = rebuild(func, (op, operands, b) => {
    progress(done++ / func.ops.length);
    const wide = (isPlain(op) ? [] : op.results)
      .filter((v) => v.type.elem.kind === "int")
      .map(ranges.of)
      .find(exceedsAccumulator);
    if (wide !== undefined) {
      const { min, max } = whole(wide);
      diagnostics.push(accumulatorTooWide(op, min, max));
    }
    if (op.name !== "qc.requant" || op.operands.some((v) => exceedsAccumulator(ranges.of(v))))
      return undefined;
    const { specs, intervals } = problem(op, ranges);
    const result: Certified = certifySpecs(specs, intervals);
    if (!result.ok) {
      const { channel, a, expected, got, reason } = result.counterexample;
      diagnostics.push(notCertified(op, channel, a, expected, got, reason));
      return undefined;
    }
    const proof = proofAttr(op, specs, intervals, result.certificate);
    const attrs = { axis: op.attrs.axis!, rescale: rescaleAttr(result.rescale), proof };
    return [
      b.add1("qc.rescale", operands, attrs, {
        loc: op.loc,
        names: [op.results[0]!.name],
        types: [op.results[0]!.type],
      }),
    ];
  });
  return { func: next, diagnostics };
}

export const certify = definePass({
  name: "certify",
  summary: "Replace qc.requant by a certified dyadic qc.rescale.",
  requires: ["lifted"],
  ensures: ["certified"],
  run: (module, { progress }) => {
    const done = module.funcs.map((f) => certifyFunc(f, progress));
    const diagnostics = done.flatMap((d) => d.diagnostics);
    return diagnostics.length > 0 ? fail(...diagnostics) : ok({ ...module, funcs: done.map((d) => d.func) });
  },
});
