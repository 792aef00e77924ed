/** Transposed convolutions. */
import type { GraphBuilder } from "./builder.ts";
import { type GraphCase, graphCase, many, x, y } from "./case.ts";

type Shape = readonly number[];

const transposed = (g: GraphBuilder, t: string, weights: Shape, attributes = {}) =>
  g.op("ConvTranspose", [t, g.weights(weights)], attributes);

/** Strides, kernels, pads and dilations of one axis; output padding is the last. */
const axes: readonly (readonly [number, number, readonly [number, number], number, number])[] = [
  [1, 1, [0, 0], 1, 0],
  [1, 3, [1, 1], 1, 0],
  [1, 3, [2, 0], 2, 0],
  [2, 1, [0, 0], 1, 1],
  [2, 2, [0, 0], 1, 0],
  [2, 2, [1, 0], 1, 0],
  [2, 3, [1, 1], 1, 1],
  [2, 3, [0, 2], 1, 0],
  [2, 4, [1, 1], 1, 0],
  [2, 4, [3, 2], 1, 1],
  [2, 5, [2, 2], 1, 1],
  [2, 2, [1, 1], 3, 0],
  [2, 3, [0, 1], 2, 0],
  [3, 2, [0, 0], 1, 2],
  [3, 3, [1, 0], 1, 0],
  [3, 5, [2, 1], 1, 2],
  [3, 3, [4, 3], 3, 0],
];

/** Each axis row by itself, and every two neighbours as rows and columns. */
const geometry = axes.flatMap(([stride, kernel, pads, dilation, extra], i): GraphCase[] => {
  const [s2, k2, p2, d2, e2] = axes[(i + 5) % axes.length]!;
  return [
    graphCase(`1-D, stride ${stride}, kernel ${kernel}, pads ${pads}, dilation ${dilation}, +${extra}`, (g) =>
      y(
        g,
        transposed(g, x(g, [1, 3, 7]), [3, 5, kernel], {
          strides: [stride],
          pads,
          dilations: [dilation],
          output_padding: [extra],
        }),
        0.3,
      ),
    ),
    graphCase(`2-D, strides ${stride} ${s2}, kernel ${kernel} ${k2}, pads ${pads} ${p2}`, (g) =>
      y(
        g,
        transposed(g, x(g, [1, 4, 5, 6]), [4, 17, kernel, k2], {
          strides: [stride, s2],
          pads: [pads[0], p2[0], pads[1], p2[1]],
          dilations: [dilation, d2],
          output_padding: [extra, e2],
        }),
        0.3,
      ),
    ),
  ];
});

const doubling = { strides: [2, 2] };

