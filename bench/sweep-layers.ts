/** Models of one layer each, for `sweep.ts`: families of neighbouring shapes. */
import { graphBuilder } from "../test/e2e/graphs/builder.ts";

export interface Layer {
  readonly name: string;
  readonly onnx: Uint8Array;
  /** Multiply-accumulates of the layer, where its kernels make others. */
  readonly macs?: number;
}

interface Conv {
  /** Input channels, output channels. */
  readonly c: number;
  readonly o: number;
  /** Input height and width. */
  readonly h: number;
  readonly w: number;
  readonly kernel?: readonly number[];
  readonly stride?: number;
  readonly dilation?: number;
  readonly group?: number;
}

const ZERO = 64;

/** A convolution of uint8 with its zero padding, and its output quantizer. One-dimensional for kernels of one size. */
function conv(
  name: string,
  { c, o, h, w, kernel = [1, 1], stride = 1, dilation = 1, group = 1 }: Conv,
): Layer {
  const g = graphBuilder();
  const image = kernel.length === 1 ? [1, c, w] : [1, c, h, w];
  const x = g.dq(g.input(image), 0.05, ZERO);
  const shape = [o, c / group, ...kernel];
  const pads = kernel.map((k) => Math.floor(((k - 1) * dilation) / 2));
  const attributes = {
    kernel_shape: kernel,
    strides: kernel.map(() => stride),
    dilations: kernel.map(() => dilation),
    pads: [...pads, ...pads],
    group,
  };
  const y = g.op("Conv", [x, g.weights(shape)], attributes);
  return {
    name,
    onnx: g.finish([g.q(y, 0.05 * Math.sqrt((c / group) * kernel.reduce((a, b) => a * b)), ZERO)]),
  };
}

/** A transposed convolution of n × n pixels with the pads that make the result `stride` times as large, where the kernel allows. */
function transposed(c: number, o: number, n: number, k: number, stride: number, group = 1): Layer {
  const g = graphBuilder();
  const x = g.dq(g.input([1, c, n, n]), 0.05, ZERO);
  const cut = Math.max(0, k - stride);
  const [begin, end] = [Math.ceil(cut / 2), Math.floor(cut / 2)];
  const attributes = { strides: [stride, stride], pads: [begin, begin, end, end], group };
  const y = g.op("ConvTranspose", [x, g.weights([c, o / group, k, k])], attributes);
  return {
    name: `${k}×${k} ${c}→${o} ${n}×${n} ·${stride}${group > 1 ? ` in ${group} groups` : ""}`,
    onnx: g.finish([g.q(y, 0.05 * Math.sqrt(((c / group) * k * k) / stride ** 2), ZERO)]),
    macs: (c * n * n * k * k * o) / group,
  };
}

/** m rows of k times k × n. */
function matmul(m: number, k: number, n: number): Layer {
  const g = graphBuilder();
  const x = g.dq(g.input([m, k]), 0.05, ZERO);
  return {
    name: `${m}×${k}×${n}`,
    onnx: g.finish([g.q(g.op("MatMul", [x, g.weights([k, n])]), 0.05 * Math.sqrt(k), ZERO)]),
  };
}

const SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 24, 40];
const square = (n: number) => ({ h: n, w: n });
const depthwise = (c: number) => ({ c, o: c, group: c });
const three = { kernel: [3, 3] };

