/** Messages of the QC21xx block that concern missing or unusable grids, and QC30xx (numerics). */
import { type Diagnostic, type Loc, plain, quote } from "./diagnostics.ts";
import { type Detail, diagnostic } from "./messages.ts";
import type { Op, Value } from "./module.ts";
import { type Rational, toNumber } from "./rational.ts";
import type { QuantType, TensorType } from "./types.ts";

/** The neighbourhood of a value, as messages need it. */
export interface Neighbours {
  readonly definition: (v: Value) => Op | undefined;
  readonly users: (v: Value) => readonly Op[];
}

const short = (x: number): string => Number(x.toPrecision(5)).toString();
const elemText = (t: TensorType): string =>
  t.elem.kind === "quant"
    ? quantText(t.elem)
    : t.elem.kind === "int"
      ? `${t.elem.signed ? "int" : "uint"}${t.elem.bits}`
      : `float${t.elem.bits}`;
export const typeText = (t: TensorType): string => `${elemText(t)}[${t.shape.join(",")}]`;
const quantText = (q: QuantType): string =>
  q.scheme.kind === "tensor"
    ? `${q.storage.signed ? "i" : "u"}${q.storage.bits} s=${short(q.scheme.scale)} zp=${q.scheme.zeroPoint}`
    : `${q.storage.signed ? "i" : "u"}${q.storage.bits} per channel`;

const onnxName = (op: Op): string =>
  op.loc?.kind === "node" ? plain(op.loc.op) : op.name.replace(/^.*\./, "");
function describe(op: Op | undefined): string {
  if (op === undefined) return "a graph input";
  if (op.name === "const") return "a constant";
  if (op.loc?.kind !== "node") return op.name;
  const source = op.loc.source === undefined ? "" : `   ${quote(op.loc.source, 400).slice(1, -1)}`;
  return `${plain(op.loc.op)} ${op.loc.name === "" ? "" : quote(op.loc.name)}${source}`.trimEnd();
}

function around(n: Neighbours, operand: Value, user: Op | undefined): Detail["notes"] {
  return [
    { label: "tensor", text: `${quote(operand.name)}   ${typeText(operand.type)}` },
    { label: "made by", text: describe(n.definition(operand)) },
    ...(user === undefined ? [] : [{ label: "used by", text: describe(user) }]),
  ];
}

const locOf = (op: Op): { loc?: Loc } => (op.loc ? { loc: op.loc } : {});

/** Whether `operand` is an intermediate result of the ONNX operator that `op` is a part of. */
const within = (n: Neighbours, op: Op, operand: Value): boolean => {
  const maker = n.definition(operand);
  return op.loc?.kind === "node" && maker?.loc?.kind === "node" && op.loc.output === maker.loc.output;
};

/** An operator without exact integer form between its input and output; `composite`: because its parts have none. */
export const noIntegerForm = (op: Op, composite = true): Diagnostic =>
  diagnostic("error", "QC2111", `${onnxName(op)} has no integer form yet, so it would run in float`, {
    ...locOf(op),
    fixes: [
      ...(composite ? [`export ${onnxName(op)} in parts, with quantizers between them`] : []),
      `cut the graph around ${onnxName(op)} and compute it outside`,
    ],
  });

/** What to write on the command line: an 8-bit grid that covers the range, where it is known. */
function gridFix({ name }: Value, range: readonly [number, number] | undefined): string {
  const shown = name === "" ? "<tensor>" : plain(name);
  if (range === undefined || !(range[0] < range[1])) return `here: --quant ${shown}=u8@<scale>,<zero point>`;
  const lo = Math.min(range[0], 0);
  const scale = Number(((Math.max(range[1], 0) - lo) / 255).toPrecision(6));
  const zero = Math.round(-lo / scale);
  const grid = `u8@${scale}${zero === 0 ? "" : `,${zero}`}`;
  return `here: --quant ${shown}=${grid} (covers that range, at most ${short(scale / 2)} off)`;
}

