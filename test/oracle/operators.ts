/** Arithmetic operators: for each ONNX operator its exact (or bounded) meaning. */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { floatOf, intOf, intsOf, stringOf } from "./attributes.ts";
import { einsum } from "./einsum.ts";
import { broadcast, broadcastShape, gather, reshape } from "./gather.ts";
import * as approx from "./irrational.ts";
import {
  addReals,
  convReals,
  divideReals,
  matmulReals,
  matmulShapes,
  multiplyReals,
  negateReal,
  reciprocalReal,
  scaleReal,
  subtractReals,
} from "./linear.ts";
import { literalBinary, literalUnary } from "./literal.ts";
import { listOf, MOVERS, normalizeAxis } from "./move.ts";
import {
  add,
  floor,
  fromNumber,
  multiply,
  negate,
  ONE,
  type Rational,
  rational,
  roundHalfEven,
  sqrt,
  ZERO,
} from "./rational.ts";
import { resize } from "./resize.ts";
import { clip, extreme, rectify, reduceExtreme, signs, step } from "./select.ts";
import {
  type ApproxTensor,
  exactAt,
  type IntTensor,
  ints,
  literals,
  type RealTensor,
  reals,
  scalar,
  sizeOf,
  type Tensor,
  toReal,
} from "./tensor.ts";
import { convTransposeReals } from "./transposed.ts";
import {
  averagePool,
  convGeometry,
  groupIndex,
  maxPool,
  reduce,
  reducedShape,
  spatialShape,
  windowOf,
} from "./window.ts";

export interface Context {
  /** Version of the standard operator set. */
  readonly opset: number;
  /** Whether no input depends on a graph input: then float literals are computed with in their own precision. */
  readonly constant: boolean;
}

type Inputs = readonly (Tensor | undefined)[];
type Operator = (node: OnnxNode, inputs: Inputs, context: Context) => readonly Tensor[];

const exact = (tensor: Tensor | undefined): RealTensor => {
  if (tensor === undefined) throw new Error("an input is missing");
  if (tensor.kind === "approx") throw new Error("an exact input is needed here");
  return toReal(tensor);
};

const firstOf = (tensor: Tensor): Rational => exactAt(exact(tensor).terms(), 0);
const f32 = (value: number): Rational => fromNumber(Math.fround(value));

const INTEGER: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => Math.trunc(a / b),
};

const REAL: Readonly<Record<string, (a: RealTensor, b: RealTensor) => RealTensor>> = {
  Add: addReals,
  Sub: subtractReals,
  Mul: multiplyReals,
  Div: divideReals,
};

function integerBinary(op: string, a: IntTensor, b: IntTensor): IntTensor {
  const shape = broadcastShape(a.shape, b.shape);
  const y = broadcast(b, shape).data;
  return ints(
    a.dtype,
    shape,
    broadcast(a, shape).data.map((value, i) => INTEGER[op]!(value, y[i]!)),
  );
}

const mapInts = (x: IntTensor, f: (v: number) => number): IntTensor =>
  ints(
    x.dtype,
    x.shape,
    x.data.map((v) => f(v) + 0),
  );

const binary =
  (op: approx.BinaryOp): Operator =>
  (_, [a, b], { constant }) => {
    if (a === undefined || b === undefined) throw new Error("two operands are needed");
    if (a.kind === "int" && b.kind === "int" && op !== "Pow") return [integerBinary(op, a, b)];
    const folded = constant ? literalBinary(op, a, b) : undefined;
    if (folded !== undefined) return [folded];
    if (a.kind === "approx" || b.kind === "approx") return [approx.binary(op, a, b)];
    if (op !== "Pow") return [REAL[op]!(toReal(a), toReal(b))];
    const exponent = sizeOf(b.shape) === 1 ? firstOf(b) : undefined;
    const times = exponent?.den === 1n && exponent.num >= 1n && exponent.num <= 8n ? Number(exponent.num) : 0;
    if (times === 0) return [approx.binary(op, a, b)];
    let power = toReal(a);
    for (let i = 1; i < times; i++) power = multiplyReals(power, toReal(a));
    return [reshape(power, broadcastShape(a.shape, b.shape))];
  };

const extremeOf =
  (pick: "max" | "min"): Operator =>
  (_, inputs) => [(inputs as readonly Tensor[]).reduce((a, b) => extreme(a, b, pick))];

