/** Float weights whose values are multiples of one number per output channel: exporters fold weight quantizers away. */
import type { FuncBuilder } from "../../ir/builder.ts";
import { dense } from "../../ir/dense.ts";
import type { Diagnostic } from "../../ir/diagnostics.ts";
import { gridRecovered } from "../../ir/messages-quant.ts";
import { type Dense, definitions, type Func, type Op, type Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { rebuild } from "../../ir/rewriter.ts";
import { int, type QuantType, sizeOf, tensor } from "../../ir/types.ts";

/** Greatest distance from the grid, in units of the channel's greatest magnitude: rounding of float32 arithmetic. */
const TOLERANCE = 1e-6;
/** Integers of an 8-bit weight. */
const MOST = 127;

export interface Grid {
  readonly step: number;
  readonly q: Int8Array;
  /** Greatest distance of a value from its grid point, in steps. */
  readonly off: number;
}

/** The coarsest grid of at most 8 bits that all values lie on; undefined where there is none. */
export function gridOf(values: ArrayLike<number>): Grid | undefined {
  const q = new Int8Array(values.length);
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!));
  if (most === 0) return { step: 1, q, off: 0 };
  if (!Number.isFinite(most)) return undefined;
  for (let top = 1; top <= MOST + 1; top++) {
    const step = most / top;
    if (!fits(values, step, TOLERANCE * top)) continue;
    // The least-squares step averages the rounding of all values away.
    let [products, squares] = [0, 0];
    for (let i = 0; i < values.length; i++) {
      const k = Math.round(values[i]! / step);
      if (k > MOST) return undefined;
      q[i] = k;
      products += k * values[i]!;
      squares += k * k;
    }
    const refined = products / squares;
    let off = 0;
    for (let i = 0; i < values.length; i++) off = Math.max(off, Math.abs(values[i]! / refined - q[i]!));
    return { step: refined, q, off };
  }
  return undefined;
}

function fits(values: ArrayLike<number>, step: number, tolerance: number): boolean {
  for (let i = 0; i < values.length; i++) {
    const k = values[i]! / step;
    if (Math.abs(k - Math.round(k)) > tolerance) return false;
  }
  return true;
}

/** The grid of each slice along `axis`. */
function gridsAlong(
  { shape, data }: Dense,
  axis: number,
): { readonly type: QuantType; readonly value: Dense; readonly off: number } | undefined {
  const inner = sizeOf(shape.slice(axis + 1));
  const count = shape[axis]!;
  const size = data.length / count;
  const slice = new Float64Array(size);
  const at = (c: number, i: number): number => (Math.floor(i / inner) * count + c) * inner + (i % inner);
  const out = new Int32Array(data.length);
  const scales: number[] = [];
  let off = 0;
  for (let c = 0; c < count; c++) {
    for (let i = 0; i < size; i++) slice[i] = data[at(c, i)]!;
    const grid = gridOf(slice);
    if (grid === undefined) return undefined;
    for (let i = 0; i < size; i++) out[at(c, i)] = grid.q[i]!;
    scales.push(grid.step);
    off = Math.max(off, grid.off);
  }
  const storage = int(true, 8);
  const scheme = scales.every((s) => s === scales[0])
    ? ({ kind: "tensor", scale: scales[0]!, zeroPoint: 0 } as const)
    : ({ kind: "axis", axis, scales, zeroPoints: scales.map(() => 0) } as const);
  return {
    type: { kind: "quant", storage, lo: -128, hi: 127, scheme },
    value: dense(storage, shape, out),
    off,
  };
}

/** The axis of a weight's output channels. */
const CHANNEL_AXIS: { readonly [op: string]: (rank: number) => number } = {
  "float.conv": () => 0,
  "float.matmul": (rank) => rank - 1,
};

/** The same function with float weights on a grid as integers. */
export function recoverGrids(func: Func, report: (d: Diagnostic) => void): Func {
  const defs = definitions(func);
  const made = new Map<Op, Value>();
  const recovered = (op: Op, b: FuncBuilder): Value | undefined => {
    const source = defs.get(op.operands[1]!);
    const axisFor = CHANNEL_AXIS[op.name];
    if (source?.name !== "const" || axisFor === undefined) return undefined;
    const value = attr<Dense>(source, "value");
    const [{ name, type }] = source.results as [Value];
    if (type.elem.kind !== "float" || value.shape.length < 2) return undefined;
    const known = made.get(source);
    if (known !== undefined) return known;
    const found = gridsAlong(value, axisFor(value.shape.length));
    if (found === undefined) return undefined;
    report(gridRecovered(op, name, found.type, found.off));
    const loc = source.loc ? { loc: source.loc } : {};
    const q = b.add1(
      "const",
      [],
      { value: found.value },
      { ...loc, names: [`${name}_q`], types: [tensor(value.shape, found.type)] },
    );
    const weight = b.add1("quant.dequantize", [q], {}, { ...loc, names: [name], types: [type] });
    made.set(source, weight);
    return weight;
  };
  return rebuild(func, (op, operands, b) => {
    const weight = recovered(op, b);
    if (weight === undefined) return undefined;
    const [x, , ...rest] = operands;
    return [
      b.add1(op.name, [x!, weight, ...rest], op.attrs, {
        ...(op.loc ? { loc: op.loc } : {}),
        names: op.results.map((r) => r.name),
        types: op.results.map((r) => r.type),
      }),
    ];
  });
}