/** The op would have to run in float because its operand has no grid. `bounds`: interval its values lie in. */
export function noQuantizer(
  n: Neighbours,
  op: Op,
  operand: Value,
  bounds: { readonly lo: Rational; readonly hi: Rational } | undefined,
): Diagnostic {
  const inside = within(n, op, operand);
  if (inside && operand.name === "") return noIntegerForm(op);
  if (n.definition(operand)?.name === "quant.dequantize") return noIntegerForm(op, false);
  const range = bounds && ([toNumber(bounds.lo), toNumber(bounds.hi)] as const);
  const needs = range
    ? `a grid for ${quote(operand.name)}: its values lie in [${short(range[0])}, ${short(range[1])}]`
    : `a grid for ${quote(operand.name)}`;
  const where = inside ? `${quote(operand.name)} inside ${onnxName(op)}` : `the input of ${onnxName(op)}`;
  return diagnostic("error", "QC2101", `no quantizer on ${where}, so it would run in float`, {
    ...locOf(op),
    tensor: operand.name,
    notes: [...(around(n, operand, op) ?? []), { label: "needs", text: needs }],
    fixes: [
      inside
        ? `export ${onnxName(op)} in parts, with quantizers between them`
        : `in training: add an activation quantizer before ${onnxName(op)}`,
      gridFix(operand, range),
      "here: --calib data.npz, representative inputs",
    ],
  });
}

/** A float weight, or one quantized along an axis that does not become a per-output-channel factor. */
export const noWeightQuantizer = (n: Neighbours, op: Op, weight: Value, quantized: boolean): Diagnostic =>
  diagnostic(
    "error",
    "QC2102",
    quantized
      ? `the weights of ${onnxName(op)} are quantized along an axis that is not the output channel`
      : `the weights of ${onnxName(op)} are float: they have no quantizer`,
    {
      ...locOf(op),
      notes: around(n, weight, op) ?? [],
      fixes: [
        quantized
          ? "quantize the weights per tensor or per output channel"
          : "export with quantized weights (int8 initializer and DequantizeLinear, or QuantizeLinear after the float weight)",
      ],
    },
  );

/** Convolution needs constant weights: here they are computed, or an input. */
export const computedWeights = (n: Neighbours, op: Op, weight: Value): Diagnostic =>
  diagnostic("error", "QC2155", `the weights of ${onnxName(op)} are no constant: they depend on the inputs`, {
    ...locOf(op),
    notes: around(n, weight, op) ?? [],
    fixes: [
      "export with the weights as an initializer",
      "multiply two tensors by MatMul or Einsum, which take them",
    ],
  });

/** Windows slide along one or two axes. */
export const manySpatialAxes = (op: Op, axes: number): Diagnostic =>
  diagnostic(
    "error",
    "QC2156",
    `${onnxName(op)} slides over ${axes} axes; integer kernels slide over one or two`,
    {
      ...locOf(op),
      fixes: [
        "reshape so that it slides over two axes, if the kernel has size 1 along the others",
        "cut the graph around it",
      ],
    },
  );

export const notUniform = (n: Neighbours, op: Op, operand: Value): Diagnostic =>
  within(n, op, operand)
    ? noQuantizer(n, op, operand, undefined)
    : diagnostic(
        "error",
        "QC2103",
        `${onnxName(op)} needs one scale and an integer zero point for the whole input tensor`,
        {
          ...locOf(op),
          tensor: operand.name,
          notes: around(n, operand, op) ?? [],
          fixes: [`quantize the input of ${onnxName(op)} per tensor`],
        },
      );

export const paddingOffGrid = (op: Op, operand: string): Diagnostic =>
  diagnostic(
    "error",
    "QC2104",
    `${onnxName(op)} pads with a value that the grid of ${quote(operand)} cannot represent`,
    {
      ...locOf(op),
      fixes: [
        "quantize the input so that the padding value is exactly representable (for zero: an integer zero point within its range)",
      ],
    },
  );

export const zeroPointPerChannel = (op: Op): Diagnostic =>
  diagnostic(
    "error",
    "QC2105",
    `${onnxName(op)} quantizes an activation with parameters that differ per channel in a way no single integer map expresses`,
    {
      ...locOf(op),
      fixes: ["use one zero point for all channels, along the axis of the producer's channels"],
    },
  );

