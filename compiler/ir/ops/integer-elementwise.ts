/** Integer elementwise ops and channel insertion. */
import type { Dense } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { intMax, intMin, sizeOf, stridesOf } from "../types.ts";
import {
  axisIn,
  axisOffsets,
  broadcastShapes,
  broadcastTo,
  gatherAxes,
  pickOffsets,
  sameContainer,
} from "./axes.ts";
import { allOf, chosenInt, ints, required, storeInts } from "./define.ts";

const clamp = defineOp({
  name: "qc.clamp",
  summary: "min(max(x, lo), hi). The author may choose a narrower result type that holds lo … hi.",
  operands: ["x"],
  attrs: { lo: required("int", "lower bound"), hi: required("int", "upper bound") },
  traits: ["elementwise", "monotone"],
  infer: ([x], attrs, declared) => {
    const bad = allOf("int", [x!]);
    if (bad) return bad;
    if ((attrs.lo as number) > (attrs.hi as number)) return "lo must not exceed hi";
    return chosenInt(x!.shape, declared, x!.elem);
  },
  evaluate: ([x], attrs, [type]) => {
    const [lo, hi] = [attrs.lo as number, attrs.hi as number];
    return [
      storeInts(
        Float64Array.from(x!.data, (v) => Math.min(Math.max(v, lo), hi)),
        type!,
      ),
    ];
  },
});

const addConst = defineOp({
  name: "qc.add_const",
  summary: "x + value. The author chooses the result's integer type.",
  operands: ["x"],
  attrs: { value: required("int", "what is added") },
  traits: ["elementwise", "monotone"],
  infer: ([x], _, declared) => allOf("int", [x!]) ?? chosenInt(x!.shape, declared, x!.elem),
  evaluate: ([x], attrs, [type]) => {
    const value = attrs.value as number;
    return [
      storeInts(
        Float64Array.from(x!.data, (v) => v + value),
        type!,
      ),
    ];
  },
});

const table = defineOp({
  name: "qc.table",
  summary:
    "y = table[x − min]. x must lie in min … min + length − 1; the result has the table's element type.",
  operands: ["x"],
  attrs: {
    table: required("dense", "rank 1, integers"),
    min: required("int", "the x of the first entry"),
  },
  traits: ["elementwise"],
  infer: ([x], attrs) => {
    const bad = allOf("int", [x!]);
    const t = attrs.table as Dense;
    if (bad) return bad;
    if (t.shape.length !== 1 || t.elem.kind !== "int") return "the table must be a rank 1 integer constant";
    return [{ shape: x!.shape, elem: t.elem }];
  },
  evaluate: ([x], attrs, [type]) => {
    const t = (attrs.table as Dense).data;
    const min = attrs.min as number;
    const out = new Float64Array(x!.data.length);
    for (let i = 0; i < out.length; i++) {
      const y = t[x!.data[i]! - min];
      if (y === undefined) throw new RangeError(`${x!.data[i]} at element ${i} is outside the table`);
      out[i] = y;
    }
    return [storeInts(out, type!)];
  },
});

/** The greater or the smaller of two integers, element by element. */
const extreme = (name: "qc.max" | "qc.min", pick: (a: number, b: number) => number): OpDef =>
  defineOp({
    name,
    summary: `${name.slice(3)}(a, b), numpy broadcasting. The author chooses the result's integer type.`,
    operands: ["a", "b"],
    attrs: {},
    traits: ["elementwise"],
    infer: ([a, b], _, declared) => {
      const shape = broadcastShapes(a!.shape, b!.shape);
      if (shape === undefined) return "the operands' shapes do not broadcast";
      return allOf("int", [a!, b!]) ?? chosenInt(shape, declared, a!.elem);
    },
    evaluate: ([a, b], _, [type]) => {
      const y = broadcastTo(b!, type!.shape);
      return [
        storeInts(
          Float64Array.from(broadcastTo(a!, type!.shape), (v, i) => pick(v, y[i]!)),
          type!,
        ),
      ];
    },
  });

const insertChannels = defineOp({
  name: "qc.insert_channels",
  summary:
    "Along `axis` the result has `size` indices: `indices` hold the constants `values`, the others x's channels in order.",
  operands: ["x"],
  attrs: {
    axis: required("int", "counted from the front"),
    indices: required("ints", "result indices that are constant, ascending"),
    values: required("ints", "one per index"),
    size: required("int", "the result's size along the axis"),
  },
  traits: [],
  infer: ([x], attrs) => {
    const bad = allOf("int", [x!]);
    if (bad || x!.elem.kind !== "int") return bad ?? "";
    const axis = attrs.axis as number;
    const size = attrs.size as number;
    const indices = ints(attrs.indices);
    const elem = x!.elem;
    if (!axisIn(axis, x!.shape.length)) return `axis ${axis} is not an axis of x`;
    if (x!.shape[axis]! + indices.length !== size)
      return `${x!.shape[axis]} channels and ${indices.length} constants do not make ${size}`;
    if (indices.some((c, i) => c < 0 || c >= size || (i > 0 && c <= indices[i - 1]!)))
      return "indices must ascend within the axis";
    if (ints(attrs.values).length !== indices.length) return "values needs one entry per index";
    if (ints(attrs.values).some((v) => v < intMin(elem) || v > intMax(elem)))
      return "a value is outside the element type";
    return [{ shape: x!.shape.map((d, i) => (i === axis ? size : d)), elem }];
  },
  evaluate: ([x], attrs, [type]) => {
    const axis = attrs.axis as number;
    const indices = ints(attrs.indices);
    const data = sameContainer(x!, sizeOf(type!.shape));
    const inner = sizeOf(type!.shape.slice(axis + 1));
    const row = type!.shape[axis]! * inner;
    for (let o = 0; o < data.length; o += row)
      for (let i = 0; i < indices.length; i++)
        data.fill(ints(attrs.values)[i]!, o + indices[i]! * inner, o + (indices[i]! + 1) * inner);
    let next = 0;
    const from = Array.from({ length: attrs.size as number }, (_, i) => (indices.includes(i) ? -1 : next++));
    const strides = stridesOf(x!.shape);
    gatherAxes(
      x!.data,
      data,
      x!.shape.map((d, i) => (i === axis ? pickOffsets(from, strides[i]!) : axisOffsets(d, strides[i]!))),
    );
    return [{ kind: "dense", elem: x!.elem, shape: type!.shape, data }];
  },
});

const call = defineOp({
  name: "qc.call",
  summary: "Calls the function `callee` of the same module: operands are its params, results its results.",
  operands: ["x…"],
  attrs: { callee: required("string", "the function's name, without @") },
  traits: [],
  infer: (_, __, declared) => declared ?? "a call needs declared result types",
  evaluate: () => {
    throw new Error("qc.call is evaluated by the interpreter, which has the module");
  },
});

export const integerElementwiseOps: readonly OpDef[] = [
  clamp,
  addConst,
  table,
  extreme("qc.max", Math.max),
  extreme("qc.min", Math.min),
  insertChannels,
  call,
];
