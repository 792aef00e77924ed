/**
 * A second evaluator of the exact semantics, as plain as can be: one BigInt rational per element, every operator
 * straight from its definition over coordinates. It exists to check the fast one on small graphs.
 */
import type { OnnxModel, OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { elements } from "../../compiler/frontend/onnx/tensor.ts";
import { floatOf, intOf, intsOf } from "./attributes.ts";
import type { Rational } from "./rational.ts";
import * as Q from "./rational.ts";

export interface SlowTensor {
  readonly shape: readonly number[];
  readonly values: readonly Rational[];
  /** Type of an integer tensor. */
  readonly dtype?: string;
  /** A float32 constant or graph input that was not computed with. */
  readonly literal?: boolean;
}

type At = readonly number[];

const size = (shape: At): number => shape.reduce((a, b) => a * b, 1);

function* coordinates(shape: At): Generator<number[]> {
  for (let flat = 0; flat < size(shape); flat++) {
    let rest = flat;
    const at: number[] = [];
    for (let d = shape.length - 1; d >= 0; d--) {
      at.unshift(rest % shape[d]!);
      rest = Math.floor(rest / shape[d]!);
    }
    yield at;
  }
}

const get = ({ shape, values }: SlowTensor, at: At): Rational =>
  values[at.reduce((flat, c, d) => flat * shape[d]! + c, 0)]!;

/** Element at `at` of a larger shape that the tensor is broadcast to. */
const getBroadcast = (tensor: SlowTensor, at: At): Rational => {
  const tail = at.slice(at.length - tensor.shape.length);
  return get(
    tensor,
    tail.map((c, d) => (tensor.shape[d] === 1 ? 0 : c)),
  );
};

const make = (shape: At, f: (at: number[]) => Rational): SlowTensor => ({
  shape,
  values: Array.from(coordinates(shape), f),
});

const map = (x: SlowTensor, f: (v: Rational) => Rational): SlowTensor => ({
  shape: x.shape,
  values: x.values.map(f),
});
const max = (a: Rational, b: Rational): Rational => (Q.compare(a, b) > 0 ? a : b);
const min = (a: Rational, b: Rational): Rational => (Q.compare(a, b) < 0 ? a : b);
const sum = (values: readonly Rational[]): Rational => values.reduce(Q.add, Q.ZERO);
const float = (value: number): Rational => Q.fromNumber(Math.fround(value));

function zip(a: SlowTensor, b: SlowTensor, f: (x: Rational, y: Rational) => Rational): SlowTensor {
  const rank = Math.max(a.shape.length, b.shape.length);
  const pad = (shape: At) => [...new Array<number>(rank - shape.length).fill(1), ...shape];
  const [x, y] = [pad(a.shape), pad(b.shape)];
  return make(
    x.map((dim, d) => Math.max(dim, y[d]!)),
    (at) => f(getBroadcast(a, at), getBroadcast(b, at)),
  );
}

const LIMITS: Readonly<Record<string, [bigint, bigint]>> = {
  uint8: [0n, 255n],
  int8: [-128n, 127n],
  uint16: [0n, 65535n],
  int16: [-32768n, 32767n],
  uint4: [0n, 15n],
  int4: [-8n, 7n],
};

function along(node: OnnxNode, shape: At, scale: SlowTensor, at: At): number {
  const axis = intOf(node, "axis") ?? 1;
  return scale.values.length === 1 ? 0 : at[axis < 0 ? axis + shape.length : axis]!;
}

function quantize(
  node: OnnxNode,
  x: SlowTensor,
  scale: SlowTensor,
  zero: SlowTensor | undefined,
): SlowTensor {
  const dtype = zero?.dtype ?? "uint8";
  const [lo, hi] = LIMITS[dtype]!;
  const result = make(x.shape, (at) => {
    const c = along(node, x.shape, scale, at);
    const quotient = Q.divide(get(x, at), scale.values[c]!);
    const rounded = Q.roundHalfEven(x.literal === true ? Q.fromNumber(Q.toFloat32(quotient)) : quotient);
    const q = rounded + (zero === undefined ? 0n : zero.values[c]!.num);
    return Q.rational(q < lo ? lo : q > hi ? hi : q);
  });
  return { ...result, dtype };
}

const dequantize = (
  node: OnnxNode,
  q: SlowTensor,
  scale: SlowTensor,
  zero: SlowTensor | undefined,
): SlowTensor =>
  make(q.shape, (at) => {
    const c = along(node, q.shape, scale, at);
    return Q.multiply(Q.subtract(get(q, at), zero?.values[c] ?? Q.ZERO), scale.values[c]!);
  });

/** Value at `at`, or `outside` for coordinates beyond the edges. */
const padded = (x: SlowTensor, at: At, outside: Rational): Rational =>
  at.every((c, d) => c >= 0 && c < x.shape[d]!) ? get(x, at) : outside;

function conv(node: OnnxNode, x: SlowTensor, w: SlowTensor, bias: SlowTensor | undefined): SlowTensor {
  const strides = intsOf(node, "strides") ?? [1, 1];
  const dilations = intsOf(node, "dilations") ?? [1, 1];
  const pads = intsOf(node, "pads") ?? [0, 0, 0, 0];
  const groups = intOf(node, "group") ?? 1;
  const [outputs, perGroup, kh, kw] = w.shape as [number, number, number, number];
  const extent = (axis: number, k: number) =>
    Math.floor(
      (x.shape[axis + 2]! + pads[axis]! + pads[axis + 2]! - dilations[axis]! * (k - 1) - 1) / strides[axis]!,
    ) + 1;
  return make([x.shape[0]!, outputs, extent(0, kh), extent(1, kw)], ([n, o, y, z]) => {
    const group = Math.floor(o! / (outputs / groups));
    const products = Array.from(coordinates([perGroup, kh, kw]), ([c, i, j]) => {
      const row = y! * strides[0]! + i! * dilations[0]! - pads[0]!;
      const column = z! * strides[1]! + j! * dilations[1]! - pads[1]!;
      return Q.multiply(
        padded(x, [n!, group * perGroup + c!, row, column], Q.ZERO),
        get(w, [o!, c!, i!, j!]),
      );
    });
    return Q.add(sum(products), bias?.values[o!] ?? Q.ZERO);
  });
}

function pool(node: OnnxNode, x: SlowTensor, average: boolean): SlowTensor {
  const kernel = intsOf(node, "kernel_shape")!;
  const strides = intsOf(node, "strides") ?? [1, 1];
  const pads = intsOf(node, "pads") ?? [0, 0, 0, 0];
  const includePad = intOf(node, "count_include_pad") === 1;
  const extent = (axis: number) =>
    Math.floor((x.shape[axis + 2]! + pads[axis]! + pads[axis + 2]! - kernel[axis]!) / strides[axis]!) + 1;
  return make([x.shape[0]!, x.shape[1]!, extent(0), extent(1)], ([n, c, y, z]) => {
    const taps = Array.from(coordinates(kernel), ([i, j]) => [
      n!,
      c!,
      y! * strides[0]! + i! - pads[0]!,
      z! * strides[1]! + j! - pads[1]!,
    ]).filter((at) => at.every((v, d) => v >= 0 && v < x.shape[d]!));
    const values = taps.map((at) => get(x, at));
    if (!average) return values.reduce(max);
    return Q.divide(sum(values), Q.rational(BigInt(includePad ? size(kernel) : values.length)));
  });
}

function matmul(a: SlowTensor, b: SlowTensor): SlowTensor {
  const k = a.shape.at(-1)!;
  const batch = zip(
    { shape: a.shape.slice(0, -2), values: new Array<Rational>(size(a.shape.slice(0, -2))).fill(Q.ZERO) },
    { shape: b.shape.slice(0, -2), values: new Array<Rational>(size(b.shape.slice(0, -2))).fill(Q.ZERO) },
    Q.add,
  ).shape;
  return make([...batch, a.shape.at(-2)!, b.shape.at(-1)!], (at) => {
    const [i, j] = at.slice(-2) as [number, number];
    const lead = at.slice(0, -2);
    return sum(
      Array.from({ length: k }, (_, l) =>
        Q.multiply(getBroadcast(a, [...lead, i, l]), getBroadcast(b, [...lead, l, j])),
      ),
    );
  });
}

const swap = (x: SlowTensor): SlowTensor => make([x.shape[1]!, x.shape[0]!], ([i, j]) => get(x, [j!, i!]));

function gemm(node: OnnxNode, a: SlowTensor, b: SlowTensor, c: SlowTensor | undefined): SlowTensor {
  const left = intOf(node, "transA") === 1 ? swap(a) : a;
  const right = intOf(node, "transB") === 1 ? swap(b) : b;
  const product = map(matmul(left, right), (v) => Q.multiply(v, float(floatOf(node, "alpha") ?? 1)));
  const beta = float(floatOf(node, "beta") ?? 1);
  return c === undefined ? product : zip(product, c, (x, y) => Q.add(x, Q.multiply(y, beta)));
}

function batchNorm(node: OnnxNode, [x, gamma, beta, mean, variance]: readonly SlowTensor[]): SlowTensor {
  const epsilon = float(floatOf(node, "epsilon") ?? 1e-5);
  return make(x!.shape, (at) => {
    const c = at[1]!;
    const g = gamma!.values[c]!;
    const inside = Q.divide(Q.multiply(g, g), Q.add(variance!.values[c]!, epsilon));
    const k = Q.fromNumber(Q.sqrt(inside) * (g.num < 0n ? -1 : 1));
    return Q.add(Q.multiply(Q.subtract(get(x!, at), mean!.values[c]!), k), beta!.values[c]!);
  });
}

function concat(tensors: readonly SlowTensor[], axis: number): SlowTensor {
  const shape = tensors[0]!.shape.map((dim, d) =>
    d === axis ? tensors.reduce((n, t) => n + t.shape[d]!, 0) : dim,
  );
  return make(shape, (at) => {
    let c = at[axis]!;
    for (const tensor of tensors) {
      if (c < tensor.shape[axis]!) return get(tensor, at.with(axis, c));
      c -= tensor.shape[axis]!;
    }
    throw new Error("beyond the last operand");
  });
}

const gate = (v: Rational, alpha: Rational, beta: Rational): Rational =>
  max(Q.ZERO, min(Q.ONE, Q.add(Q.multiply(v, alpha), beta)));

function step(node: OnnxNode, inputs: readonly SlowTensor[]): SlowTensor {
  const [x, y, z] = inputs as [SlowTensor, SlowTensor, SlowTensor];
  switch (node.op) {
    case "QuantizeLinear":
      return quantize(node, x, y, z);
    case "DequantizeLinear":
      return dequantize(node, x, y, z);
    case "Conv":
      return conv(node, x, y, z);
    case "MatMul":
      return matmul(x, y);
    case "Gemm":
      return gemm(node, x, y, z);
    case "Add":
      return zip(x, y, Q.add);
    case "Sub":
      return zip(x, y, Q.subtract);
    case "Mul":
      return zip(x, y, Q.multiply);
    case "Div":
      return zip(x, y, Q.divide);
    case "Max":
      return zip(x, y, max);
    case "Min":
      return zip(x, y, min);
    case "Neg":
      return map(x, Q.negate);
    case "Relu":
      return map(x, (v) => max(v, Q.ZERO));
    case "Abs":
      return map(x, (v) => max(v, Q.negate(v)));
    case "LeakyRelu":
      return map(x, (v) => (v.num < 0n ? Q.multiply(v, float(floatOf(node, "alpha") ?? 0.01)) : v));
    case "PRelu":
      return zip(x, y, (v, slope) => (v.num < 0n ? Q.multiply(v, slope) : v));
    case "HardSwish":
      return map(x, (v) => Q.multiply(v, gate(v, Q.rational(1n, 6n), Q.rational(1n, 2n))));
    case "HardSigmoid":
      return map(x, (v) =>
        gate(v, float(floatOf(node, "alpha") ?? 0.2), float(floatOf(node, "beta") ?? 0.5)),
      );
    case "Clip":
      return map(x, (v) => min(max(v, y.values[0]!), z.values[0]!));
    case "Concat":
      return concat(inputs, intOf(node, "axis")!);
    case "MaxPool":
      return pool(node, x, false);
    case "AveragePool":
      return pool(node, x, true);
    case "GlobalAveragePool":
      return make([x.shape[0]!, x.shape[1]!, 1, 1], ([n, c]) => {
        const plane = [x.shape[2]!, x.shape[3]!];
        const total = sum(Array.from(coordinates(plane), (at) => get(x, [n!, c!, ...at])));
        return Q.divide(total, Q.rational(BigInt(size(plane))));
      });
    case "BatchNormalization":
      return batchNorm(node, inputs);
    case "Pad": {
      const pads = y.values.map((v) => Number(v.num));
      const rank = x.shape.length;
      const shape = x.shape.map((dim, d) => dim + pads[d]! + pads[d + rank]!);
      return make(shape, (at) =>
        padded(
          x,
          at.map((c, d) => c - pads[d]!),
          z?.values[0] ?? Q.ZERO,
        ),
      );
    }
    case "Transpose": {
      const perm = intsOf(node, "perm")!;
      return make(
        perm.map((p) => x.shape[p]!),
        (at) =>
          get(
            x,
            x.shape.map((_, d) => at[perm.indexOf(d)]!),
          ),
      );
    }
    case "Flatten":
      return { ...x, shape: [x.shape[0]!, size(x.shape.slice(1))] };
    default:
      throw new Error(`${node.op} is not covered`);
  }
}

/** Every tensor of a graph whose nodes are in dataflow order; graph inputs have the declared, numeric shapes. */
export function evaluateSlowly(
  model: OnnxModel,
  inputs: ReadonlyMap<string, ArrayLike<number>>,
): Map<string, SlowTensor> {
  const tensors = new Map<string, SlowTensor>();
  for (const [name, tensor] of model.graph.initializers) {
    const values = Array.from(elements(tensor) as ArrayLike<number | bigint>, (v) => Q.fromNumber(Number(v)));
    const dtype = tensor.dataType;
    tensors.set(name, {
      shape: tensor.dims,
      values,
      ...(dtype === "float32" ? { literal: true } : { dtype }),
    });
  }
  for (const { name, shape, elemType } of model.graph.inputs) {
    const values = Array.from(inputs.get(name)!, Q.fromNumber);
    const kind = elemType === "float32" ? { literal: true } : { dtype: elemType! };
    tensors.set(name, { shape: shape as readonly number[], values, ...kind });
  }
  for (const node of model.graph.nodes)
    tensors.set(
      node.outputs[0]!,
      step(
        node,
        node.inputs.map((n) => tensors.get(n)!),
      ),
    );
  return tensors;
}
