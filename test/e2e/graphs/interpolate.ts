/** Resize between neighbours. */
import type { GraphBuilder } from "./builder.ts";
import { type GraphCase, graphCase, x, y } from "./case.ts";

type Shape = readonly number[];

const text = (value: string) => ({ kind: "string", value }) as const;

const toSizes = (g: GraphBuilder, t: string, sizes: Shape, coordinates: string, mode = "linear", more = {}) =>
  g.op("Resize", [t, "", "", g.ints(sizes)], {
    mode: text(mode),
    coordinate_transformation_mode: text(coordinates),
    ...more,
  });

const COORDINATES = [
  "half_pixel",
  "pytorch_half_pixel",
  "align_corners",
  "asymmetric",
  "half_pixel_symmetric",
];

/** From, to: whole factors, one and many phases, fractions, fewer, one element. */
const SIZES: readonly (readonly [Shape, Shape])[] = [
  [
    [4, 5],
    [8, 10],
  ],
  [
    [3, 4],
    [9, 8],
  ],
  [
    [2, 3],
    [16, 24],
  ],
  [
    [5, 4],
    [7, 4],
  ],
  [
    [6, 6],
    [3, 5],
  ],
  [
    [1, 1],
    [4, 6],
  ],
];

const linear = COORDINATES.flatMap((coordinates) =>
  SIZES.map(([from, to]) =>
    graphCase(`linear, ${coordinates}, [${from}] to [${to}]`, (g) =>
      y(g, toSizes(g, x(g, [1, 3, ...from]), [1, 3, ...to], coordinates), 0.11),
    ),
  ),
);

export const interpolateCases: readonly GraphCase[] = [
  ...linear,
  graphCase("a scale of a third more", (g) =>
    y(
      g,
      g.op("Resize", [x(g, [1, 2, 3, 6]), "", g.floats([4], [1, 1, 4 / 3, 0.5])], { mode: text("linear") }),
      0.11,
    ),
  ),
  graphCase("cubic, twice as high", (g) =>
    y(g, toSizes(g, x(g, [1, 2, 5, 4]), [1, 2, 10, 4], "half_pixel", "cubic"), 0.11),
  ),
  graphCase(
    "cubic along both axes",
    (g) => y(g, toSizes(g, x(g, [1, 2, 5, 4]), [1, 2, 10, 8], "half_pixel", "cubic"), 0.11),
    { saturates: true },
  ),
  graphCase(
    "a scale that is no ratio of small numbers",
    (g) =>
      y(
        g,
        g.op("Resize", [x(g, [1, 2, 3, 6]), "", g.floats([4], [1, 1, 1.4, 1])], { mode: text("linear") }),
        0.11,
      ),
    { errors: ["QC2111"] },
  ),
  graphCase("one spatial axis, and channels last", (g) => [
    ...y(g, toSizes(g, x(g, [1, 3, 5]), [1, 3, 10], "half_pixel"), 0.11),
    ...y(g, toSizes(g, x(g, [1, 4, 5, 3]), [1, 8, 10, 3], "half_pixel"), 0.11),
  ]),
  graphCase("per channel, then more", (g) => {
    const a = g.dq(g.input([1, 3, 4, 4], "int8"), [0.1, 0.02, 0.7], [0, 0, 0], { type: "int8", axis: 1 });
    const up = toSizes(g, a, [1, 3, 8, 8], "half_pixel");
    return y(g, g.op("Relu", [g.op("Add", [up, g.floats([3, 1, 1], [1, -2, 0.3])])]), 0.2);
  }),
  graphCase("before a convolution, after one, and beside a skip", (g) => {
    const a = x(g, [1, 4, 6, 6]);
    const conv = g.fq(g.op("Conv", [a, g.weights([4, 4, 3, 3])], { pads: [1, 1, 1, 1] }), 0.3, 99);
    const up = g.fq(toSizes(g, conv, [1, 4, 12, 12], "half_pixel"), 0.3, 99);
    const skip = x(g, [1, 4, 12, 12]);
    const both = g.op("Concat", [up, skip], { axis: 1 });
    const joined = g.fq(both, 0.3, 110);
    return y(g, g.op("Conv", [joined, g.weights([5, 8, 3, 3])]), 2);
  }),
  graphCase("16 bits", (g) => {
    const a = g.dq(g.input([1, 2, 4, 4], "int16"), 0.001, 0, { type: "int16" });
    return [
      g.q(toSizes(g, a, [1, 2, 8, 8], "half_pixel"), 0.0011, 0, { type: "int16" }),
      g.q(toSizes(g, a, [1, 2, 7, 7], "align_corners"), 0.0011, 0, { type: "int16" }),
    ];
  }),
];