export const inputQuantizerForm = (op: Op, input: string): Diagnostic =>
  diagnostic(
    "error",
    "QC2106",
    `the quantizer of graph input ${quote(input)} must be per tensor, with at most 256 levels unless it is a plain QuantizeLinear of the input itself`,
    locOf(op),
  );

export const floatOutput = (n: Neighbours, name: string, v: Value): Diagnostic => {
  const op = n.definition(v);
  return diagnostic(
    "error",
    "QC2107",
    `graph output ${quote(name)} is computed in float after the last quantizer`,
    {
      ...(op ? locOf(op) : {}),
      tensor: v.name,
      notes: around(n, v, undefined) ?? [],
      fixes: [
        `add a quantizer at the output`,
        `cut the graph before ${op ? onnxName(op) : "it"} and compute the rest outside`,
      ],
    },
  );
};

export const accumulatorTooWide = (op: Op, min: number, max: number): Diagnostic =>
  diagnostic(
    "error",
    "QC3001",
    `the accumulator of ${onnxName(op)} can reach ${min} … ${max}, more than 32 bits`,
    {
      ...locOf(op),
      fixes: ["use narrower activations or weights, or split the layer"],
    },
  );

/** Unsigned integers of 32 bits that use the upper half of them. */
export const unsignedTooWide = (op: Op, reached: number): Diagnostic =>
  diagnostic(
    "error",
    "QC3004",
    `the integers of ${onnxName(op)} can reach ${reached}; kernels hold them in signed 32 bits`,
    {
      ...locOf(op),
      fixes: ["quantize to 31 bits or fewer, or with a coarser scale"],
    },
  );

export const tableUndecided = (op: Op, at: number, near: number): Diagnostic =>
  diagnostic(
    "error",
    "QC3002",
    `the table entry for input ${at} lies too close to a rounding boundary to be decided (value ≈ ${near})`,
    {
      ...locOf(op),
      fixes: ["change the scale of the output quantizer by one unit in the last place"],
    },
  );

/** No integer multiply, add and shift equals the exact map. */
export const notCertified = (
  op: Op,
  channel: number,
  a: readonly number[],
  expected: number,
  got: number | null,
  reason: string,
): Diagnostic =>
  diagnostic("error", "QC3003", `no integer rescale equals ${onnxName(op)} exactly: ${reason}`, {
    ...locOf(op),
    notes: [
      {
        label: "witness",
        text: `channel ${channel}, accumulator ${a.join(", ")}: exact ${expected}${got === null ? "" : `, best integer form ${got}`}`,
      },
    ],
    ...(a.length > 1 && {
      fixes: ["add a quantizer to the parts of the sum: each then has one float32 scale"],
    }),
  });

/** The op is exact in the integer graph, but no kernel family runs it yet. */
export const noKernel = (op: Op): Diagnostic =>
  diagnostic(
    "error",
    "QC2110",
    `no integer kernel for ${op.name}${op.operands[0] ? ` on ${typeText(op.operands[0].type)}` : ""} yet`,
    {
      ...locOf(op),
      fixes: ["run it with the reference interpreter (qc run), or cut the graph around it"],
    },
  );

/** Weights of a product that its kernels cannot hold. */
export const wideWeights = (op: Op, weights: Value): Diagnostic =>
  diagnostic("error", "QC2114", "no integer kernel for weights of more than 16 bits yet", {
    ...locOf(op),
    tensor: weights.name,
    notes: [{ label: "weights", text: typeText(weights.type) }],
    fixes: [
      "quantize the weights to 16 bits or fewer",
      "run it with the reference interpreter (qc run), or cut the graph around it",
    ],
  });

/** A constant that no exact arithmetic can hold. */
export const constantNotFinite = (op: Op, index: number, value: number): Diagnostic =>
  diagnostic("error", "QC2109", `a constant holds ${value}, which is no real number`, {
    loc: op.loc ?? { kind: "tensor", name: op.results[0]!.name },
    notes: [{ label: "element", text: String(index) }],
    fixes: ["replace it by a finite number, or train and export the model again"],
  });

