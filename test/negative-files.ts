/** Files that users get wrong: one per mistake, as an exporter or a hand would make it. */
import {
  f32,
  type GraphSpec,
  i8,
  type ModelSpec,
  model,
  type Node,
  node,
  type Tensor,
  u8,
  value,
} from "./onnx-writer.ts";

export interface NegativeFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Noise that lies on no grid. */
const irregular = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i * i + 1) / 3);
const whole = (n: number): number[] => Array.from({ length: n }, (_, i) => ((i * 37) % 127) - 63);

const common: Readonly<Record<string, Tensor>> = {
  s: f32([], [0.05]),
  z: u8([], [128]),
  ws: f32([], [0.01]),
  w8: i8([4, 4, 1, 1], whole(16)),
};
const quantizer = (x: string): Node[] => [
  node("QuantizeLinear", [x, "s", "z"], [`${x}_q`]),
  node("DequantizeLinear", [`${x}_q`, "s", "z"], [`${x}_d`]),
];

interface Parts {
  readonly nodes: readonly Node[];
  readonly initializers?: Readonly<Record<string, Tensor>>;
  readonly input?: readonly (number | string)[];
  readonly output?: string;
  readonly opsets?: ModelSpec["opsets"];
}

/** x → Q → DQ → `nodes` → y, with the quantized weights `w` at hand. */
const file = ({ nodes, initializers = {}, input = [1, 4, 6, 6], output = "y", opsets }: Parts): Uint8Array =>
  model({
    opset: 21,
    ...(opsets && { opsets }),
    inputs: [value("x", "float32", input)],
    outputs: [value(output)],
    initializers: { ...common, ...initializers },
    nodes: [...quantizer("x"), node("DequantizeLinear", ["w8", "ws"], ["w"]), ...nodes],
  } as GraphSpec & ModelSpec);

export const negativeFiles: Readonly<Record<string, Uint8Array>> = {
  "a branch without a quantizer": file({
    nodes: [
      node("Conv", ["x_d", "w"], ["c"], {}, { name: "left" }),
      node("Conv", ["x_d", "w"], ["e"]),
      node("HardSwish", ["e"], ["h"], {}, { name: "right" }),
      node("Add", ["c", "h"], ["sum"], {}, { name: "join" }),
      ...quantizer("sum"),
    ],
    output: "sum_d",
  }),
  "weights off any grid": file({
    initializers: { wf: f32([4, 4, 1, 1], irregular(16)) },
    nodes: [node("Conv", ["x_d", "wf"], ["c"], {}, { name: "conv" }), ...quantizer("c")],
    output: "c_d",
  }),
  "a dynamic dimension that is not the batch": file({
    input: ["N", 4, "height", 6],
    nodes: [node("Conv", ["x_d", "w"], ["c"]), ...quantizer("c")],
    output: "c_d",
  }),
  "an unknown operator": file({
    opsets: { "com.vendor": 1 },
    nodes: [node("Twist", ["x_d"], ["t"], {}, { name: "twist", domain: "com.vendor" }), ...quantizer("t")],
    output: "t_d",
  }),
  "a foreign quantizer left over": file({
    opsets: { trt: 1 },
    nodes: [
      node("Conv", ["x_d", "w"], ["c"]),
      node("TRT_FP8QuantizeLinear", ["c", "s"], ["t"], {}, { name: "left_over", domain: "trt" }),
      node("TRT_FP8DequantizeLinear", ["t", "s"], ["y"], {}, { domain: "trt" }),
    ],
  }),
  "contradictory ranges": file({
    opsets: { "org.openvinotoolkit": 1 },
    initializers: { lo: f32([], [3]), hi: f32([], [-3]) },
    nodes: [
      node(
        "FakeQuantize",
        ["x_d", "lo", "hi", "lo", "hi"],
        ["y"],
        { levels: 256 },
        {
          name: "fq",
          domain: "org.openvinotoolkit",
        },
      ),
    ],
  }),
  "a scale that is not a number": file({
    initializers: { nan: f32([], [Number.NaN]) },
    nodes: [
      node("Conv", ["x_d", "w"], ["c"]),
      node("QuantizeLinear", ["c", "nan", "z"], ["y"], {}, { name: "q" }),
    ],
  }),
  "a dimension of size zero": file({
    input: [1, 4, 0, 6],
    nodes: [node("Conv", ["x_d", "w"], ["c"]), ...quantizer("c")],
    output: "c_d",
  }),
};
