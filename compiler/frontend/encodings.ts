/**
 * Encodings of AIMET: quantizers in a file beside the model, by tensor name. For each, with n = 2^bits − 1,
 *
 *     x^ = (clamp(rne(x / scale) − offset, 0, n) + offset)·scale
 */
import { type Diagnostic, fail, ok, type Result } from "../ir/diagnostics.ts";
import { badEncoding, encodingAxis, floatEncoding, notEncodings } from "../ir/messages-encodings.ts";
import { roundReal } from "../ir/ops/rounding.ts";
import { int, type QuantType, type Scheme, sizeOf, tensor } from "../ir/types.ts";
import { isFloatDtype } from "./constants.ts";
import { append, materialize } from "./graph-import.ts";
import { type NodeImport, reject } from "./node-import.ts";
import type { OnnxNode } from "./onnx/model.ts";
import { stored } from "./onnx/ops/qonnx.ts";
import { type Operand, valueOperand } from "./operand.ts";

export interface Encoding {
  readonly tensor: string;
  /** 1 … 32. */
  readonly bits: number;
  /** One entry, or one per channel of an axis that the tensor's reader tells. */
  readonly scales: readonly number[];
  readonly offsets: readonly number[];
}

/** By tensor name. */
export interface Encodings {
  readonly path: string;
  readonly entries: ReadonlyMap<string, Encoding>;
}

const isRecord = (x: unknown): x is { readonly [key: string]: unknown } =>
  typeof x === "object" && x !== null && !Array.isArray(x);

/** Scales are rounded to float32, as AIMET's simulation holds them. */
function encodingOf(
  name: string,
  bits: unknown,
  dtype: unknown,
  scales: readonly unknown[],
  offsets: readonly unknown[],
): Encoding | Diagnostic {
  if (typeof bits !== "number") return badEncoding(name, "has no bit width");
  if (typeof dtype === "string" && dtype.toLowerCase().startsWith("float")) return floatEncoding(name, bits);
  if (!Number.isInteger(bits) || bits < 1 || bits > 32)
    return badEncoding(name, `has ${bits} bits, not 1 to 32`);
  if (scales.length === 0 || offsets.length !== scales.length)
    return badEncoding(name, `has ${scales.length} scales and ${offsets.length} offsets`);
  const rounded = scales.map((s) => (typeof s === "number" ? Math.fround(s) : Number.NaN));
  const bad = rounded.findIndex((s) => !(s > 0 && s < Number.POSITIVE_INFINITY));
  if (bad >= 0) return badEncoding(name, `has the scale ${String(scales[bad])}`);
  const wrong = offsets.find(
    (o) => !(Number.isInteger(o) && (o as number) <= 0 && -(o as number) < 2 ** bits),
  );
  if (wrong !== undefined)
    return badEncoding(name, `has the offset ${String(wrong)}, not −${2 ** bits - 1} to 0`);
  return { tensor: name, bits, scales: rounded, offsets: (offsets as readonly number[]).map((o) => o + 0) };
}

/** Version 0.x: by name, a list with one object per channel. */
function older(name: string, value: unknown): Encoding | Diagnostic {
  if (!Array.isArray(value) || value.length === 0 || !value.every(isRecord))
    return badEncoding(name, "is not a list of objects");
  const list = value as readonly { readonly [key: string]: unknown }[];
  const [{ bitwidth, dtype }] = list as [{ readonly [key: string]: unknown }];
  if (list.some((e) => e.bitwidth !== bitwidth || e.dtype !== dtype))
    return badEncoding(name, "has channels of different types");
  return encodingOf(
    name,
    bitwidth,
    dtype,
    list.map((e) => e.scale),
    list.map((e) => e.offset),
  );
}

/** Version 1.0.0: objects with lists. */
function newer(e: { readonly [key: string]: unknown }, name: string): Encoding | Diagnostic {
  const type = e.enc_type ?? "PER_TENSOR";
  if (type !== "PER_TENSOR" && type !== "PER_CHANNEL")
    return badEncoding(name, `is of type ${String(type)}, not PER_TENSOR or PER_CHANNEL`);
  const list = (x: unknown): readonly unknown[] => (Array.isArray(x) ? x : []);
  return encodingOf(name, e.bw, e.dtype, list(e.scale), list(e.offset));
}

const SECTIONS = ["activation_encodings", "param_encodings"] as const;