function clipTo(node: OnnxNode, inputs: Inputs): readonly Tensor[] {
  const limit = (i: 1 | 2, name: string): Rational | undefined => {
    const given = inputs[i];
    const attribute = floatOf(node, name);
    if (given === undefined) return attribute === undefined ? undefined : finite(attribute);
    if (given.kind === "real" && given.literal !== undefined) return finite(given.literal[0]!);
    return firstOf(given);
  };
  const finite = (value: number) => (Number.isFinite(value) ? fromNumber(value) : undefined);
  const [lo, hi] = [limit(1, "min"), limit(2, "max")];
  const x = inputs[0]!;
  if (x.kind !== "int") return [clip(x, lo, hi)];
  const least = lo === undefined ? -Infinity : Number(lo.num);
  const most = hi === undefined ? Infinity : Number(hi.num);
  return [
    ints(
      x.dtype,
      x.shape,
      x.data.map((v) => Math.min(Math.max(v, least), most)),
    ),
  ];
}

const affineClip = (x: RealTensor, alpha: Rational, beta: Rational): Tensor =>
  clip(addReals(scaleReal(x, alpha), scalar(beta)), ZERO, ONE);

/** max(x, 0) + slope · min(x, 0). */
function leak(x: RealTensor, slope: RealTensor): RealTensor {
  const positive = rectify(x) as RealTensor;
  return addReals(positive, multiplyReals(subtractReals(x, positive), slope));
}

const perChannel = (tensor: RealTensor, rank: number): RealTensor => ({
  ...tensor,
  shape: [1, tensor.shape[0]!, ...new Array<number>(Math.max(rank - 2, 0)).fill(1)],
});

/** (x − mean) · k + beta with k = gamma / √(variance + ε), the nearest float64 per channel. */
function batchNorm(node: OnnxNode, inputs: Inputs): readonly Tensor[] {
  const [x, gamma, beta, mean, variance] = inputs.map(exact) as [
    RealTensor,
    RealTensor,
    RealTensor,
    RealTensor,
    RealTensor,
  ];
  const epsilon = f32(floatOf(node, "epsilon") ?? 1e-5);
  const k = Float64Array.from({ length: gamma.shape[0]! }, (_, c) => {
    const g = exactAt(gamma.terms(), c);
    const radicand = add(exactAt(variance.terms(), c), epsilon);
    const square = multiply(multiply(g, g), rational(radicand.den, radicand.num));
    return g.num < 0n ? -sqrt(square) : sqrt(square);
  });
  const rank = x.shape.length;
  const centred = subtractReals(x, perChannel(mean, rank));
  const scaled = multiplyReals(centred, perChannel(literals([k.length], k), rank));
  return [addReals(scaled, perChannel(beta, rank))];
}

const alongChannels = (v: Tensor, { length }: readonly number[]): Tensor =>
  reshape(v, [sizeOf(v.shape), ...new Array<number>(length - 2).fill(1)]);

/** Layer normalization of each of `groups` runs of channels, then the gain and the bias. */
function groupNorm(node: OnnxNode, x: Tensor, groups: number, gain: Tensor, bias: Tensor): Tensor {
  const rows = reshape(x, [x.shape[0]!, groups, sizeOf(x.shape) / x.shape[0]! / groups]);
  const epsilon = Math.fround(floatOf(node, "epsilon") ?? 1e-5);
  const unit = reshape(approx.layerNorm(rows, 2, epsilon, scalar(ONE), undefined), x.shape);
  return approx.binary("Add", approx.binary("Mul", unit, gain), bias);
}

/** x / √(mean of x² + ε) over the last axes, times the gain. */
function rmsNorm(node: OnnxNode, [x, gain]: Inputs): readonly Tensor[] {
  const axis = normalizeAxis(intOf(node, "axis") ?? -1, x!.shape.length);
  const axes = x!.shape.map((_, d) => d).slice(axis);
  const square = approx.binary("Mul", x!, x!);
  const mean = approx.reduceApprox(square, axes, true, true);
  const radicand = approx.binary("Add", mean, scalar(f32(floatOf(node, "epsilon") ?? 1e-5)));
  const unit = approx.binary("Div", x!, approx.irrational("Sqrt", radicand));
  return [approx.binary("Mul", unit, gain!)];
}