export const transposedCases: readonly GraphCase[] = [
  ...geometry,
  graphCase("weights per output channel, float bias, relu", (g) => {
    const scales = many(5, (i) => 0.01 + i / 70);
    const w = g.weights([4, 5, 2, 2], scales, { axis: 1 });
    const bias = g.floats([5], [0.3, -2, 0, 7.7, 1e-9]);
    return y(g, g.op("Relu", [g.op("ConvTranspose", [x(g), w, bias], doubling)]), 0.2);
  }),
  graphCase(
    "weights per input channel are diagnosed",
    (g) => {
      const w = g.weights([4, 5, 2, 2], [0.1, 0.2, 0.3, 0.4], { axis: 0 });
      return y(g, g.op("ConvTranspose", [x(g), w], doubling));
    },
    { errors: ["QC2102"] },
  ),
  graphCase("weights with zero points per channel", (g) => {
    const data = many(4 * 3 * 9, (i) => [90, 0, 192][Math.floor(i / 9) % 3]! + ((i * 37) % 64));
    const w = g.dq(g.constant("uint8", [4, 3, 3, 3], data), [0.02, 0.01, 0.03], [120, 0, 255], { axis: 1 });
    return y(g, g.op("ConvTranspose", [x(g), w], { ...doubling, pads: [1, 1, 1, 1] }), 0.5);
  }),
  graphCase("int8 into int8, outputs per channel", (g) => {
    const t = g.dq(g.input([1, 8, 5, 5], "int8"), 0.1, -3, { type: "int8" });
    const c = transposed(g, t, [8, 3, 4, 4], { ...doubling, pads: [1, 1, 1, 1] });
    return [g.q(c, [0.3, 0.1, 0.7], [0, 0, 0], { type: "int8", axis: 1 })];
  }),
  graphCase("int16", (g) => {
    const t = g.dq(g.input([1, 4, 5, 5], "int16"), 0.001, 5, { type: "int16" });
    return [g.q(transposed(g, t, [4, 3, 3, 3], doubling), 0.002, 30000, { type: "uint16" })];
  }),
  graphCase("phases in place, inside the halo of a padded convolution, batch 2", (g) => {
    const a = g.fq(
      transposed(g, x(g, [2, 4, 5, 4]), [4, 19, 3, 3], { ...doubling, pads: [1, 0, 0, 0] }),
      0.9,
      100,
    );
    return y(g, g.op("Conv", [a, g.weights([5, 19, 3, 3])], { pads: [1, 2, 1, 0] }), 2);
  }),
  graphCase("phases in place, read by several", (g) => {
    const a = g.fq(transposed(g, x(g), [4, 16, 2, 2], doubling), 0.9, 100);
    const b = g.fq(g.op("Conv", [a, g.weights([16, 16, 1, 1])]), 2, 100);
    return [...y(g, g.op("Add", [a, b]), 1.5), ...y(g, g.op("MaxPool", [a], { kernel_shape: [2, 2] }), 1)];
  }),
  graphCase("a result smaller than its stride", (g) =>
    y(g, transposed(g, x(g, [1, 4, 1, 2]), [4, 16, 2, 3], { strides: [3, 3] }), 0.5),
  ),
  graphCase("batch 2", (g) => y(g, transposed(g, x(g, [2, 4, 5, 6]), [4, 6, 3, 3], doubling), 0.4)),
  graphCase("groups", (g) =>
    y(g, transposed(g, x(g, [1, 6, 5, 4]), [6, 2, 3, 3], { ...doubling, group: 3, pads: [1, 1, 0, 0] }), 0.2),
  ),
  graphCase("groups of many phases", (g) =>
    y(g, transposed(g, x(g, [1, 6, 3, 4]), [6, 2, 8, 8], { strides: [5, 5], group: 3 }), 0.2),
  ),
  graphCase("depthwise", (g) =>
    y(
      g,
      transposed(g, x(g, [1, 16, 5, 4]), [16, 1, 3, 3], { ...doubling, group: 16, pads: [1, 1, 1, 1] }),
      0.1,
    ),
  ),
  graphCase("depthwise, scales per channel along axis 0, multiplier 2", (g) => {
    const w = g.weights(
      [5, 2, 4, 4],
      many(5, (i) => 0.01 + i / 70),
      { axis: 0 },
    );
    return y(g, g.op("ConvTranspose", [x(g, [2, 5, 4, 4]), w], { ...doubling, group: 5 }), 0.1);
  }),
  graphCase("upsampling by a depthwise kernel of 16, one channel", (g) =>
    y(g, transposed(g, x(g, [1, 1, 4, 3]), [1, 1, 16, 16], { strides: [8, 8], pads: [4, 4, 4, 4] }), 0.1),
  ),
  ...["SAME_UPPER", "SAME_LOWER", "VALID"].map((auto_pad) =>
    graphCase(`auto_pad ${auto_pad}`, (g) =>
      y(g, transposed(g, x(g), [4, 3, 4, 3], { strides: [2, 3], auto_pad }), 0.4),
    ),
  ),
  graphCase("output_shape, smaller and larger than the full result", (g) => [
    ...y(g, transposed(g, x(g), [4, 3, 3, 3], { ...doubling, output_shape: [12, 11] }), 0.4),
    ...y(g, transposed(g, x(g), [4, 3, 3, 3], { ...doubling, output_shape: [15, 16] }), 0.4),
  ]),
  graphCase("between convolutions with padding", (g) => {
    const a = g.fq(g.op("Conv", [x(g), g.weights([16, 4, 3, 3])], { pads: [1, 1, 1, 1] }), 0.4, 120);
    const b = g.fq(transposed(g, a, [16, 8, 2, 2], doubling), 0.9, 100);
    return y(g, g.op("Conv", [b, g.weights([5, 8, 3, 3])], { pads: [1, 1, 1, 1] }), 2);
  }),
  graphCase("concatenated with a skip connection", (g) => {
    const t = x(g, [1, 8, 8, 8]);
    const down = g.fq(g.op("Conv", [t, g.weights([16, 8, 2, 2])], doubling), 0.5, 110);
    const up = g.fq(transposed(g, down, [16, 8, 2, 2], doubling), 0.7, 90);
    const joined = g.fq(g.op("Concat", [t, up], { axis: 1 }), 0.7, 90);
    return y(g, g.op("Conv", [joined, g.weights([4, 16, 3, 3])], { pads: [1, 1, 1, 1] }), 3);
  }),
  graphCase("added to another tensor before the quantizer", (g) =>
    y(g, g.op("Add", [transposed(g, x(g), [4, 5, 2, 2], doubling), x(g, [1, 5, 12, 12])]), 0.3),
  ),
  graphCase("followed by a curve", (g) =>
    y(g, g.op("Sigmoid", [g.fq(transposed(g, x(g), [4, 1, 4, 4], doubling), 0.1, 120)]), 1 / 255, 0),
  ),
  graphCase("batch norm and clip behind it", (g) => {
    const bn = g.op("BatchNormalization", [
      transposed(g, x(g), [4, 5, 3, 3], doubling),
      g.floats([5], [-1, 0.5, -0.01, 0, 3]),
      g.floats([5], [0.2, -1, 3, 4, 0]),
      g.floats([5], [0.5, 0.1, 0, -3, 0]),
      g.floats([5], [1, 2, 3, 0.01, 9]),
    ]);
    return y(g, g.op("Clip", [bn, g.floats([], -1.5), g.floats([], 6)]));
  }),
  graphCase("as output", (g) => [transposed(g, x(g), [4, 3, 3, 3], doubling)]),
  graphCase("constant channels before it", (g) => {
    const w = g.dq(
      g.constant(
        "int8",
        [6, 4, 1, 1],
        many(24, (i) => (i < 12 ? 0 : 9)),
      ),
      0.1,
      0,
      { type: "int8" },
    );
    const bias = g.floats([6], [1, -2, 100, 0, 0, 0]);
    const a = g.fq(g.op("Relu", [g.op("Conv", [x(g), w, bias])]), 0.5, 0);
    return y(g, transposed(g, a, [6, 5, 3, 3], doubling), 2);
  }),
  graphCase(
    "by weights that are an activation",
    (g) => y(g, g.op("ConvTranspose", [x(g), g.dq(g.input([4, 3, 3, 3]), 0.05, 64)]), 0.5),
    { errors: ["QC2155"] },
  ),
  graphCase("3-D", (g) => y(g, transposed(g, x(g, [1, 2, 3, 3, 3]), [2, 3, 2, 2, 2]), 0.3), {
    errors: ["QC2156"],
  }),
];
