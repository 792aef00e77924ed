/** Grids that the user gives for tensors which the file leaves without: quantize and dequantize behind each. */
import { createBuilder } from "../ir/builder.ts";
import { dense } from "../ir/dense.ts";
import { type Diagnostic, fail, ok } from "../ir/diagnostics.ts";
import { badGrid, unknownGridTensor } from "../ir/messages-quant.ts";
import type { Dense, Func, Op, Value } from "../ir/module.ts";
import { attr } from "../ir/op.ts";
import { roundReal } from "../ir/ops/rounding.ts";
import { definePass } from "../ir/pass.ts";
import { copyOp } from "../ir/rewriter.ts";
import { int, intMax, intMin, type QuantType, tensor } from "../ir/types.ts";

export interface Grid {
  readonly tensor: string;
  readonly type: QuantType;
}

/** `tensor=u4@0.05` or `tensor=i8@0.05,-3`: name, signedness and bits, scale (rounded to float32), zero point. */
export function parseGrid(text: string): Grid | undefined {
  const match = /^(.+)=([ui])(\d{1,2})@([^@,]+)(?:,(-?\d{1,10}))?$/s.exec(text);
  if (match === null) return undefined;
  const [, name, sign, width, scaleText, zero] = match;
  const bits = Number(width);
  const scale = Math.fround(Number(scaleText));
  if (bits < 1 || bits > 32 || !(scale > 0 && scale < Number.POSITIVE_INFINITY)) return undefined;
  const storage = int(sign === "i", bits);
  const [lo, hi] = [intMin(storage), intMax(storage)];
  const zeroPoint = Number(zero ?? 0);
  if (zeroPoint < lo || zeroPoint > hi) return undefined;
  return {
    tensor: name!,
    type: { kind: "quant", storage, lo, hi, scheme: { kind: "tensor", scale, zeroPoint } },
  };
}

/** The integers of a float constant, quantized in float32 as QuantizeLinear does. */
function onGrid(value: Dense, { storage, lo, hi, scheme }: QuantType): Dense {
  if (scheme.kind !== "tensor") throw new Error("a grid of one scale");
  const data = Int32Array.from(value.data, (x) => {
    const q = roundReal("half_even", Math.fround(x / scheme.scale)) + scheme.zeroPoint;
    return q >= lo ? Math.min(q, hi) : lo;
  });
  return dense(storage, value.shape, data);
}

/** The function whose readers of the named values, results included, read them quantized. */
function inserted(func: Func, grids: ReadonlyMap<string, QuantType>): Func {
  const b = createBuilder(func.name);
  const read = new Map<Value, Value>();
  const now = (v: Value): Value => read.get(v) ?? v;
  const insert = (v: Value, made?: Op): void => {
    const grid = v.type.elem.kind === "float" ? grids.get(v.name) : undefined;
    if (grid === undefined) return;
    const types = [tensor(v.type.shape, grid)];
    const names = [`${v.name}_q`];
    const q =
      made?.name === "const"
        ? b.add1("const", [], { value: onGrid(attr<Dense>(made, "value"), grid) }, { names, types })
        : b.add1("quant.quantize", [v], {}, { names, types });
    read.set(v, b.add1("quant.dequantize", [q], {}, { names: [v.name], types: [v.type] }));
  };
  for (const p of func.params) {
    b.addParam(p);
    insert(p.value);
  }
  for (const op of func.ops) {
    b.append(copyOp(op, op.operands.map(now)));
    for (const r of op.results) insert(r, op);
  }
  for (const r of func.results) b.addResult({ ...r, value: now(r.value) });
  return b.build();
}

/** Names of the values a grid may be given for. */
const floats = (func: Func): ReadonlySet<string> =>
  new Set(
    [...func.params.map((p) => p.value), ...func.ops.flatMap((o) => o.results)]
      .filter((v) => v.type.elem.kind === "float")
      .map((v) => v.name),
  );

export const insertQuantizers = definePass({
  name: "insert-quantizers",
  summary: "Quantize the tensors that the options name, for all that read them.",
  options: { grids: { doc: "list of tensor=u8@scale or tensor=i4@scale,zero" } },
  run: (module, { options }) => {
    const texts = (options.grids ?? []) as readonly string[];
    const [main, ...rest] = module.funcs;
    const known = floats(main!);
    const found: Diagnostic[] = [];
    const grids = new Map<string, QuantType>();
    for (const text of texts) {
      const grid = parseGrid(text);
      if (grid === undefined) found.push(badGrid(text));
      else if (!known.has(grid.tensor)) found.push(unknownGridTensor(grid.tensor, [...known]));
      else grids.set(grid.tensor, grid.type);
    }
    if (found.length > 0) return fail(...found);
    return ok(grids.size === 0 ? module : { ...module, funcs: [inserted(main!, grids), ...rest] });
  },
});