function conv(node: OnnxNode, inputs: Inputs): readonly Tensor[] {
  const [x, w] = [exact(inputs[0]), exact(inputs[1])];
  const window = windowOf(node, x.shape, w.shape.slice(2));
  const product = convReals(
    { ...x, shape: spatialShape(x.shape) },
    { ...w, shape: spatialShape(w.shape) },
    convGeometry(window, node),
  );
  const [n, c, h, width] = product.shape as [number, number, number, number];
  const y: RealTensor = { ...product, shape: x.shape.length === 3 ? [n, c, width] : [n, c, h, width] };
  return [inputs[2] === undefined ? y : addReals(y, perChannel(exact(inputs[2]), x.shape.length))];
}

function convTranspose(node: OnnxNode, inputs: Inputs): readonly Tensor[] {
  const [x, w] = [exact(inputs[0]), exact(inputs[1])];
  const y = convTransposeReals(node, x, w);
  return [inputs[2] === undefined ? y : addReals(y, perChannel(exact(inputs[2]), x.shape.length))];
}

function matmul(a: Tensor, b: Tensor): Tensor {
  if (a.kind !== "approx" && b.kind !== "approx") return matmulReals(toReal(a), toReal(b));
  const { left, right, batch, m, n, shape } = matmulShapes(a.shape, b.shape);
  return reshape(approx.matmulApprox(reshape(a, left), reshape(b, right), [...batch, m, n]), shape);
}

function gemm(node: OnnxNode, inputs: Inputs): readonly Tensor[] {
  const turn = (x: Tensor, transposed: boolean): Tensor => {
    if (!transposed) return x;
    const [rows, columns] = x.shape as [number, number];
    const index = Int32Array.from(
      { length: rows * columns },
      (_, i) => (i % rows) * columns + Math.floor(i / rows),
    );
    return gather(x, index, [columns, rows]);
  };
  const product = matmul(
    turn(inputs[0]!, intOf(node, "transA") === 1),
    turn(inputs[1]!, intOf(node, "transB") === 1),
  );
  const [alpha, beta] = [f32(floatOf(node, "alpha") ?? 1), f32(floatOf(node, "beta") ?? 1)];
  const c = inputs[2];
  if (product.kind === "approx") {
    const scaled = approx.binary("Mul", product, scalar(alpha));
    return [c === undefined ? scaled : approx.binary("Add", scaled, approx.binary("Mul", c, scalar(beta)))];
  }
  const scaled = scaleReal(toReal(product), alpha);
  return [c === undefined ? scaled : addReals(scaled, scaleReal(exact(c), beta))];
}

/** Normalised axes of a reduction; undefined when it does nothing. */
function axesOf(node: OnnxNode, inputs: Inputs): number[] | undefined {
  const { shape } = inputs[0]!;
  const given = listOf(node, inputs, 1, "axes");
  if (given?.length) return given.map((axis) => normalizeAxis(axis, shape.length));
  return intOf(node, "noop_with_empty_axes") === 1 ? undefined : shape.map((_, d) => d);
}

const keepsAxes = (node: OnnxNode): boolean => (intOf(node, "keepdims") ?? 1) === 1;

const reduction =
  (mean: boolean): Operator =>
  (node, inputs) => {
    const x = inputs[0]!;
    const axes = axesOf(node, inputs);
    const keep = keepsAxes(node);
    if (axes === undefined) return [x];
    return [
      x.kind === "approx" ? approx.reduceApprox(x, axes, keep, mean) : reduce(toReal(x), axes, keep, mean),
    ];
  };

const reduceTo =
  (pick: "max" | "min"): Operator =>
  (node, inputs) => {
    const x = inputs[0]!;
    const axes = axesOf(node, inputs);
    if (axes === undefined) return [x];
    if (x.kind === "approx") throw new Error("an exact input is needed here");
    const shape = reducedShape(x.shape, axes, keepsAxes(node));
    return [reduceExtreme(x, groupIndex(x.shape, axes), shape, pick)];
  };

const softmaxOf =
  (log: boolean): Operator =>
  (node, [x], { opset }) => {
    const rank = x!.shape.length;
    const axis = normalizeAxis(intOf(node, "axis") ?? (opset < 13 ? 1 : -1), rank);
    const axes = opset < 13 ? x!.shape.map((_, d) => d).slice(axis) : [axis];
    return [approx.softmax(x!, axes, log)];
  };

