/** The ops of the `float` and `layout` dialects as ONNX operators. A row per op: data first. */
import type { Attrs } from "../../ir/module.ts";
import type { TensorType } from "../../ir/types.ts";

/** An input that ONNX wants as a tensor and the IR has as an attribute. `like`: of the first operand's type. */
export type Extra =
  | { readonly kind: "int64"; readonly role: string; readonly values: readonly number[] }
  | { readonly kind: "float32"; readonly role: string; readonly values: readonly number[] }
  | { readonly kind: "like"; readonly role: string; readonly value: number }
  | { readonly kind: "none" };

export interface OperatorRow {
  /** The operator of the standard domain. */
  readonly op: string;
  /** First opset that has it in this form; 21 at least, where quantizers have 16 bits. */
  readonly since?: number;
  /** Attributes by their name in ONNX: the name in the IR, if it differs, and the kind. */
  readonly attributes?: { readonly [name: string]: readonly [from: string, kind: AttributeKind] };
  readonly extras?: (attrs: Attrs, x: TensorType) => readonly Extra[];
  /** onnxruntime computes it in float64, too. */
  readonly wide?: true;
  /** Type of the result, where it is not that of the operands. */
  readonly result?: "int64" | "float32";
}

export type AttributeKind = "float" | "int" | "ints" | "flag" | "string";

const ints = (role: string, values: readonly number[]): Extra => ({ kind: "int64", role, values });
const list = (attrs: Attrs, name: string): readonly number[] => attrs[name] as readonly number[];
const listed =
  (name: string) =>
  (attrs: Attrs): readonly Extra[] => [ints(name, list(attrs, name))];

const bound = (role: string, value: number): Extra =>
  Number.isFinite(value) ? { kind: "like", role, value } : { kind: "none" };

const LEAST = -(2 ** 63);

/** Past index 0, where counting from the end would start over. */
const pastFirst = (end: number): number => (end < 0 ? LEAST : end);

const WINDOW = {
  strides: ["strides", "ints"],
  pads: ["pads", "ints"],
  dilations: ["dilations", "ints"],
} as const;
const ALPHA = { alpha: ["alpha", "float"] } as const;
const REDUCTION: Pick<OperatorRow, "attributes" | "extras" | "wide"> = {
  attributes: { keepdims: ["keepdims", "flag"] },
  extras: listed("axes"),
  wide: true,
};

