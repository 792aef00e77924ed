/** The graph as the importer and the recognizers leave it → a standard QDQ ONNX file. */
import { type Diagnostic, fail, ok, type Result } from "../../ir/diagnostics.ts";
import { type Attrs, type Func, type Module, type Op, type Port, uses, type Value } from "../../ir/module.ts";
import { createEmitter, type Emitter, isSingle, type Written } from "./emitter.ts";
import { encode } from "./encode.ts";
import { type Fused, fusions } from "./fuse.ts";
import { type Attribute, isDtype, isFloat, type Node, type ValueInfo } from "./model.ts";
import { tensorNames } from "./names.ts";
import { type AttributeKind, type Extra, OPERATORS, type OperatorRow } from "./operators.ts";
import {
  type Carried,
  type Label,
  realOf,
  writeBias,
  writeConstant,
  writeDequantize,
  writeIntegers,
  writeQuantize,
} from "./quantizers.ts";

function attribute(e: Emitter, op: Op, from: string, kind: AttributeKind): Attribute {
  const v = op.attrs[from];
  switch (kind) {
    case "float":
      if (!isSingle(v as number)) e.refuse(op.loc, `${from} = ${v as number}, which is no float32`);
      return { kind, value: v as number };
    case "flag":
      return { kind: "int", value: v === true ? 1 : 0 };
    case "int":
      return { kind, value: v as number };
    case "ints":
      return { kind, value: v as readonly number[] };
    case "string":
      return { kind, value: v as string };
  }
}

const attributesOf = (e: Emitter, op: Op, row: OperatorRow): Node["attributes"] =>
  Object.fromEntries(
    Object.entries(row.attributes ?? {}).map(([name, [from, kind]]) => [name, attribute(e, op, from, kind)]),
  );

/** An input made of an attribute; "" leaves it out. Values that go with `x` decide its type with it. */
function extra(e: Emitter, base: string, x: Written, it: Extra): string {
  if (it.kind === "none") return "";
  if (it.kind === "int64" || it.kind === "float32")
    return e.constant(`${base}_${it.role}`, it.kind, [it.values.length], it.values).name;
  return e.constant(`${base}_${it.role}`, x.dtype as "float32", [], [it.value]).name;
}

/** Padding with a real number where the tensor carries those. */
const extrasOf = (row: OperatorRow, attrs: Attrs, x: Value, real: boolean): readonly Extra[] =>
  (row.extras?.(attrs, x.type) ?? []).map((it) =>
    real && it.kind === "like" ? { ...it, value: realOf(x.type, it.value) } : it,
  );

const trimmed = (inputs: readonly string[]): readonly string[] =>
  inputs.slice(0, inputs.findLastIndex((n) => n !== "") + 1);

const nodeName = (op: Op): string => (op.loc?.kind === "node" ? op.loc.name : "");