/** Text of an `.encodings` file, version 0.x or 1.0. */
export function parseEncodings(text: string, path: string): Result<Encodings> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail(notEncodings(path, "it is not JSON"));
  }
  if (!isRecord(value) || !SECTIONS.some((s) => s in (value as object)))
    return fail(notEncodings(path, `it has no ${SECTIONS.join(" and no ")}`));
  const entries = new Map<string, Encoding>();
  const found: Diagnostic[] = [];
  const take = (made: Encoding | Diagnostic): void => {
    if ("code" in made) found.push(made);
    else if (entries.has(made.tensor)) found.push(badEncoding(made.tensor, "is given twice"));
    else entries.set(made.tensor, made);
  };
  for (const section of SECTIONS) {
    const part = value[section] ?? [];
    if (Array.isArray(part))
      for (const [i, e] of part.entries()) {
        if (isRecord(e) && typeof e.name === "string") take(newer(e, e.name));
        else found.push(notEncodings(path, `entry ${i} of ${section} has no name`));
      }
    else if (isRecord(part)) for (const [name, e] of Object.entries(part)) take(older(name, e));
    else found.push(notEncodings(path, `${section} is neither a list nor an object`));
  }
  return found.length > 0 ? fail(...found) : ok({ path, entries });
}

/** The axis of a weight's output channels where it is read: what AIMET varies scales along. */
function readAxis(reader: OnnxNode | undefined, name: string, rank: number): number | undefined {
  const transposed = reader?.attributes.get("transB");
  switch (reader?.op) {
    case "Conv":
      return 0;
    case "ConvTranspose":
      return 1;
    case "Gemm":
      return reader.inputs[1] === name && transposed?.kind === "int" && Number(transposed.value) === 1
        ? 0
        : rank - 1;
    case "MatMul":
      return rank - 1;
    default:
      return undefined;
  }
}

function schemeOf(x: Operand, e: Encoding, zeros: readonly number[], reader: OnnxNode | undefined): Scheme {
  if (e.scales.length === 1) return { kind: "tensor", scale: e.scales[0]!, zeroPoint: zeros[0]! };
  const fits = x.shape.flatMap((d, axis) => (d === e.scales.length ? [axis] : []));
  const expected = readAxis(reader, e.tensor, x.shape.length);
  const axis = expected !== undefined && fits.includes(expected) ? expected : fits[0];
  if (axis === undefined || (fits.length > 1 && axis !== expected))
    return reject(encodingAxis(e.tensor, e.scales.length, x.shape));
  return { kind: "axis", axis, scales: e.scales, zeroPoints: zeros };
}

/** x on the grid of its encoding; `n` a place named after the tensor, `reader` the first node that reads it. */
export function encoded(n: NodeImport, x: Operand, e: Encoding, reader: OnnxNode | undefined): Operand {
  if (!isFloatDtype(x.dtype)) return reject(badEncoding(e.tensor, `is for a tensor of type ${x.dtype}`));
  const half = 2 ** (e.bits - 1);
  // Offsets in the middle are what signed integers around zero mean.
  const signed = e.offsets.every((o) => o === -half);
  const [lo, hi] = signed ? [-half, half - 1] : [0, 2 * half - 1];
  const zeros = e.offsets.map((o) => (signed ? 0 : -o));
  const scheme = schemeOf(x, e, zeros, reader);
  const type: QuantType = { kind: "quant", storage: int(signed, e.bits), lo, hi, scheme };
  if (x.kind === "constant") {
    const inner = scheme.kind === "axis" ? sizeOf(x.shape.slice(scheme.axis + 1)) : 1;
    const data = Float64Array.from(x.constant.dense.data as ArrayLike<number>, (v, i) => {
      const c = scheme.kind === "axis" ? Math.floor(i / inner) % e.scales.length : 0;
      const q = roundReal("half_even", Math.fround(v / e.scales[c]!)) + zeros[c]!;
      return q >= lo ? Math.min(q, hi) : lo;
    });
    return stored(n, x, data, type);
  }
  const q = append(n, "quant.quantize", [x], [materialize(n, x)], {}, tensor(x.shape, type));
  n.graph.names.set(q, `${e.tensor}_q`);
  return valueOperand(append(n, "quant.dequantize", [x], [q], {}), x.dtype, x.name);
}
