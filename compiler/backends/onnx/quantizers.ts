/** Quantizers and quantized constants. What QuantizeLinear cannot say becomes arithmetic around a rounding. */
import type { Dense, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import type { Rounding } from "../../ir/rational.ts";
import type { QuantType, TensorType } from "../../ir/types.ts";
import { type Emitter, isSingle, type Written } from "./emitter.ts";
import type { Dtype, Node } from "./model.ts";

/**
 * A tensor of the file that stands for a value of the IR. `real`: of a quantized type, and the tensor has the real
 * numbers instead of the integers.
 */
export interface Carried extends Written {
  readonly real?: boolean;
}

/** How a result is called: `take` gives the tensor's name, once its type is known. */
export interface Label {
  readonly hint: string;
  /** Type of the graph output that it is. */
  readonly output: string | undefined;
  readonly take: (dtype: Dtype) => string;
}

type StoredDtype = "int4" | "uint4" | "int8" | "uint8" | "int16" | "uint16" | "int32";

const RANGES: readonly (readonly [StoredDtype, lo: number, hi: number])[] = [
  ["int4", -8, 7],
  ["uint4", 0, 15],
  ["int8", -128, 127],
  ["uint8", 0, 255],
  ["int16", -32768, 32767],
  ["uint16", 0, 65535],
  ["int32", -(2 ** 31), 2 ** 31 - 1],
];
const rangeOf = (dtype: Dtype) => RANGES.find(([d]) => d === dtype)!;

/** Where the integers of a quantized type are stored; four-bit types only hold constants. */
function storageOf({ storage }: QuantType, constant: boolean): StoredDtype | undefined {
  const { signed, bits } = storage;
  if (constant && bits === 4) return signed ? "int4" : "uint4";
  if (bits <= 8) return signed ? "int8" : "uint8";
  if (bits <= 16) return signed ? "int16" : "uint16";
  return signed || bits < 32 ? "int32" : undefined;
}

interface Parameters {
  readonly scales: readonly number[];
  readonly zeros: readonly number[];
  readonly axis: number | undefined;
}

const parametersOf = ({ scheme }: QuantType): Parameters =>
  scheme.kind === "axis"
    ? { scales: scheme.scales, zeros: scheme.zeroPoints, axis: scheme.axis }
    : { scales: [scheme.scale], zeros: [scheme.zeroPoint], axis: undefined };

/** Shape of numbers that vary along the axis of a tensor of this rank. */
const along = (p: Parameters, rank: number): readonly number[] =>
  p.axis === undefined ? [] : Array.from({ length: rank }, (_, i) => (i === p.axis ? p.scales.length : 1));

/** Whether a scale and zero point are inputs that QuantizeLinear and DequantizeLinear take for these integers. */
function isLinear(p: Parameters, dtype: StoredDtype): boolean {
  const [, lo, hi] = rangeOf(dtype);
  const zero = (z: number): boolean =>
    Number.isInteger(z) && z >= lo && z <= hi && (dtype !== "int32" || z === 0);
  return p.scales.every(isSingle) && p.zeros.every(zero);
}

/** Scale, zero point unless it is nothing, and the axis. */
function linearInputs(e: Emitter, base: string, p: Parameters, dtype: StoredDtype) {
  const shape = p.axis === undefined ? [] : [p.scales.length];
  const scale = e.constant(`${base}_scale`, "float32", shape, p.scales);
  const zero = dtype === "int32" ? [] : [e.constant(`${base}_zero_point`, dtype, shape, p.zeros).name];
  const attributes: Node["attributes"] = p.axis === undefined ? {} : { axis: { kind: "int", value: p.axis } };
  return { inputs: [scale.name, ...zero], attributes };
}

const UNIT: Parameters = { scales: [1], zeros: [0], axis: undefined };

/** (q − z)·s */
export const writeDequantize = (e: Emitter, op: Op, q: Written, to: Written): Written =>
  dequantized(e, q, parametersOf(op.operands[0]!.type.elem as QuantType), to, op);

function dequantized(e: Emitter, q: Written, p: Parameters, to: Written, op: Op): Written {
  const dtype = RANGES.find(([d]) => d === q.dtype)?.[0];
  if (dtype === undefined) {
    e.refuse(op.loc, `a quantized tensor of type ${q.dtype}`);
    return to;
  }
  const name = op.loc?.kind === "node" ? op.loc.name : "";
  if (isLinear(p, dtype)) {
    const { inputs, attributes } = linearInputs(e, q.name, p, dtype);
    return e.node("DequantizeLinear", [q.name, ...inputs], to, { attributes, name });
  }
  const unit = linearInputs(e, q.name, UNIT, dtype);
  const raw: Written = { ...to, name: e.fresh(`${to.name}_integers`), dtype: "float32" };
  return affine(e, e.node("DequantizeLinear", [q.name, ...unit.inputs], raw), p, to);
}

/** (k − z)·s of integers k that are floats. */
function affine(e: Emitter, k: Written, p: Parameters, to: Written): Written {
  const shape = along(p, to.shape.length);
  const shifted = p.zeros.every((z) => z === 0)
    ? k
    : apply(e, "Sub", k, e.reals(`${to.name}_zero_point`, shape, p.zeros));
  if (p.scales.every((s) => s === 1))
    return shifted.dtype === to.dtype ? e.node("Identity", [shifted.name], to) : e.cast(shifted, to);
  const scale = e.reals(`${to.name}_scale`, shape, p.scales);
  const [a, b] = e.together([shifted, scale], true);
  if (a!.dtype === "float32") return e.node("Mul", [a!.name, b!.name], to);
  const wide = e.node("Mul", [a!.name, b!.name], {
    ...to,
    name: e.fresh(`${to.name}_wide`),
    dtype: "float64",
  });
  return e.cast(wide, to);
}

/** A binary operator with a constant that broadcasts to x. */
function apply(e: Emitter, op: string, x: Written, c: Written): Written {
  const [a, b] = e.together([x, c], true);
  const to = { ...x, name: e.fresh(`${x.name}_${op}`), dtype: a!.dtype };
  return e.node(op, [a!.name, b!.name], to);
}

const unary = (e: Emitter, op: string, x: Written): Written =>
  e.node(op, [x.name], { ...x, name: e.fresh(`${x.name}_${op}`) });

function clip(e: Emitter, x: Written, lo: number, hi: number): Written {
  const dtype = x.dtype as "float32" | "float64" | "int8" | "uint8";
  const bounds = [e.constant(`${x.name}_min`, dtype, [], [lo]), e.constant(`${x.name}_max`, dtype, [], [hi])];
  const to = { ...x, name: e.fresh(`${x.name}_Clip`) };
  return e.node("Clip", [x.name, ...bounds.map((b) => b.name)], to);
}

/** A rounding as ONNX operators, of numbers that are not negative and of those that are not positive: op(v + shift). */
const ROUNDINGS: {
  readonly [r in Rounding]: { readonly [side in "above" | "below"]: readonly [op: string, shift: number] };
} = {
  half_even: { above: ["Round", 0], below: ["Round", 0] },
  floor: { above: ["Floor", 0], below: ["Floor", 0] },
  ceil: { above: ["Ceil", 0], below: ["Ceil", 0] },
  half_up: { above: ["Floor", 0.5], below: ["Ceil", -0.5] },
  half_down: { above: ["Ceil", -0.5], below: ["Floor", 0.5] },
  up: { above: ["Ceil", 0], below: ["Floor", 0] },
  down: { above: ["Floor", 0], below: ["Ceil", 0] },
};

/** clamp(R(v + z), lo, hi) as float integers k, z being p's zero points; k + zero has at most 16 bits. */
function rounded(e: Emitter, v: Written, p: Parameters, r: Rounding, lo: number, hi: number, zero: number) {
  const { above, below } = ROUNDINGS[r];
  const side = ([op, shift]: readonly [string, number], from: number, to: number): Written => {
    const by = p.zeros.map((z) => z + shift);
    const shape = along(p, v.shape.length);
    const moved = by.every((x) => x === 0) ? v : apply(e, "Add", v, e.reals(`${v.name}_offset`, shape, by));
    return clip(e, unary(e, op, moved), from, to);
  };
  const same = above[0] === below[0] && above[1] === below[1];
  if (same || lo >= 0) return side(above, lo, hi);
  if (hi <= 0) return side(below, lo, hi);
  const [a, b] = [side(above, 0, hi), side(below, lo, 0)];
  const sum = e.node("Add", [a.name, b.name], { ...a, name: e.fresh(`${v.name}_rounded`) });
  return unitQuantized(e, sum, lo, hi, zero);
}

/** Integers lo … hi through a quantizer of scale 1 and zero point z, which says that they are. */
function unitQuantized(e: Emitter, k: Written, lo: number, hi: number, z: number): Written {
  const x = e.as(k, "float32");
  const dtype = RANGES.find(([d, least, most]) => !d.endsWith("4") && lo + z >= least && hi + z <= most)?.[0];
  if (dtype === undefined || dtype === "int32") {
    e.refuse(undefined, `a rounding to or from zero of more than 16 bits`);
    return k;
  }
  const { inputs } = linearInputs(e, k.name, { ...UNIT, zeros: [z] }, dtype);
  const q = e.node("QuantizeLinear", [x.name, ...inputs], {
    ...x,
    name: e.fresh(`${k.name}_quantized`),
    dtype,
  });
  return e.node("DequantizeLinear", [q.name, ...inputs], { ...x, name: e.fresh(`${k.name}_dequantized`) });
}

/** Whether R(v + z) = R(v) + z for all v. */
const commutes = (r: Rounding, zeros: readonly number[]): boolean =>
  zeros.every(
    (z) =>
      z === 0 || (Number.isInteger(z) && (r === "half_even" ? z % 2 === 0 : r === "floor" || r === "ceil")),
  );

export function writeQuantize(e: Emitter, op: Op, x: Written, label: Label): Carried {
  const type = op.results[0]!.type.elem as QuantType;
  const p = parametersOf(type);
  const rounding = attr<Rounding>(op, "rounding");
  const after = attr<string>(op, "order") === "round_then_shift" || commutes(rounding, p.zeros);
  const linear = after && rounding === "half_even" ? linearStorage(type, p, label.output) : undefined;
  if (linear !== undefined) return quantized(e, x, type, label, linear, op);
  const even = p.zeros.every((z) => z === p.zeros[0]);
  if (even && (!after || Number.isInteger(p.zeros[0])))
    return arithmetic(e, x, p, type, rounding, after, label.hint);
  e.refuse(op.loc, "a quantizer whose channels have several zero points");
  return { ...x, real: true };
}

/** The type in which QuantizeLinear, with a Clip of bytes, makes the integers of a quantized type. */
function linearStorage(type: QuantType, p: Parameters, output: string | undefined): StoredDtype | undefined {
  const packed = storageOf(type, true);
  const dtype = output === packed ? packed : storageOf(type, false);
  if (dtype === undefined || dtype === "int32" || !isLinear(p, dtype)) return undefined;
  const [, least, most] = rangeOf(dtype);
  return most <= 255 || (type.lo <= least && type.hi >= most) ? dtype : undefined;
}

function quantized(
  e: Emitter,
  x: Written,
  type: QuantType,
  label: Label,
  dtype: StoredDtype,
  op?: Op,
): Written {
  const to: Written = { name: label.take(dtype), dtype, shape: x.shape };
  const [, least, most] = rangeOf(dtype);
  const { inputs, attributes } = linearInputs(e, to.name, parametersOf(type), dtype);
  const single = e.as(x, "float32");
  const options = { attributes, name: op?.loc?.kind === "node" ? op.loc.name : "" };
  if (type.lo <= least && type.hi >= most)
    return e.node("QuantizeLinear", [single.name, ...inputs], to, options);
  const open = { ...to, name: e.fresh(`${to.name}_unclipped`) };
  const q = e.node("QuantizeLinear", [single.name, ...inputs], open, options);
  const bound = (role: string, value: number): string =>
    e.constant(`${to.name}_${role}`, dtype, [], [value]).name;
  return e.node("Clip", [q.name, bound("min", type.lo), bound("max", type.hi)], to);
}

/** The integers of a value that is carried as real numbers on its grid; undefined where QuantizeLinear cannot say it. */
export function writeIntegers(
  e: Emitter,
  { elem }: TensorType,
  x: Written,
  label: Label,
): Written | undefined {
  if (elem.kind !== "quant") return undefined;
  const dtype = linearStorage(elem, parametersOf(elem), label.output);
  return dtype && quantized(e, x, elem, label, dtype);
}

function arithmetic(
  e: Emitter,
  x: Written,
  p: Parameters,
  type: QuantType,
  r: Rounding,
  after: boolean,
  hint: string,
): Carried {
  const scale = e.reals(`${hint}_scale`, along(p, x.shape.length), p.scales);
  const v = p.scales.every((s) => s === 1) ? x : apply(e, "Div", x, scale);
  const z = after ? p.zeros[0]! : 0;
  const none = p.zeros.map(() => 0);
  const wide = Math.max(Math.abs(type.lo - z), Math.abs(type.hi - z)) > 2 ** 24 ? e.as(v, "float64") : v;
  const q = { ...p, zeros: after ? none : p.zeros };
  const k = rounded(e, wide, q, r, type.lo - z, type.hi - z, z);
  const real: Written = { name: e.fresh(`${hint}_real`), dtype: "float32", shape: x.shape };
  return { ...affine(e, k, q, real), real: true };
}

/** Integers of a constant, of a quantized type or a float one, under its own shape or another of equal size. */
export function writeConstant(
  e: Emitter,
  op: Op,
  name: string,
  { onlyDequantized, shape }: { readonly onlyDequantized: boolean; readonly shape: readonly number[] },
): Carried {
  const { data } = attr<Dense>(op, "value");
  const { elem } = op.results[0]!.type;
  if (elem.kind === "float") return e.reals(name, shape, data);
  const type: QuantType =
    elem.kind === "quant"
      ? elem
      : { kind: "quant", storage: elem, lo: 0, hi: 0, scheme: { kind: "tensor", scale: 1, zeroPoint: 0 } };
  const dtype = storageOf(type, onlyDequantized);
  if (dtype !== undefined) return e.constant(name, dtype, shape, data);
  e.refuse(op.loc, "a constant of 32-bit integers without sign");
  return { name, dtype: "uint32", shape };
}

/** Whether DequantizeLinear alone says what the integers of a quantized constant stand for. */
export function isDequantizeLinear(made: Op): boolean {
  const type = made.results[0]!.type.elem as QuantType;
  const dtype = storageOf(type, true);
  return dtype !== undefined && isLinear(parametersOf(type), dtype);
}

/** A constant bias of C elements per channel as a tensor of shape [C], dequantized where it is quantized. */
export function writeBias(e: Emitter, dequantize: Op | undefined, made: Op, name: string): Written {
  const { data } = attr<Dense>(made, "value");
  const shape = [data.length];
  const q = writeConstant(e, made, dequantize ? `${name}_quantized` : name, { onlyDequantized: true, shape });
  if (dequantize === undefined) return q;
  const p = parametersOf(made.results[0]!.type.elem as QuantType);
  const to: Written = { name: e.fresh(name), dtype: "float32", shape };
  return dequantized(e, q, p.axis === undefined ? p : { ...p, axis: 0 }, to, dequantize);
}

/** The real numbers that a stored integer of a quantized type stands for. */
export const realOf = ({ elem }: TensorType, stored: number): number =>
  elem.kind === "quant" && elem.scheme.kind === "tensor"
    ? (stored - elem.scheme.zeroPoint) * elem.scheme.scale
    : stored;
