/** A module as something that runs, by the reference interpreter, with the boundaries of the artifact. */
import { dequantize, quantize } from "../../runtime/boundary.ts";
import { carrierOf, type IntArray, type TensorData } from "../../runtime/elements.ts";
import type { Dtype } from "../../runtime/format.ts";
import { type Dense, dense, interpret, type Module, type Port } from "../index.ts";
import type { Tensors, Wanted } from "./tensors.ts";

/** Graph inputs, each name once. */
export function inputsOf(module: Module): readonly Wanted[] {
  const seen = new Map<string, Wanted>();
  for (const p of module.funcs[0]?.params ?? [])
    if (!seen.has(p.name)) seen.set(p.name, { name: p.name, dtype: dtypeOf(p), shape: p.value.type.shape });
  return [...seen.values()];
}

/** Text modules may leave the dtype open; then it follows from the type. */
export function dtypeOf(port: Port): Dtype {
  if (port.dtype !== "") return port.dtype as Dtype;
  const { elem } = port.value.type;
  if (elem.kind === "float") return elem.bits === 64 ? "float64" : "float32";
  const t = elem.kind === "quant" ? elem.storage : elem;
  return `${t.signed ? "int" : "uint"}${t.bits <= 8 ? 8 : t.bits <= 16 ? 16 : 32}` as Dtype;
}

/** The dense value of a param from the user's tensor: float ports quantize, the others pass. */
function feed(port: Port, x: TensorData): Dense {
  const { shape, elem } = port.value.type;
  const stored = elem.kind === "quant" ? elem.storage : elem;
  const b = port.boundary;
  if (!("lo" in b)) return dense(stored, shape, Float64Array.from(x as IntArray, Number));
  const q = new Int32Array(x.length);
  quantize(x as Float32Array, q, b, 0);
  return dense(stored, shape, q);
}

/** What the user gets of a result: floats by its boundary, integers in their dtype's array. */
function fetch(port: Port, d: Dense, raw: boolean): TensorData {
  if (raw) return d.elem.kind === "float" ? Float64Array.from(d.data) : Int32Array.from(d.data);
  const { array } = carrierOf(dtypeOf(port));
  const b = port.boundary;
  const out = new array(d.data.length);
  if (b.kind === "dequantize") dequantize(Int32Array.from(d.data), out as Float32Array, b, 0, d.shape);
  else {
    const big = array.name.startsWith("Big");
    d.data.forEach((v, i) => {
      (out as { [i: number]: number | bigint })[i] = big ? BigInt(v) : v;
    });
  }
  return out;
}

/** What the interpreter takes for tensors by input name. */
export const inputsFrom = (module: Module, tensors: Tensors): ReadonlyMap<string, Dense> =>
  new Map(module.funcs[0]!.params.map((p) => [p.name, feed(p, tensors.get(p.name)!)]));

export interface Result {
  readonly port: Port;
  readonly data: TensorData;
}

/**
 * Runs the module on tensors by input name; `raw` gives the integers as Int32Array instead. `float32`: float islands round
 * every result.
 */
export function runReference(
  module: Module,
  inputs: Tensors,
  { raw = false, float32 = false } = {},
): readonly Result[] {
  const params = module.funcs[0]!.params;
  const args = new Map(params.map((p) => [p, feed(p, inputs.get(p.name)!)] as const));
  return interpret(module, args, { float32 }).map((o) => ({
    port: o.port,
    data: fetch(o.port, o.dense, raw),
  }));
}