function writeFunc(
  func: Func,
  graph: string,
): { readonly findings: readonly Diagnostic[]; readonly bytes: () => Uint8Array } {
  const ports = [...func.params, ...func.results];
  const e = createEmitter(ports.map((p) => p.name));
  const users = uses(func);
  const carried = new Map<Value, Carried>();
  const fused = fusions(func, users);
  const names = tensorNames(func, e);
  const labelOf = (v: Value): Label => ({
    hint: names.hint(v),
    output: names.output(v),
    take: (dtype) => names.take(v, dtype),
  });
  const get = (v: Value): Carried => carried.get(v) ?? constant(v);

  /** Constants are written when first needed, since some end up in another shape. */
  const constant = (v: Value): Carried => {
    const op = fused.constants.get(v)!;
    const onlyDequantized = (users.get(v) ?? []).every((u) => u.name === "quant.dequantize");
    const made = writeConstant(e, op, names.hint(v), { onlyDequantized, shape: v.type.shape });
    carried.set(v, made);
    return made;
  };

  const operator = (
    op: Op,
    row: OperatorRow,
    operands: readonly Value[],
    more: readonly Written[] = [],
  ): Carried => {
    e.needs(row.since ?? 21);
    const given = operands.map(get);
    const real = given.some((x) => x.real);
    const result = op.results[0]!;
    const wanted = extrasOf(row, op.attrs, operands[0]!, real);
    const single = wanted.every((it) => it.kind !== "like" || isSingle(it.value));
    const wide = single || !isFloat(given[0]!.dtype) ? given : given.map((x) => e.as(x, "float64"));
    const all = e.together(wide, row.wide === true);
    if (!single && row.wide !== true) e.refuse(op.loc, `a number that is no float32`);
    const dtype = row.result ?? all[0]!.dtype;
    const to: Written = { name: names.take(result, dtype), dtype, shape: result.type.shape };
    const inputs = [
      ...all.map((x) => x.name),
      ...wanted.map((it) => extra(e, to.name, all[0]!, it)),
      ...more.map((x) => x.name),
    ];
    const options = { attributes: attributesOf(e, op, row), name: nodeName(op) };
    return { ...e.node(row.op, trimmed(inputs), to, options), ...(real && { real }) };
  };

  const normalization = (f: Fused & { readonly kind: "normalize" }): Carried => {
    const { op, scale, bias, result } = f;
    const x = e.as(get(op.operands[0]!), "float32");
    const axis = op.attrs.axis as number;
    const centre = op.attrs.centre === true;
    if (!centre) e.needs(23);
    const rows = x.shape.slice(axis);
    const one = (): Written =>
      e.constant("ones", "float32", rows, new Float32Array(rows.reduce((a, b) => a * b, 1)).fill(1));
    const to: Written = { name: names.take(result, "float32"), dtype: "float32", shape: x.shape };
    const parameters = [
      scale ? e.as(get(scale), "float32") : one(),
      ...(bias ? [e.as(get(bias), "float32")] : []),
    ];
    return e.node(
      centre ? "LayerNormalization" : "RMSNormalization",
      [x.name, ...parameters.map((p) => p.name)],
      to,
      {
        attributes: {
          axis: { kind: "int", value: axis },
          epsilon: attribute(e, op, "epsilon", "float"),
        },
        name: nodeName(op),
      },
    );
  };

  const write = (op: Op): Carried => {
    const result = op.results[0]!;
    const { shape } = result.type;
    const f = fused.at.get(op);
    if (f?.kind === "bias") {
      const bias = writeBias(
        e,
        f.dequantize,
        f.constant,
        names.hint((f.dequantize ?? f.constant).results[0]!),
      );
      if (bias.dtype !== "float32") throw new Error("a bias that is no float32 is not fused");
      const conv = { ...f.conv, results: op.results };
      return operator(conv, OPERATORS["float.conv"]!, f.conv.operands, [bias]);
    }
    if (f?.kind === "normalize") return normalization(f);
    if (op.name === "quant.quantize") return writeQuantize(e, op, get(op.operands[0]!), labelOf(result));
    if (op.name === "quant.dequantize") {
      const q = get(op.operands[0]!);
      if (q.real) return { name: q.name, dtype: q.dtype, shape };
      return writeDequantize(e, op, q, { name: names.take(result, "float32"), dtype: "float32", shape });
    }
    if (op.name === "float.cast") return get(op.operands[0]!);
    if (op.name === "quant.dequantize_blocks" && isFloat(get(op.operands[2]!).dtype))
      e.refuse(op.loc, "quant.dequantize_blocks with fractional zero points");
    const row = OPERATORS[op.name];
    if (row !== undefined) return operator(op, row, op.operands);
    e.refuse(op.loc, `the operation ${op.name}`);
    return { name: names.hint(result), dtype: "float32", shape };
  };

  const inputs = writeInputs(e, func.params, carried);
  for (const op of func.ops) {
    if (fused.skipped.has(op)) continue;
    for (const r of op.results) carried.set(r, write(op));
  }
  const outputs = writeOutputs(e, func.results, get);
  const declared = new Set(ports.map((p) => p.name));
  const bytes = (): Uint8Array =>
    encode({
      graph,
      opset: e.opset(),
      nodes: e.nodes,
      initializers: e.initializers,
      inputs,
      outputs,
      inner: e.inner.filter((v) => !declared.has(v.name)),
    });
  return { findings: e.findings, bytes };
}

/** Graph inputs; half-width floats become float32, in which everything is computed. */
function writeInputs(
  e: Emitter,
  params: readonly Port[],
  carried: Map<Value, Carried>,
): readonly ValueInfo[] {
  const made = new Map<string, ValueInfo>();
  for (const port of params) {
    if (!isDtype(port.dtype)) {
      e.refuse(port.loc, `an input of type ${port.dtype || "unknown"}`);
      continue;
    }
    const info = made.get(port.name) ?? { name: port.name, dtype: port.dtype, shape: port.value.type.shape };
    made.set(port.name, info);
    const half = isFloat(info.dtype) && info.dtype !== "float64";
    carried.set(port.value, half ? e.as(info, "float32") : info);
  }
  return [...made.values()];
}

/** Graph outputs, under their own names and types. */
function writeOutputs(
  e: Emitter,
  results: readonly Port[],
  get: (v: Value) => Carried,
): readonly ValueInfo[] {
  return results.flatMap((port) => {
    const { name, dtype, value } = port;
    if (!isDtype(dtype)) {
      e.refuse(port.loc, `an output of type ${dtype || "unknown"}`);
      return [];
    }
    const info = { name, dtype, shape: value.type.shape };
    let x: Written | undefined = get(value);
    if (get(value).real && !isFloat(dtype))
      x = writeIntegers(e, value.type, x, {
        hint: name,
        output: dtype,
        take: (d) => (d === dtype ? name : e.fresh(name)),
      });
    if (x === undefined) e.refuse({ kind: "tensor", name }, "integers of a quantizer that is arithmetic");
    else if (x.dtype !== dtype) e.cast(x, info);
    else if (x.name !== name) e.node("Identity", [x.name], info);
    return [info];
  });
}

/**
 * The bytes of a standard ONNX file (opset 21, later where an operator needs it) that means the same: quantizers as
 * QuantizeLinear and DequantizeLinear, or as arithmetic around a rounding where these cannot say it; float64 where a
 * constant is no float32. The module has one function, of the `const`, `quant`, `float` and `layout` dialects. Equal
 * modules give equal bytes. Errors: QC5012.
 */
export function writeOnnx({ funcs }: Module): Result<Uint8Array> {
  const { findings, bytes } = writeFunc(funcs[0]!, funcs[0]!.name);
  return findings.length > 0 ? fail(...findings) : ok(bytes());
}
