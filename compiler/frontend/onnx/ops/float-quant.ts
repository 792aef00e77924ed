/** FloatQuant of QONNX: quantizers whose steps grow with the magnitude, as small floats have them. */
import { badAttributeValue, quantizerShape, unsupportedForm } from "../../../ir/messages.ts";
import { roundReal } from "../../../ir/ops/rounding.ts";
import type { Rounding } from "../../../ir/rational.ts";
import { F64, intTypeFor, type QuantType, sizeOf, tensor } from "../../../ir/types.ts";
import { append, materialize } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { flagAttr, input, type NodeImport, reject } from "../../node-import.ts";
import { type Operand, valueOperand } from "../../operand.ts";
import { MOST_IN_ALL } from "./multi-threshold.ts";
import { QONNX_DOMAINS, stored } from "./qonnx.ts";
import {
  at,
  type Parameter,
  parameter,
  quantType,
  roundingOf,
  scaleOf,
  schemeOf,
  ZERO,
} from "./qonnx-parameters.ts";

/** Bits of a float: sign, exponent, mantissa. */
const MOST_BITS = 8;

/** Floats in multiples of `unit`, the least of them: 0, 1, 2 …, from 2^(mantissa + 1) on with gaps that double. */
interface Format {
  readonly mantissa: number;
  readonly unit: number;
  /** The greatest, in units. */
  readonly greatest: number;
}

function formatOf(n: NodeImport): Format {
  const x = input(n, 0);
  const whole = (i: number, role: string, least: number, most: number): number => {
    const { values, name } = parameter(n, x, i, role);
    const [v] = values as [number];
    return values.length === 1 && Number.isInteger(v) && v >= least && v <= most
      ? v
      : reject(quantizerShape(n.loc, name, `(${role}) must be one integer from ${least} to ${most}`));
  };
  const exponent = whole(2, "exponent bit width", 1, MOST_BITS - 1);
  const mantissa = whole(3, "mantissa bit width", 0, MOST_BITS - 1);
  if (1 + exponent + mantissa > MOST_BITS)
    reject(unsupportedForm(n.loc, `FloatQuant to ${1 + exponent + mantissa} bits, more than ${MOST_BITS}`));
  const bias = whole(4, "exponent bias", -64, 64);
  const unit = 2 ** (1 - bias - mantissa);
  const natural = (2 - 2 ** -mantissa) * 2 ** (2 ** exponent - 1 - bias);
  const limit = n.inputs[5] === undefined ? undefined : parameter(n, x, 5, "greatest value");
  const [given] = limit?.values ?? [natural];
  const greatest = Math.min(natural, given!) / unit;
  if ((limit?.values.length ?? 1) > 1 || !Number.isInteger(greatest) || greatest < 1)
    reject(quantizerShape(n.loc, limit?.name ?? x.name, `(greatest value) must be a multiple of ${unit}`));
  if (greatest >= 2 ** 31)
    reject(
      unsupportedForm(
        n.loc,
        `FloatQuant whose values reach ${greatest} times the least: no 32-bit integer does`,
        ["export with fewer exponent bits"],
      ),
    );
  return { mantissa, unit, greatest };
}

/** Distance from g ≥ 0 to the next float, in units. */
const gap = ({ mantissa }: Format, g: number): number =>
  g < 2 ** (mantissa + 1) ? 1 : 2 ** (Math.floor(Math.log2(g)) - mantissa);

/** The float that x is rounded to, in units; x in units as well. */
function rounded(format: Format, rounding: Rounding, x: number): number {
  const magnitude = Math.min(Math.abs(x), 2 * format.greatest);
  const step = gap(format, Math.floor(magnitude));
  const q = roundReal(rounding, (Math.sign(x) * magnitude) / step) * step;
  return Math.min(Math.max(q, -format.greatest), format.greatest) + 0;
}

interface Steps {
  readonly thresholds: readonly number[];
  readonly strict: readonly number[];
  readonly levels: readonly number[];
}

/**
 * The floats and where rounding steps between neighbours: at the lower one, the middle or the upper one, whichever R says;
 * the step is strict where R takes that point down.
 */
