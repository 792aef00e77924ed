/** Data movement. */
import { f, type GraphCase, graphCase, image, pool, x, y } from "./case.ts";

export const movementCases: readonly GraphCase[] = [
  graphCase("concat of differing scales, then conv", (g) => {
    const c = g.fq(
      g.op("Concat", [x(g), x(g, [1, 3, 6, 6], 0.3, 5), g.op("Relu", [x(g, [1, 1, 6, 6], 0.02, 9)])], {
        axis: 1,
      }),
      0.2,
      99,
    );
    return y(g, g.op("Conv", [c, g.weights([5, 8, 3, 3])], { pads: [1, 1, 1, 1] }), 0.7);
  }),
  graphCase("concat of one grid, then conv without a quantizer", (g) => {
    const c = g.op("Concat", [x(g), x(g, [1, 3, 6, 6])], { axis: 1 });
    return y(g, g.op("Conv", [c, g.weights([5, 7, 3, 3])], { pads: [1, 1, 1, 1] }), 0.7);
  }),
  graphCase("concat of quantized tensors without dequantizers", (g) => {
    const c = g.op("Concat", [g.input([1, 4, 3, 3]), g.input([1, 2, 3, 3])], { axis: 1 });
    return y(g, g.op("Relu", [g.dq(c, 0.1, 128)]));
  }),
  graphCase("movement of quantized tensors without dequantizers", (g) => {
    const t = g.op("Transpose", [g.input([1, 4, 3, 3])], { perm: [0, 2, 3, 1] });
    const r = g.op("Reshape", [t, g.ints([9, -1])]);
    return y(g, g.op("MatMul", [g.dq(r, 0.1, 128), g.weights([4, 3])]));
  }),
  graphCase("concat along every axis, one operand twice", (g) => {
    const a = x(g, [2, 3, 4, 5]);
    return [0, 1, 2, -1].map((axis) => g.q(g.op("Concat", [a, a, g.op("Neg", [a])], { axis }), 0.1, 128));
  }),
  graphCase("concat of a constant", (g) =>
    y(
      g,
      g.op("Concat", [x(g, [1, 2, 8]), g.dq(g.noise("uint8", [1, 1, 8]), 0.1, 128)], { axis: 1 }),
      0.1,
      128,
    ),
  ),
  graphCase(
    "concat, relu, quantizer",
    (g) => y(g, g.op("Relu", [g.op("Concat", [x(g), x(g, image, 0.3, 5)], { axis: 1 })])),
    { errors: ["QC2101"] },
  ),
  graphCase("concat, then pools", (g) => {
    const c = g.op("Concat", [x(g), x(g)], { axis: 1 });
    return [g.q(pool(g, "MaxPool", c), 0.1, 128), g.q(g.op("GlobalAveragePool", [c]), 0.1, 128)];
  }),
  graphCase("transposes of rank 2, 3 and 4 everywhere", (g) => {
    const a = x(g, [2, 3, 4]);
    const t = g.op("Transpose", [a], { perm: [2, 0, 1] });
    const u = g.op("Transpose", [x(g, [2, 3, 4, 5])], { perm: [3, 1, 0, 2] });
    return [
      g.q(t, 0.1, 128),
      g.q(g.op("MatMul", [g.op("Transpose", [a], { perm: [0, 2, 1] }), g.weights([3, 5])]), 0.2, 128),
      g.q(g.op("Relu", [u]), 0.2, 7),
      g.q(g.op("Transpose", [x(g, [3, 5])]), 0.1, 128),
      g.q(g.op("Add", [t, x(g, [4, 1, 3], 0.3, 1)]), 0.3, 128),
    ];
  }),
  graphCase("NHWC input transposed for a conv and back", (g) => {
    const t = g.op("Transpose", [x(g, [1, 6, 6, 4])], { perm: [0, 3, 1, 2] });
    const c = g.fq(g.op("Conv", [t, g.weights([5, 4, 3, 3])], { pads: [1, 1, 1, 1] }), 0.3, 99);
    const b = g.op("Transpose", [c], { perm: [0, 2, 3, 1] });
    return [g.q(b, 0.3, 99), g.q(g.op("MatMul", [b, g.weights([5, 3])]), 0.9, 99)];
  }),
  graphCase("float input through movement to two quantizers", (g) => {
    const i = g.input([1, 6, 6, 4], "float32");
    const t = g.op("Transpose", [i], { perm: [0, 3, 1, 2] });
    return [
      ...y(g, g.op("Conv", [g.fq(t, 0.05, 120), g.weights([5, 4, 3, 3])]), 0.3),
      g.q(g.op("Relu", [g.fq(i, 0.05, 0, { type: "int8" })]), 0.1, 0),
      g.q(i, 0.05, 120),
    ];
  }),
  graphCase("squeeze, unsqueeze, flatten, expand, tile", (g) => {
    const a = x(g, [1, 3, 1, 4]);
    return [
      g.q(g.op("Relu", [g.op("Squeeze", [a, g.ints([0, 2])])]), 0.1, 3),
      g.q(g.op("Unsqueeze", [a, g.ints([2, -1])]), 0.2, 3),
      g.q(g.op("Flatten", [a], { axis: 2 }), 0.2, 3),
      g.q(g.op("Expand", [a, g.ints([2, 3, 5, 4])]), 0.2, 3),
      g.q(g.op("Tile", [a, g.ints([1, 2, 3, 1])]), 0.2, 3),
    ];
  }),
  graphCase("slice, split, gather", (g) => {
    const a = x(g, [2, 6, 5]);
    const [p, q] = g.ops("Split", [a, g.ints([2, 4])], 2, { axis: 1 }) as [string, string];
    return [
      g.q(g.op("Slice", [a, g.ints([4, 0]), g.ints([-9, 99]), g.ints([1, 2]), g.ints([-2, 3])]), 0.1, 3),
      g.q(p, 0.3, 3),
      g.q(g.op("Relu", [q]), 0.3, 3),
      g.q(g.op("Gather", [a, g.ints([0, 3, 3])], { axis: 1 }), 0.1, 128),
    ];
  }),
  graphCase("channel shuffle between convs", (g) => {
    const c = g.fq(g.op("Conv", [x(g), g.weights([6, 2, 1, 1])], { group: 2 }), 0.2, 99);
    const r = g.op("Reshape", [c, g.ints([1, 2, 3, 6, 6])]);
    const t = g.op("Transpose", [r], { perm: [0, 2, 1, 3, 4] });
    const b = g.op("Reshape", [t, g.ints([1, 6, 6, 6])]);
    return y(g, g.op("Conv", [b, g.weights([6, 1, 3, 3])], { group: 6 }), 0.5);
  }),
  graphCase("space to depth, depth to space, resize", (g) => {
    const a = x(g, [1, 4, 4, 6]);
    return [
      g.q(g.op("SpaceToDepth", [a], { blocksize: 2 }), 0.1, 128),
      g.q(g.op("DepthToSpace", [a], { blocksize: 2 }), 0.1, 128),
      g.q(
        g.op("Resize", [a, "", g.floats([4], [1, 1, 2, 2])], {
          mode: "nearest",
          coordinate_transformation_mode: "asymmetric",
          nearest_mode: "floor",
        }),
        0.1,
        128,
      ),
    ];
  }),
  graphCase("pad with values on the grid, off it, by reflection", (g) => {
    const a = x(g);
    const pads = g.ints([0, 0, 1, 2, 0, 0, 0, 1]);
    return [
      g.q(g.op("Pad", [a, pads]), 0.1, 3),
      g.q(g.op("Pad", [a, pads, f(g, Math.fround(0.1) * 4)]), 0.1, 3),
      g.q(g.op("Pad", [a, pads], { mode: "reflect" }), 0.1, 3),
      g.q(g.op("Pad", [a, pads], { mode: "edge" }), 0.1, 3),
    ];
  }),
  graphCase(
    "pad with a value off the grid",
    (g) => y(g, g.op("Pad", [x(g), g.ints([0, 0, 1, 2, 0, 0, 0, 1]), f(g, 0.33)])),
    { errors: ["QC2103"] },
  ),
  graphCase(
    "pad beyond the range",
    (g) => y(g, g.op("Pad", [x(g), g.ints([0, 0, 1, 2, 0, 0, 0, 1]), f(g, -100)])),
    { errors: ["QC2103"] },
  ),
  graphCase("pad, cropping", (g) => y(g, g.op("Pad", [x(g), g.ints([0, 0, -1, 2, 0, 0, 0, -1])]))),
  graphCase("pad before conv and pool", (g) => {
    const p = g.op("Pad", [x(g), g.ints([0, 0, 1, 2, 0, 0, 0, 1])]);
    return [
      g.q(g.op("Conv", [p, g.weights([5, 4, 3, 3])]), 0.5, 99),
      g.q(pool(g, "MaxPool", p), 0.1, 128),
      g.q(pool(g, "AveragePool", p), 0.1, 128),
    ];
  }),
  graphCase("pad of a float input", (g) => {
    const p = g.op("Pad", [g.input(image, "float32"), g.ints([0, 0, 1, 1, 0, 0, 1, 1]), f(g, 0.73)]);
    return y(g, g.op("Conv", [g.fq(p, 0.05, 120), g.weights([5, 4, 3, 3])]), 0.3);
  }),
  graphCase(
    "pad after a conv without quantizer",
    (g) =>
      y(
        g,
        g.op("Pad", [g.op("Conv", [x(g), g.weights([5, 4, 3, 3])]), g.ints([0, 0, 1, 1, 0, 0, 1, 1])]),
        0.5,
      ),
    { errors: ["QC2103"] },
  ),
  graphCase("a mask of constants written in place", (g) => {
    const none = g.floats([2, 3], 0);
    const mask = g.op("ScatterND", [none, g.constant("int64", [2, 2], [0, 1, 1, 2]), g.floats([2], [-4, 3])]);
    return y(g, g.op("Add", [x(g, [4, 2, 3]), g.fq(mask, 0.5, 100)]));
  }),
];