/** A curve over more integers than a table covers, or a softmax over wider ones than it takes. */
export const inputTooWide = (n: Neighbours, op: Op, operand: Value, bits: number): Diagnostic =>
  diagnostic(
    "error",
    "QC2108",
    `${onnxName(op)} reads ${bits}-bit integers; its integer form takes at most 16 bits`,
    {
      ...locOf(op),
      notes: around(n, operand, op) ?? [],
      fixes: [`quantize the input of ${onnxName(op)} to 8 or 16 bits`],
    },
  );

/** Float weights turned out to be multiples of one number per channel. `off`: greatest distance in steps. */
export const gridRecovered = (op: Op, tensor: string, type: QuantType, off: number): Diagnostic =>
  diagnostic(
    "warning",
    "QC2140",
    `the float weights ${quote(tensor)} of ${onnxName(op)} lie on a grid and are taken as integers`,
    {
      ...locOf(op),
      notes: [
        { label: "grid", text: quantText(type) },
        { label: "furthest", text: `${short(off)} steps off, rounding of float32 arithmetic` },
      ],
      fixes: ["export the weights as integers with a DequantizeLinear to state the grid"],
    },
  );

/** A normalization or softmax whose result no 32-bit arithmetic brings within half a step of the real one. */
export const noBoundedForm = (op: Op, reason: string): Diagnostic =>
  diagnostic("error", "QC2112", `${onnxName(op)} has no integer form within its error bound: ${reason}`, {
    ...locOf(op),
    fixes: [`cut the graph around ${onnxName(op)} and compute it outside`],
  });

/** Values that are only within a bound anyway go on without a quantizer of the file's own. */
export const takenToGrid = (n: Neighbours, op: Op, operand: Value, bits: number): Diagnostic =>
  diagnostic(
    "warning",
    "QC2113",
    `${onnxName(op)} reads a normalization that has no quantizer behind it; its values are rounded to multiples of 2^${-bits}`,
    {
      ...locOf(op),
      notes: around(n, operand, op) ?? [],
      fixes: [`to choose the grid yourself, add an activation quantizer before ${onnxName(op)}`],
    },
  );

/** `--quant` with something else than tensor=type@scale,zero. */
export const badGrid = (text: string): Diagnostic =>
  diagnostic("error", "QC2141", `${quote(text)} is not a grid`, {
    fixes: [
      "write tensor=u8@scale or tensor=i4@scale,zero: 1 to 32 bits, a positive scale, a zero point of the type",
    ],
  });

/** `--quant` for a tensor that does not exist, or is no float. */
export const unknownGridTensor = (tensor: string, known: readonly string[]): Diagnostic =>
  diagnostic("error", "QC2142", `there is no float tensor ${quote(tensor)} to put on a grid`, {
    loc: { kind: "tensor", name: tensor },
    notes: [
      {
        label: "tensors",
        text: known
          .filter((k) => k !== "")
          .slice(0, 8)
          .map((k) => quote(k))
          .join(", "),
      },
    ],
    fixes: ["take the name from the message that asks for the grid, or from the ONNX file"],
  });

/** Bounds of a quantizer put zero next to a level, not on it. `off`: how far, in steps. */
export const zeroPointSnapped = (loc: Loc, tensor: string, off: number): Diagnostic =>
  diagnostic(
    "warning",
    "QC2143",
    `the bounds ${quote(tensor)} put zero ${short(off)} steps beside an integer, which is taken as the zero point`,
    { loc, fixes: ["give bounds of which zero is a level: lo = -zero * (hi - lo) / (levels - 1)"] },
  );

/** Calibration did not reach a tensor: its readers would compute on no data. */
export const notCalibrated = (tensor: string): Diagnostic =>
  diagnostic("error", "QC2144", `calibration has no finite values of ${quote(tensor)}`, {
    loc: { kind: "tensor", name: tensor },
    fixes: ["give inputs on which the model computes finite numbers, or a grid: --quant"],
  });

/** A grid that calibration chose, as `--quant` takes it. */
export const gridChosen = (grid: string): Diagnostic =>
  diagnostic("note", "QC2145", `calibrated grid ${quote(grid)}`, {
    fixes: [`to pin it: --quant ${plain(grid)}`],
  });
