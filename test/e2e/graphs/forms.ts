/** Every form of a QONNX quantizer: rounding modes, zero points, widths from 1 to 32 bits, and operators of onnxruntime's own. */
import type { GraphBuilder } from "./builder.ts";
import { f, type GraphCase, graphCase, many, x } from "./case.ts";

const QONNX = "qonnx.custom_op.general";
const MS = "com.microsoft";

const quant = (
  g: GraphBuilder,
  t: string,
  [scale, zero, bits]: readonly [number, number, number],
  attributes: Readonly<Record<string, number | string>> = {},
): string =>
  g.op(
    "Quant",
    [t, f(g, scale), f(g, zero), f(g, bits)],
    { signed: 1, narrow: 0, rounding_mode: "ROUND", ...attributes },
    QONNX,
  );

const MODES = [
  ..."ROUND HALF_EVEN CEIL FLOOR UP DOWN HALF_UP HALF_DOWN ROUND_TO_ZERO half_up".split(" "),
] as const;
const WIDTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 20, 24, 31, 32];
const grid = (g: GraphBuilder, scale: number, zero: number, type: "uint8" | "int8" = "uint8") => [
  f(g, scale),
  g.constant(type, [], zero),
];

export const formCases: readonly GraphCase[] = [
  ...MODES.map((rounding_mode) =>
    graphCase(`rounding mode ${rounding_mode}, zero points whole and fractional`, (g) => {
      const t = g.op("Mul", [x(g, [1, 40]), f(g, 0.37)]);
      return [0, 3, 0.5, -1.25].map((zero) => quant(g, t, [0.125, zero, 5], { rounding_mode }));
    }),
  ),
  ...WIDTHS.map((bits) =>
    graphCase(`${bits} bits, signed or not, narrow or not`, (g) => {
      const t = g.op("Conv", [x(g), g.weights([4, 4, 1, 1])]);
      const scale = bits > 16 ? 0.0001 : 0.125;
      return [0, 1].flatMap((signed) =>
        [0, 1].map((narrow) => quant(g, t, [scale, 0, bits], { signed, narrow })),
      );
    }),
  ),
  graphCase(
    "unsigned 32 bits of which the upper half is used",
    (g) => [quant(g, x(g), [1e-9, 0, 32], { signed: 0 })],
    { errors: ["QC3004"] },
  ),
  graphCase("scales and zero points per channel", (g) => {
    const scales = g.floats([1, 4, 1, 1], [0.1, 0.2, 0.3, 0.4]);
    const zeros = g.floats([1, 4, 1, 1], [0, 1, 2, 3]);
    const attributes = { signed: 0, narrow: 0, rounding_mode: "ROUND" };
    return [
      g.op("Quant", [x(g), scales, f(g, 0), f(g, 4)], { ...attributes, signed: 1, narrow: 1 }, QONNX),
      g.op("Quant", [x(g), f(g, 0.2), zeros, f(g, 4)], attributes, QONNX),
    ];
  }),
  graphCase(
    "widths per channel",
    (g) => [
      g.op(
        "Quant",
        [x(g), f(g, 0.1), f(g, 0), g.floats([1, 4, 1, 1], [2, 3, 4, 5])],
        { signed: 1, narrow: 0, rounding_mode: "ROUND" },
        QONNX,
      ),
    ],
    { errors: ["QC2123"] },
  ),
  graphCase("QLinearWhere, ReduceMean, Sigmoid, LeakyRelu", (g) => {
    const t = g.input([1, 4, 6, 6]);
    const from = [t, ...grid(g, 0.1, 128)];
    const keep = g.constant(
      "bool",
      [1, 4, 6, 6],
      many(144, (i) => (i % 3 > 0 ? 1 : 0)),
    );
    const other = [g.input([1, 4, 6, 6]), ...grid(g, 0.2, 100)];
    const alpha = { kind: "float", value: 0.1 } as const;
    return [
      g.op("QLinearWhere", [keep, ...from, ...other, ...grid(g, 0.15, 110)], {}, MS),
      g.op("QLinearReduceMean", [...from, ...grid(g, 0.15, 110)], { axes: [2, 3], keepdims: 1 }, MS),
      g.op("QLinearSigmoid", [...from, ...grid(g, 1 / 256, 0)], {}, MS),
      g.op("QLinearLeakyRelu", [...from, ...grid(g, 0.1, 100)], { alpha }, MS),
    ];
  }),
  graphCase(
    "QGemm with and without the grid of its output",
    (g) => {
      const a = [g.input([2, 8]), ...grid(g, 0.1, 128)];
      const b = [g.noise("int8", [8, 5]), ...grid(g, 0.01, 0, "int8")];
      const turned = [g.noise("int8", [5, 8]), ...grid(g, 0.01, 0, "int8")];
      return [
        g.op("QGemm", [...a, ...b, g.noise("int32", [5])], {}, MS),
        g.op("QGemm", [...a, ...turned], { transB: 1 }, MS),
        g.op("QGemm", [...a, ...b, "", ...grid(g, 0.3, 100)], {}, MS),
      ];
    },
    { saturates: true },
  ),
  graphCase(
    "ConvInteger and MatMulInteger with zero points",
    (g) => {
      const image = g.input([1, 4, 6, 6]);
      const w = g.noise("int8", [3, 4, 3, 3]);
      const zero = g.constant("uint8", [], 7);
      const zeros = g.constant("uint8", [4], [3, 2, 1, 200]);
      return [
        g.op("ConvInteger", [image, w, zero, g.constant("int8", [], 3)], { pads: [1, 1, 1, 1] }),
        g.op("MatMulInteger", [g.input([3, 6]), g.noise("uint8", [6, 4]), zero, zeros]),
      ];
    },
    { saturates: true },
  ),
  ...(["int2", "uint2", "int4", "uint4"] as const).map((type) =>
    graphCase(
      `${type}, opset 25`,
      (g) => {
        const levels = 2 ** Number(type.at(-1));
        const lo = type.startsWith("u") ? 0 : -levels / 2;
        const stored = g.constant(
          type,
          [4, 4, 1, 1],
          many(16, (i) => lo + (i % levels)),
        );
        const w = g.dq(stored, 0.1, lo === 0 ? 1 : 0, { type });
        return [g.fq(g.op("Conv", [x(g), w]), 0.5, 1, { type })];
      },
      { opset: 25 },
    ),
  ),
];