const pool =
  (evaluate: (x: Exclude<Tensor, ApproxTensor>, node: OnnxNode) => Tensor): Operator =>
  (node, [x]) => {
    if (x === undefined || x.kind === "approx") throw new Error("a pool needs an exact input");
    return [evaluate(x, node)];
  };

const global = (node: OnnxNode, [x]: Inputs, context: Context) =>
  reduction(true)({ ...node, attributes: new Map() }, [x, spatialAxes(x!)], context);

const spatialAxes = (x: Tensor): IntTensor => {
  const axes = Float64Array.from(x.shape.keys()).slice(2);
  return ints("int64", [axes.length], axes);
};

export const OPERATORS: Readonly<Record<string, Operator>> = {
  Add: binary("Add"),
  Sub: binary("Sub"),
  Mul: binary("Mul"),
  Div: binary("Div"),
  Pow: binary("Pow"),
  Max: extremeOf("max"),
  Min: extremeOf("min"),
  Sum: (node, inputs, context) => [
    (inputs as readonly Tensor[]).reduce((a, b) => binary("Add")(node, [a, b], context)[0]!),
  ],
  Neg: (_, [x]) => [x!.kind === "int" ? mapInts(x!, (v) => -v) : negateReal(exact(x))],
  Abs: (_, [x]) => [x!.kind === "int" ? mapInts(x!, Math.abs) : rectify(exact(x), rational(-1n))],
  Sign: (_, [x]) => [
    reals(x!.shape, [{ num: Float64Array.from(signs(exact(x))), units: [ONE], index: undefined }]),
  ],
  Reciprocal: (_, [x]) => [
    x!.kind === "approx" ? approx.binary("Div", scalar(ONE), x!) : reciprocalReal(exact(x)),
  ],
  Relu: (_, [x]) => [x!.kind === "approx" ? extreme(x!, scalar(ZERO), "max") : rectify(x!)],
  LeakyRelu: (node, [x]) => [rectify(exact(x), f32(floatOf(node, "alpha") ?? 0.01))],
  PRelu: (_, [x, slope]) => [leak(exact(x), exact(slope))],
  ThresholdedRelu: (node, [x]) => {
    const alpha = f32(floatOf(node, "alpha") ?? 1);
    const above = signs(subtractReals(exact(x), scalar(alpha)));
    return [
      gather(
        x!,
        Int32Array.from(above, (s, i) => (s > 0 ? i : -1)),
        x!.shape,
      ),
    ];
  },
  Clip: clipTo,
  HardSigmoid: (node, [x]) => [
    affineClip(exact(x), f32(floatOf(node, "alpha") ?? 0.2), f32(floatOf(node, "beta") ?? 0.5)),
  ],
  HardSwish: (_, [x]) => {
    const gate = affineClip(exact(x), rational(1n, 6n), rational(1n, 2n));
    return [multiplyReals(exact(x), exact(gate))];
  },
  Softsign: (_, [x]) => [
    divideReals(exact(x), addReals(exact(rectify(exact(x), rational(-1n))), scalar(ONE))),
  ],
  Floor: (_, [x]) => [step(exact(x), floor)],
  Ceil: (_, [x]) => [step(exact(x), (v) => -floor(negate(v)))],
  Round: (_, [x]) => [step(exact(x), roundHalfEven)],
  Celu: (node, [x]) => [approx.celu(x!, Math.fround(floatOf(node, "alpha") ?? 1))],
  Elu: (node, [x]) => [approx.elu(x!, Math.fround(floatOf(node, "alpha") ?? 1), 1)],
  Selu: (node, [x]) => [
    approx.elu(
      x!,
      floatOf(node, "alpha") ?? 1.6732632423543772,
      floatOf(node, "gamma") ?? 1.0507009873554805,
    ),
  ],
  Gelu: (node, [x]) => {
    return [stringOf(node, "approximate") === "tanh" ? approx.geluTanh(x!) : approx.irrational("Gelu", x!)];
  },
  Swish: (node, [x]) => [approx.swish(x!, Math.fround(floatOf(node, "alpha") ?? 1))],
  QuickGelu: (node, [x]) => [approx.swish(x!, Math.fround(floatOf(node, "alpha") ?? 1.702))],
  FastGelu: (_, [x, bias]) => [approx.geluTanh(bias === undefined ? x! : approx.binary("Add", x!, bias))],
  Softmax: softmaxOf(false),
  LogSoftmax: softmaxOf(true),
  LayerNormalization: (node, [x, gain, bias]) => [
    approx.layerNorm(
      x!,
      normalizeAxis(intOf(node, "axis") ?? -1, x!.shape.length),
      Math.fround(floatOf(node, "epsilon") ?? 1e-5),
      gain!,
      bias,
    ),
  ],
  RMSNormalization: rmsNorm,
  SimplifiedLayerNormalization: rmsNorm,
  InstanceNormalization: (node, [x, gain, bias]) => {
    const { shape } = x!;
    return [groupNorm(node, x!, shape[1]!, alongChannels(gain!, shape), alongChannels(bias!, shape))];
  },
  GroupNormalization: (node, [x, gain, bias], { opset }) => {
    const { shape } = x!;
    const groups = intOf(node, "num_groups")!;
    // Up to opset 20, one number per group.
    const each = (v: Tensor): Tensor => {
      const spread = Int32Array.from({ length: shape[1]! }, (_, c) =>
        opset < 21 ? Math.floor((c * groups) / shape[1]!) : c,
      );
      return alongChannels(gather(v, spread, [shape[1]!]), shape);
    };
    return [groupNorm(node, x!, groups, each(gain!), each(bias!))];
  },
  BatchNormalization: batchNorm,
  Conv: conv,
  ConvTranspose: convTranspose,
  MatMul: (_, [a, b]) => [matmul(a!, b!)],
  Einsum: (node, inputs) => [
    einsum(
      node,
      inputs.map((x) => x!),
      matmul,
    ),
  ],
  Gemm: gemm,
  MaxPool: pool((x, node) =>
    maxPool(x, windowOf(node, x.shape, intsOf(node, "kernel_shape")!), intOf(node, "ceil_mode") === 1),
  ),
  AveragePool: pool((x, node) =>
    averagePool(
      toReal(x),
      windowOf(node, x.shape, intsOf(node, "kernel_shape")!),
      intOf(node, "ceil_mode") === 1,
      intOf(node, "count_include_pad") === 1,
    ),
  ),
  GlobalAveragePool: global,
  GlobalMaxPool: pool((x, node) => {
    const { strides, dilations, pads } = windowOf(node, x.shape, x.shape.slice(2));
    return maxPool(
      x,
      { kernel: spatialShape(x.shape).slice(2) as [number, number], strides, dilations, pads },
      false,
    );
  }),
  ReduceMax: reduceTo("max"),
  ReduceMin: reduceTo("min"),
  Resize: (node, inputs, { opset }) => [resize(node, inputs, opset)],
  Upsample: (node, inputs, { opset }) => [resize(node, inputs, opset)],
  Mean: (_, inputs) => {
    const total = inputs.map(exact).reduce(addReals);
    return [scaleReal(total, rational(1n, BigInt(inputs.length)))];
  },
  ReduceMean: reduction(true),
  ReduceSum: reduction(false),
  Shape: (node, [x]) => {
    const dims = x!.shape.slice(intOf(node, "start") ?? 0, intOf(node, "end"));
    return [ints("int64", [dims.length], Float64Array.from(dims))];
  },
  Size: (_, [x]) => [ints("int64", [], Float64Array.of(sizeOf(x!.shape)))],
};

/** The node's outputs; throws an Error that names what is not covered. */
export function evaluateNode(node: OnnxNode, inputs: Inputs, context: Context): readonly Tensor[] {
  if (node.domain === "" || node.domain === "com.microsoft") {
    const folded = context.constant && inputs[0] !== undefined ? literalUnary(node.op, inputs[0]) : undefined;
    if (folded !== undefined) return [folded];
    const operator = OPERATORS[node.op];
    if (operator !== undefined) return operator(node, inputs, context);
    if (approx.isIrrational(node.op)) return [approx.irrational(node.op, inputs[0]!)];
    const mover = MOVERS[node.op];
    if (mover !== undefined) return mover(node, inputs, inputs[0]!);
  }
  throw new Error(`operator ${node.domain === "" ? "" : `${node.domain}.`}${node.op} is not covered`);
}
