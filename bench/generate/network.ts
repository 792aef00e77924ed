/**
 * Float networks with random weights, built by running them: every call computes its result on calibration data, draws the
 * weights it needs and records an ONNX node with the range of what it made.
 */
import {
  type Array32,
  array,
  binary,
  type ConvShape,
  clamp,
  conv,
  erf,
  globalMean,
  layerNorm,
  matMul,
  maxPool,
  sizeOf,
  softmax,
  transpose,
} from "./float-ops.ts";
import type { Random } from "./random.ts";

/** A tensor of the network. */
export interface Value {
  readonly name: string;
  /** What it is on the calibration data. */
  readonly sample: Array32;
}

export interface NetNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes: Readonly<Record<string, number | readonly number[]>>;
}

export interface Network {
  readonly name: string;
  readonly input: Value;
  readonly output: Value;
  readonly nodes: readonly NetNode[];
  readonly params: ReadonlyMap<string, Array32>;
  /** Constants of type int64: shapes and the like. */
  readonly integers: ReadonlyMap<string, readonly number[]>;
  /** Least and greatest value of every tensor in calibration. */
  readonly ranges: ReadonlyMap<string, readonly [number, number]>;
}

export type Activation = "none" | "relu" | "relu6";

export interface ConvOptions {
  readonly outputs: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly groups?: number;
  readonly pad?: number;
  readonly activation?: Activation;
  /** Standard deviation of the result, before its activation; 1 by default. */
  readonly gain?: number;
}

export interface Builder {
  readonly random: Random;
  readonly conv: (x: Value, options: ConvOptions) => Value;
  readonly maxPool: (x: Value, s: ConvShape) => Value;
  readonly globalMean: (x: Value) => Value;
  readonly reduceMean: (x: Value) => Value;
  readonly flatten: (x: Value) => Value;
  readonly gemm: (x: Value, outputs: number) => Value;
  readonly activate: (x: Value, activation: Activation) => Value;
  /** `y` is a value of the same shape, or a constant whose shape is an end of `x`'s. */
  readonly binary: (op: "Add" | "Mul" | "Div", x: Value, y: Value | Array32) => Value;
  /** [..., K] × random [K, outputs], then plus a random bias. */
  readonly linear: (x: Value, outputs: number, gain?: number) => Value;
  readonly matMul: (x: Value, y: Value) => Value;
  readonly reshape: (x: Value, dims: readonly number[]) => Value;
  readonly transpose: (x: Value, perm: readonly number[]) => Value;
  readonly softmax: (x: Value) => Value;
  readonly erf: (x: Value) => Value;
  readonly layerNorm: (x: Value) => Value;
  readonly finish: (output: Value) => Network;
}

export const isValue = (v: Value | Array32): v is Value => "sample" in v;