/** By name; made when asked for. */
export const FAMILIES: { readonly [name: string]: () => Layer[] } = {
  gemv: () => [
    ...[64, 256, 1024].map((k) => matmul(1, k, k)),
    ...[
      [640, 128],
      [128, 640],
      [1280, 1000],
      [1000, 10],
      [10, 1000],
      [1023, 1021],
      [256, 1],
    ].map(([k, n]) => matmul(1, k!, n!)),
  ],
  "matmul-m": () => [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16].map((m) => matmul(m, 256, 256)),
  "matmul-k": () => SIZES.map((k) => matmul(64, k, 64)),
  "matmul-n": () => SIZES.map((n) => matmul(64, 64, n)),
  "pointwise-in": () => SIZES.map((c) => conv(`1×1 ${c}→32 14×14`, { c, o: 32, ...square(14) })),
  "pointwise-out": () => SIZES.map((o) => conv(`1×1 32→${o} 14×14`, { c: 32, o, ...square(14) })),
  "pointwise-size": () =>
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13].map((n) =>
      conv(`1×1 64→64 ${n}×${n}`, { c: 64, o: 64, ...square(n) }),
    ),
  "conv3-in": () => SIZES.map((c) => conv(`3×3 ${c}→16 14×14`, { c, o: 16, ...square(14), ...three })),
  "conv3-out": () => SIZES.map((o) => conv(`3×3 16→${o} 14×14`, { c: 16, o, ...square(14), ...three })),
  "conv3-size": () =>
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 28].map((n) =>
      conv(`3×3 32→32 ${n}×${n}`, { c: 32, o: 32, ...square(n), ...three }),
    ),
  first: () =>
    [1, 2, 3, 4].flatMap((c) =>
      [1, 2].map((stride) =>
        conv(`3×3 ${c}→16 64×64 /${stride}`, { c, o: 16, ...square(64), ...three, stride }),
      ),
    ),
  strided: () =>
    [1, 2, 3].flatMap((stride) => [
      conv(`1×1 32→32 28×28 /${stride}`, { c: 32, o: 32, ...square(28), stride }),
      conv(`3×3 32→32 28×28 /${stride}`, { c: 32, o: 32, ...square(28), ...three, stride }),
    ]),
  dilated: () =>
    [1, 2, 4].map((dilation) =>
      conv(`3×3 32→32 28×28 dilated ${dilation}`, { c: 32, o: 32, ...square(28), ...three, dilation }),
    ),
  /** Each behind a convolution of about as many products. */
  transposed: () => [
    conv("1×1 64→128 28×28", { c: 64, o: 128, ...square(28) }),
    transposed(64, 32, 28, 2, 2),
    conv("2×2 64→128 28×28", { c: 64, o: 128, ...square(28), kernel: [2, 2] }),
    transposed(64, 32, 28, 4, 2),
    conv("3×3 64→32 28×28", { c: 64, o: 32, ...square(28), ...three }),
    transposed(64, 32, 28, 3, 2),
    transposed(64, 32, 28, 3, 1),
    transposed(64, 1, 28, 3, 2),
    transposed(64, 1, 28, 4, 2),
    transposed(56, 1, 28, 9, 4),
    transposed(21, 21, 14, 16, 8),
    conv("2×2 64 56×56", { ...depthwise(64), ...square(56), kernel: [2, 2] }),
    transposed(64, 64, 28, 4, 2, 64),
    conv("3×3 64 28×28", { ...depthwise(64), ...square(28), ...three }),
    transposed(64, 64, 28, 3, 2, 64),
  ],
  grouped: () =>
    [1, 2, 4, 8, 16, 32].map((group) =>
      conv(`3×3 64→64 14×14 in ${group} groups`, { c: 64, o: 64, ...square(14), ...three, group }),
    ),
  conv1d: () =>
    [1, 3, 8, 16, 40].flatMap((c) =>
      [3, 9].map((k) => conv(`${k} ${c}→32 128`, { c, o: 32, h: 1, w: 128, kernel: [k] })),
    ),
  "depthwise-channels": () =>
    SIZES.filter((c) => c > 1)
      .concat(64, 128)
      .map((c) => conv(`3×3 ${c} 14×14`, { ...depthwise(c), ...square(14), ...three })),
  "depthwise-size": () =>
    [1, 2, 3, 4, 5, 6, 7, 8, 14, 28, 56].map((n) =>
      conv(`3×3 32 ${n}×${n}`, { ...depthwise(32), ...square(n), ...three }),
    ),
  "depthwise-large": () =>
    [1, 2].flatMap((stride) => [
      conv(`3×3 32 112×112 /${stride}`, { ...depthwise(32), ...square(112), ...three, stride }),
      conv(`3×3 96 112×112 /${stride}`, { ...depthwise(96), ...square(112), ...three, stride }),
      conv(`3×3 144 56×56 /${stride}`, { ...depthwise(144), ...square(56), ...three, stride }),
      conv(`3×3 384 28×28 /${stride}`, { ...depthwise(384), ...square(28), ...three, stride }),
    ]),
  "depthwise-kernel": () => [
    ...[2, 3, 4, 5, 7].flatMap((k) =>
      [1, 2].map((stride) =>
        conv(`${k}×${k} 32 28×28 /${stride}`, { ...depthwise(32), ...square(28), kernel: [k, k], stride }),
      ),
    ),
    conv("3×3 32 28×28 dilated 2", { ...depthwise(32), ...square(28), ...three, dilation: 2 }),
    ...[
      [1, 3],
      [3, 1],
      [1, 7],
      [10, 4],
    ].map((kernel) => conv(`${kernel.join("×")} 32 28×28`, { ...depthwise(32), ...square(28), kernel })),
    ...[3, 9].map((k) => conv(`${k} 32 256`, { ...depthwise(32), h: 1, w: 256, kernel: [k] })),
  ],
  multiplier: () =>
    [1, 2, 3, 8].flatMap((m) =>
      [1, 8, 16].map((c) => conv(`3×3 ${c}×${m} 28×28`, { c, o: c * m, group: c, ...square(28), ...three })),
    ),
};