function stepsOf(format: Format, rounding: Rounding): Steps {
  const positive: number[] = [0];
  while (positive.at(-1)! < format.greatest) positive.push(positive.at(-1)! + gap(format, positive.at(-1)!));
  const grid = [
    ...positive
      .slice(1)
      .map((g) => -g)
      .reverse(),
    ...positive,
  ];
  const clipped = (g: number): number => Math.min(Math.max(g, -format.greatest), format.greatest);
  const thresholds: number[] = [];
  const strict: number[] = [];
  for (let k = 1; k < grid.length; k++) {
    const [below, above] = [grid[k - 1]!, grid[k]!];
    const step = above - below;
    const to = (x: number): number => roundReal(rounding, x / step) * step;
    const middle = (below + above) / 2;
    const quarters = [(3 * below + above) / 4, (below + 3 * above) / 4].map((x) => to(x) === above);
    const at = quarters[0] ? below : quarters[1] ? middle : above;
    if (to(at) < above) strict.push(k - 1);
    thresholds.push(at * format.unit);
  }
  return { thresholds, strict, levels: grid.map(clipped) };
}

/** Integers of a constant, x / s in float32, on the coarsest grid that has them all. */
function constant(
  n: NodeImport,
  x: Operand & { readonly kind: "constant" },
  format: Format,
  rounding: Rounding,
  scale: Parameter,
): Operand {
  const { data, shape } = x.constant.dense;
  const inner = scale.axis === undefined ? 1 : sizeOf(shape.slice(scale.axis + 1));
  const channel = (i: number): number =>
    scale.axis === undefined ? 0 : Math.floor(i / inner) % shape[scale.axis]!;
  const q = Float64Array.from(data as ArrayLike<number>, (v, i) => {
    if (Number.isNaN(v)) return -format.greatest;
    return rounded(format, rounding, Math.fround(v / at(scale, channel(i))) / format.unit);
  });
  let coarse = 1;
  while (coarse < 2 ** 31 && q.some((v) => v !== 0) && q.every((v) => v % (2 * coarse) === 0)) coarse *= 2;
  const integers = q.map((v) => v / coarse + 0);
  const [lo, hi] = integers.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [-1, 1]);
  const finer: Parameter = { ...scale, values: scale.values.map((s) => s * format.unit * coarse) };
  return stored(
    n,
    x,
    integers,
    quantType({ storage: intTypeFor(lo, hi)!, lo, hi }, schemeOf(n, finer, ZERO)),
  );
}

/** y = s·u·g, g the float nearest to x / (s·u) by R, within ± the greatest. */
function floatQuant(n: NodeImport): Operand {
  const x = input(n, 0);
  const scale = scaleOf(n, x, 1);
  const format = formatOf(n);
  const rounding = roundingOf(n, "ROUND");
  if (!flagAttr(n, "saturation", true))
    reject(badAttributeValue(n.loc, "saturation", "must be 1: infinities and NaN have no integers"));
  if (x.kind === "constant") return constant(n, x, format, rounding, scale);
  const { thresholds, strict, levels } = stepsOf(format, rounding);
  if (scale.values.length * thresholds.length > MOST_IN_ALL)
    reject(unsupportedForm(n.loc, `FloatQuant of ${scale.values.length} channels`));
  const { greatest, unit } = format;
  const units: Parameter = { ...scale, values: scale.values.map((s) => s * unit) };
  const type: QuantType = quantType(
    { storage: intTypeFor(-greatest, greatest)!, lo: -greatest, hi: greatest },
    schemeOf(n, units, ZERO),
  );
  const attrs = {
    thresholds: {
      kind: "dense",
      elem: F64,
      shape: [1, thresholds.length],
      data: Float64Array.from(thresholds),
    },
    axis: scale.axis ?? 0,
    scales: scale.values,
    strict,
    levels,
  } as const;
  const q = append(n, "quant.threshold", [x], [materialize(n, x)], attrs, tensor(x.shape, type));
  n.graph.names.set(q, n.node.outputs[0] ?? "");
  return valueOperand(append(n, "quant.dequantize", [x], [q], {}), x.dtype);
}

export const floatQuantImporters: readonly Importer[] = [
  {
    op: "FloatQuant",
    domains: QONNX_DOMAINS,
    inputs: [5, 6],
    // What only says which codes the format spends on other things than numbers changes no value: the greatest value has it.
    attributes: {
      rounding_mode: "string",
      has_inf: "int",
      has_infinity: "int",
      has_nan: "int",
      has_subnormal: "int",
      saturation: "int",
      signed: "int",
    },
    run: floatQuant,
  },
];