/** Starts a network at an input with the given calibration data, whose shape is the input's. */
export function network(
  name: string,
  random: Random,
  sample: Array32,
): { readonly input: Value; readonly net: Builder } {
  const nodes: NetNode[] = [];
  const params = new Map<string, Array32>();
  const integers = new Map<string, readonly number[]>();
  const ranges = new Map<string, readonly [number, number]>();
  let count = 0;

  const note = (v: Value): Value => {
    let [lo, hi] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const x of v.sample.data) [lo, hi] = [Math.min(lo, x), Math.max(hi, x)];
    ranges.set(v.name, [lo, hi]);
    return v;
  };
  const record = (
    op: string,
    inputs: readonly string[],
    result: Array32,
    attributes: NetNode["attributes"] = {},
  ): Value => {
    const output = `t${++count}_${op.toLowerCase()}`;
    nodes.push({ op, inputs, output, attributes });
    return note({ name: output, sample: result });
  };
  const param = (suffix: string, a: Array32): string => {
    const key = `p${count + 1}_${suffix}`;
    params.set(key, a);
    return key;
  };
  const normals = (dims: readonly number[], deviation: number): Array32 =>
    array(
      dims,
      Float32Array.from({ length: sizeOf(dims) }, () => deviation * random.normal()),
    );

  /** Batch normalization folded into `weights`, on the statistics of the calibration data: the bias. */
  const normalize = (raw: Array32, weights: Float32Array, gain: number): Float32Array => {
    const [batch, channels] = raw.dims as [number, number];
    const area = raw.data.length / batch / channels;
    const means = new Float64Array(channels);
    const variances = new Float64Array(channels);
    const each = (c: number, f: (at: number) => void): void => {
      for (let n = 0; n < batch; n++) for (let i = 0; i < area; i++) f((n * channels + c) * area + i);
    };
    for (let c = 0; c < channels; c++) {
      each(c, (at) => {
        means[c]! += raw.data[at]! / (batch * area);
      });
      each(c, (at) => {
        variances[c]! += (raw.data[at]! - means[c]!) ** 2 / (batch * area);
      });
    }
    // Few pixels say little of a channel alone.
    const typical = variances.reduce((a, b) => a + b) / channels;
    const bias = new Float32Array(channels);
    const per = weights.length / channels;
    for (let c = 0; c < channels; c++) {
      const factor =
        (gain * (0.6 + 0.8 * random.uniform())) / Math.sqrt((variances[c]! + typical) / 2 + 1e-9);
      bias[c] = 0.3 * gain * random.normal() - factor * means[c]!;
      for (let i = 0; i < per; i++) weights[c * per + i]! *= factor;
      each(c, (at) => {
        raw.data[at] = raw.data[at]! * factor + bias[c]!;
      });
    }
    return bias;
  };

  const net: Builder = {
    random,
    conv(
      x,
      { outputs, kernel, stride = 1, groups = 1, pad = (kernel - 1) >> 1, activation = "none", gain = 1 },
    ) {
      const s: ConvShape = { kernel, stride, pad, groups };
      const inPer = x.sample.dims[1]! / groups;
      const weights = normals([outputs, inPer, kernel, kernel], 1 / Math.sqrt(inPer * kernel * kernel));
      const raw = conv(x.sample, weights.data, outputs, s);
      const bias = normalize(raw, weights.data, gain);
      const inputs = [x.name, param("weight", weights), param("bias", array([outputs], bias))];
      const out = record("Conv", inputs, raw, {
        dilations: [1, 1],
        group: groups,
        kernel_shape: [kernel, kernel],
        pads: [pad, pad, pad, pad],
        strides: [stride, stride],
      });
      return net.activate(out, activation);
    },
    activate(x, activation) {
      if (activation === "none") return x;
      const most = activation === "relu6" ? 6 : Number.POSITIVE_INFINITY;
      const result = clamp(x.sample, 0, most);
      if (activation === "relu") return record("Relu", [x.name], result);
      const bounds = [
        param("min", array([], Float32Array.of(0))),
        param("max", array([], Float32Array.of(6))),
      ];
      return record("Clip", [x.name, ...bounds], result);
    },
    maxPool: (x, s) =>
      record("MaxPool", [x.name], maxPool(x.sample, s), {
        kernel_shape: [s.kernel, s.kernel],
        pads: [s.pad, s.pad, s.pad, s.pad],
        strides: [s.stride, s.stride],
      }),
    globalMean: (x) => record("GlobalAveragePool", [x.name], globalMean(x.sample)),
    reduceMean(x) {
      const [batch, , width] = x.sample.dims as [number, number, number];
      const means = globalMean(transpose(x.sample, [0, 2, 1]));
      return record("ReduceMean", [x.name], array([batch, width], means.data), {
        axes: [1],
        keepdims: 0,
      });
    },
    flatten: (x) =>
      record("Flatten", [x.name], array([x.sample.dims[0]!, sizeOf(x.sample.dims.slice(1))], x.sample.data), {
        axis: 1,
      }),
    gemm(x, outputs) {
      const weights = normals([outputs, x.sample.dims[1]!], 2 / Math.sqrt(x.sample.dims[1]!));
      const bias = normals([outputs], 0.3);
      const result = matMul(x.sample, transpose(weights, [1, 0]));
      const inputs = [x.name, param("weight", weights), param("bias", bias)];
      return record(
        "Gemm",
        inputs,
        binary(result, bias, (a, b) => a + b),
        { transB: 1 },
      );
    },
    binary(op, x, y) {
      const f = {
        Add: (a: number, b: number) => a + b,
        Mul: (a: number, b: number) => a * b,
        Div: (a: number, b: number) => a / b,
      }[op];
      const other = isValue(y) ? y.name : param("constant", y);
      return record(op, [x.name, other], binary(x.sample, isValue(y) ? y.sample : y, f));
    },
    linear(x, outputs, gain = 1) {
      const width = x.sample.dims.at(-1)!;
      const weights = normals([width, outputs], gain / Math.sqrt(width));
      const product = record("MatMul", [x.name, param("weight", weights)], matMul(x.sample, weights));
      return net.binary("Add", product, normals([outputs], 0.2 * gain));
    },
    matMul: (x, y) => record("MatMul", [x.name, y.name], matMul(x.sample, y.sample)),
    reshape(x, to) {
      const key = `p${count + 1}_shape`;
      integers.set(key, to);
      return record("Reshape", [x.name, key], array(to, x.sample.data));
    },
    transpose: (x, perm) => record("Transpose", [x.name], transpose(x.sample, perm), { perm }),
    softmax: (x) => record("Softmax", [x.name], softmax(x.sample), { axis: -1 }),
    erf: (x) => record("Erf", [x.name], erf(x.sample)),
    layerNorm(x) {
      const width = x.sample.dims.at(-1)!;
      const scale = Float32Array.from({ length: width }, () => 0.6 + 0.8 * random.uniform());
      const bias = normals([width], 0.2);
      const inputs = [x.name, param("scale", array([width], scale)), param("bias", bias)];
      return record("LayerNormalization", inputs, layerNorm(x.sample, scale, bias.data, 1e-5), {
        axis: -1,
      });
    },
    finish: (output) => ({ name, input, output, nodes, params, integers, ranges }),
  };
  const input = note({ name: "x", sample });
  return { input, net };
}
