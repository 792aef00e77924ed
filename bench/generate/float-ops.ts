/** The operators of the generated networks in floating point, to calibrate on. Tensors are row-major, images NCHW. */

export interface Array32 {
  readonly dims: readonly number[];
  readonly data: Float32Array<ArrayBufferLike>;
}

export const sizeOf = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);
export const array = (
  dims: readonly number[],
  data: Float32Array<ArrayBufferLike> = new Float32Array(sizeOf(dims)),
): Array32 => ({ dims, data });
const map = (a: Array32, f: (x: number) => number): Array32 => array(a.dims, a.data.map(f));

/** Pads are the same on all sides. */
export interface ConvShape {
  readonly kernel: number;
  readonly stride: number;
  readonly pad: number;
  readonly groups: number;
}

export const convSize = (n: number, { kernel, stride, pad }: ConvShape): number =>
  Math.floor((n + 2 * pad - kernel) / stride) + 1;

/** Weights [O, I / groups, k, k]; no bias. */
export function conv(x: Array32, weights: Float32Array, outputs: number, s: ConvShape): Array32 {
  const [batch, channels, height, width] = x.dims as [number, number, number, number];
  const [oh, ow] = [convSize(height, s), convSize(width, s)];
  const [inPer, outPer] = [channels / s.groups, outputs / s.groups];
  const out = array([batch, outputs, oh, ow]);
  const step = outPer % 4 === 0 ? 4 : 1;
  const area = oh * ow;
  const taps = s.kernel * s.kernel;
  const sums = Array.from({ length: 4 }, () => new Float64Array(area)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const [s0, s1, s2, s3] = sums;
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < outputs; o += step) {
      for (const sum of sums) sum.fill(0);
      const first = Math.floor(o / outPer) * inPer;
      for (let i = 0; i < inPer; i++)
        for (let tap = 0; tap < taps; tap++) {
          const [ky, kx] = [Math.floor(tap / s.kernel), tap % s.kernel];
          const w = (j: number): number => (j < step ? weights[((o + j) * inPer + i) * taps + tap]! : 0);
          const [w0, w1, w2, w3] = [w(0), w(1), w(2), w(3)];
          const from = Math.max(0, Math.ceil((s.pad - kx) / s.stride));
          const to = Math.min(ow, Math.floor((width - 1 + s.pad - kx) / s.stride) + 1);
          for (let y = 0; y < oh; y++) {
            const iy = y * s.stride + ky - s.pad;
            if (iy < 0 || iy >= height) continue;
            const base = ((n * channels + first + i) * height + iy) * width + kx - s.pad;
            if (step === 1)
              for (let p = from; p < to; p++) s0[y * ow + p]! += w0 * x.data[base + p * s.stride]!;
            else
              for (let p = from; p < to; p++) {
                const v = x.data[base + p * s.stride]!;
                s0[y * ow + p]! += w0 * v;
                s1[y * ow + p]! += w1 * v;
                s2[y * ow + p]! += w2 * v;
                s3[y * ow + p]! += w3 * v;
              }
          }
        }
      for (let j = 0; j < step; j++) out.data.set(sums[j]!, (n * outputs + o + j) * area);
    }
  return out;
}

export function maxPool(x: Array32, s: ConvShape): Array32 {
  const [batch, channels, height, width] = x.dims as [number, number, number, number];
  const [oh, ow] = [convSize(height, s), convSize(width, s)];
  const out = array([batch, channels, oh, ow]);
  let to = 0;
  for (let plane = 0; plane < batch * channels; plane++)
    for (let y = 0; y < oh; y++)
      for (let p = 0; p < ow; p++) {
        let most = Number.NEGATIVE_INFINITY;
        for (
          let iy = Math.max(0, y * s.stride - s.pad);
          iy < Math.min(height, y * s.stride - s.pad + s.kernel);
          iy++
        )
          for (
            let ix = Math.max(0, p * s.stride - s.pad);
            ix < Math.min(width, p * s.stride - s.pad + s.kernel);
            ix++
          )
            most = Math.max(most, x.data[(plane * height + iy) * width + ix]!);
        out.data[to++] = most;
      }
  return out;
}

/** Mean over the axes after the second; they stay, with length 1. */
export function globalMean(x: Array32): Array32 {
  const [batch, channels, ...rest] = x.dims as [number, number, ...number[]];
  const count = sizeOf(rest);
  const out = array([batch, channels, ...rest.map(() => 1)]);
  for (let plane = 0; plane < batch * channels; plane++) {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += x.data[plane * count + i]!;
    out.data[plane] = sum / count;
  }
  return out;
}

/** [..., M, K] × [..., K, N] with equal leading axes, or a second operand without any. */
export function matMul(a: Array32, b: Array32): Array32 {
  const [m, k] = a.dims.slice(-2) as [number, number];
  const n = b.dims.at(-1)!;
  const batch = sizeOf(a.dims.slice(0, -2));
  const shared = b.dims.length === 2;
  const out = array([...a.dims.slice(0, -1), n]);
  const row = new Float64Array(n);
  for (let i = 0; i < batch * m; i++) {
    row.fill(0);
    const base = shared ? 0 : Math.floor(i / m) * k * n;
    for (let j = 0; j < k; j++) {
      const x = a.data[i * k + j]!;
      for (let c = 0; c < n; c++) row[c]! += x * b.data[base + j * n + c]!;
    }
    out.data.set(row, i * n);
  }
  return out;
}

/** The second operand repeats over the leading axes of the first. */
export const binary = (a: Array32, b: Array32, f: (x: number, y: number) => number): Array32 =>
  array(
    a.dims,
    a.data.map((x, i) => f(x, b.data[i % b.data.length]!)),
  );

export function transpose(x: Array32, perm: readonly number[]): Array32 {
  const strides = x.dims.map((_, i) => sizeOf(x.dims.slice(i + 1)));
  const dims = perm.map((p) => x.dims[p]!);
  const out = array(dims);
  const index = dims.map(() => 0);
  for (let to = 0; to < out.data.length; to++) {
    out.data[to] = x.data[index.reduce((at, i, axis) => at + i * strides[perm[axis]!]!, 0)]!;
    for (let axis = dims.length - 1; axis >= 0 && ++index[axis]! === dims[axis]; axis--) index[axis] = 0;
  }
  return out;
}

/** `f` on each row along the last axis. */
function rows(x: Array32, f: (row: Float64Array) => Float64Array): Array32 {
  const length = x.dims.at(-1)!;
  const out = array(x.dims);
  for (let at = 0; at < x.data.length; at += length)
    out.data.set(f(Float64Array.from(x.data.subarray(at, at + length))), at);
  return out;
}

export const softmax = (x: Array32): Array32 =>
  rows(x, (row) => {
    const most = row.reduce((a, b) => Math.max(a, b));
    const powers = row.map((v) => Math.exp(v - most));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((p) => p / sum);
  });

export const layerNorm = (x: Array32, scale: Float32Array, bias: Float32Array, epsilon: number): Array32 =>
  rows(x, (row) => {
    const mean = row.reduce((a, b) => a + b) / row.length;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
    return row.map((v, i) => ((v - mean) / Math.sqrt(variance + epsilon)) * scale[i]! + bias[i]!);
  });

/** Abramowitz and Stegun 7.1.26: off by at most 1.5e-7. */
function erfOf(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series =
    ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}
export const erf = (x: Array32): Array32 => map(x, erfOf);
export const clamp = (x: Array32, lo: number, hi: number): Array32 =>
  map(x, (v) => Math.min(hi, Math.max(lo, v)));