export const OPERATORS: { readonly [op: string]: OperatorRow } = {
  "float.add": { op: "Add", wide: true },
  "float.sub": { op: "Sub", wide: true },
  "float.mul": { op: "Mul", wide: true },
  "float.div": { op: "Div", wide: true },
  "float.pow": { op: "Pow", wide: true },
  "float.min": { op: "Min", wide: true },
  "float.max": { op: "Max", wide: true },
  "float.prelu": { op: "PRelu" },
  "float.neg": { op: "Neg", wide: true },
  "float.abs": { op: "Abs", wide: true },
  "float.sqrt": { op: "Sqrt", wide: true },
  "float.reciprocal": { op: "Reciprocal", wide: true },
  "float.exp": { op: "Exp", wide: true },
  "float.log": { op: "Log", wide: true },
  "float.erf": { op: "Erf" },
  "float.sigmoid": { op: "Sigmoid", wide: true },
  "float.tanh": { op: "Tanh", wide: true },
  "float.softplus": { op: "Softplus" },
  "float.softsign": { op: "Softsign" },
  "float.relu": { op: "Relu", wide: true },
  "float.floor": { op: "Floor", wide: true },
  "float.ceil": { op: "Ceil", wide: true },
  "float.round": { op: "Round", wide: true },
  "float.sign": { op: "Sign", wide: true },
  "float.sin": { op: "Sin" },
  "float.cos": { op: "Cos" },
  "float.asin": { op: "Asin" },
  "float.acos": { op: "Acos" },
  "float.atan": { op: "Atan" },
  "float.sinh": { op: "Sinh" },
  "float.asinh": { op: "Asinh" },
  "float.acosh": { op: "Acosh" },
  "float.atanh": { op: "Atanh" },
  "float.hard_swish": { op: "HardSwish" },
  "float.mish": { op: "Mish" },
  "float.silu": { op: "Swish", since: 24 },
  "float.gelu": { op: "Gelu", attributes: { approximate: ["approximate", "string"] } },
  "float.clip": {
    op: "Clip",
    extras: ({ lo, hi }) => [bound("min", lo as number), bound("max", hi as number)],
    wide: true,
  },
  "float.leaky_relu": { op: "LeakyRelu", attributes: ALPHA },
  "float.elu": { op: "Elu", attributes: ALPHA },
  "float.selu": { op: "Selu", attributes: { ...ALPHA, gamma: ["gamma", "float"] } },
  "float.celu": { op: "Celu", attributes: ALPHA },
  "float.thresholded_relu": { op: "ThresholdedRelu", attributes: ALPHA },
  "float.hard_sigmoid": { op: "HardSigmoid", attributes: { ...ALPHA, beta: ["beta", "float"] } },
  "float.conv": { op: "Conv", attributes: { ...WINDOW, group: ["groups", "int"] } },
  "float.conv_transpose": {
    op: "ConvTranspose",
    attributes: { ...WINDOW, group: ["groups", "int"], output_padding: ["output_padding", "ints"] },
  },
  "quant.dequantize_blocks": {
    op: "DequantizeLinear",
    attributes: { axis: ["axis", "int"], block_size: ["block", "int"] },
    since: 21,
    result: "float32",
  },
  "float.matmul": { op: "MatMul", wide: true },
  "float.max_pool": {
    op: "MaxPool",
    attributes: { kernel_shape: ["kernel", "ints"], ...WINDOW, ceil_mode: ["ceil_mode", "flag"] },
  },
  "float.average_pool": {
    op: "AveragePool",
    attributes: {
      kernel_shape: ["kernel", "ints"],
      strides: ["strides", "ints"],
      pads: ["pads", "ints"],
      ceil_mode: ["ceil_mode", "flag"],
      count_include_pad: ["count_include_pad", "flag"],
    },
  },
  "float.interpolate": {
    op: "Resize",
    attributes: {
      mode: ["mode", "string"],
      coordinate_transformation_mode: ["coordinates", "string"],
      cubic_coeff_a: ["coefficient", "float"],
      exclude_outside: ["exclude", "flag"],
    },
    extras: (attrs, x) => {
      const scales = list(attrs, "scales");
      const axes = list(attrs, "axes");
      const size = (d: number, i: number) => (axes.includes(i) ? list(attrs, "sizes")[axes.indexOf(i)]! : d);
      return scales.length > 0
        ? [{ kind: "none" }, { kind: "float32", role: "scales", values: scales }]
        : [{ kind: "none" }, { kind: "none" }, ints("sizes", x.shape.map(size))];
    },
  },
  "float.reduce_mean": { op: "ReduceMean", ...REDUCTION },
  "float.reduce_sum": { op: "ReduceSum", ...REDUCTION },
  "float.reduce_max": { op: "ReduceMax", ...REDUCTION },
  "float.reduce_min": { op: "ReduceMin", ...REDUCTION },
  "float.arg_max": {
    op: "ArgMax",
    attributes: { axis: ["axis", "int"], select_last_index: ["last", "flag"] },
    result: "int64",
  },
  "float.softmax": { op: "Softmax", attributes: { axis: ["axis", "int"] }, wide: true },
  "layout.reshape": { op: "Reshape", extras: listed("shape"), wide: true },
  "layout.transpose": { op: "Transpose", attributes: { perm: ["perm", "ints"] }, wide: true },
  "layout.slice": {
    op: "Slice",
    extras: (attrs) => [
      ints("starts", list(attrs, "starts")),
      ints("ends", list(attrs, "ends").map(pastFirst)),
      ints("axes", list(attrs, "axes")),
      ints("steps", list(attrs, "steps")),
    ],
    wide: true,
  },
  "layout.gather": {
    op: "Gather",
    attributes: { axis: ["axis", "int"] },
    extras: listed("indices"),
    wide: true,
  },
  "layout.pad": {
    op: "Pad",
    attributes: { mode: ["mode", "string"] },
    extras: (attrs) => [
      ints("pads", [...list(attrs, "before"), ...list(attrs, "after")]),
      ...(attrs.mode === "constant"
        ? [{ kind: "like", role: "value", value: attrs.value as number } as const]
        : []),
    ],
    wide: true,
  },
  "layout.expand": { op: "Expand", extras: listed("shape"), wide: true },
  "layout.tile": { op: "Tile", extras: listed("repeats"), wide: true },
  "layout.concat": { op: "Concat", attributes: { axis: ["axis", "int"] }, wide: true },
};
