/** Ops that one ONNX operator says together: a convolution and its bias, a normalization and its affine map. */
import type { Dense, Func, Op, Value } from "../../ir/module.ts";
import { definitions } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { sameShape } from "../../ir/types.ts";
import { isSingle } from "./emitter.ts";
import { isDequantizeLinear } from "./quantizers.ts";

export type Fused =
  | {
      readonly kind: "bias";
      readonly conv: Op;
      /** The bias, one number per output channel, and what dequantizes it. */
      readonly constant: Op;
      readonly dequantize: Op | undefined;
    }
  | {
      readonly kind: "normalize";
      readonly op: Op;
      /** Factors and terms, shaped as a row. */
      readonly scale: Value | undefined;
      readonly bias: Value | undefined;
      readonly result: Value;
    };

export interface Fusions {
  /** By the last op of each group: the one whose result the operator has. */
  readonly at: ReadonlyMap<Op, Fused>;
  /** Ops that need no node of their own. */
  readonly skipped: ReadonlySet<Op>;
  readonly constants: ReadonlyMap<Value, Op>;
}

export function fusions(func: Func, users: ReadonlyMap<Value, readonly Op[]>): Fusions {
  const defs = definitions(func);
  const shown = new Set(func.results.map((p) => p.value));
  const at = new Map<Op, Fused>();
  const skipped = new Set<Op>();
  const constants = new Map<Value, Op>();

  /** The one op that reads a value nobody else sees. */
  const onlyUser = (v: Value): Op | undefined => {
    const list = users.get(v) ?? [];
    return list.length === 1 && !shown.has(v) ? list[0] : undefined;
  };
  const other = (op: Op, v: Value): Value => (op.operands[0] === v ? op.operands[1]! : op.operands[0]!);

  const bias = (add: Op, conv: Op): void => {
    const y = conv.results[0]!;
    const b = other(add, y);
    const { shape } = y.type;
    if (
      !sameShape(
        b.type.shape,
        shape.map((d, i) => (i === 1 ? d : 1)),
      )
    )
      return;
    const def = defs.get(b);
    const dequantize = def?.name === "quant.dequantize" ? def : undefined;
    const constant = dequantize ? defs.get(dequantize.operands[0]!) : def;
    if (constant?.name !== "const" || (dequantize && !isDequantizeLinear(constant))) return;
    if (
      dequantize === undefined &&
      !Array.prototype.every.call(attr<Dense>(constant, "value").data, isSingle)
    )
      return;
    at.set(add, { kind: "bias", conv, constant, dequantize });
    skipped.add(conv);
    if (dequantize && onlyUser(b)) skipped.add(dequantize);
  };

  /** What an op of this name does to v with a row of numbers. */
  const rowOf = (v: Value, name: string, row: readonly number[]): { op: Op; value: Value } | undefined => {
    const op = onlyUser(v);
    if (op?.name !== name || op.operands[0] === op.operands[1]) return undefined;
    const value = other(op, v);
    return sameShape(value.type.shape, row) && defs.has(value) ? { op, value } : undefined;
  };

  const normalize = (op: Op): void => {
    const y = op.results[0]!;
    const row = y.type.shape.slice(attr<number>(op, "axis"));
    const mul = rowOf(y, "float.mul", row);
    const add = mul && op.attrs.centre === true ? rowOf(mul.op.results[0]!, "float.add", row) : undefined;
    const last = add?.op ?? mul?.op ?? op;
    at.set(last, { kind: "normalize", op, scale: mul?.value, bias: add?.value, result: last.results[0]! });
    for (const o of [op, mul?.op]) if (o && o !== last) skipped.add(o);
  };

  for (const op of func.ops) {
    if (op.name === "const") {
      skipped.add(op);
      constants.set(op.results[0]!, op);
    } else if (op.name === "float.conv") {
      const add = onlyUser(op.results[0]!);
      if (add?.name === "float.add") bias(add, op);
    } else if (op.name === "float.normalize") normalize(op);
  }
  return { at, skipped, constants };
}
