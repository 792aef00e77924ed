/** The file under construction: names, nodes, constants, conversions. */
import type { Diagnostic, Loc } from "../../ir/diagnostics.ts";
import { notInOnnx } from "../../ir/messages-onnx.ts";
import { sizeOf } from "../../ir/types.ts";
import {
  type Attribute,
  DTYPES,
  type Dtype,
  isFloat,
  type Node,
  type Tensor,
  type ValueInfo,
} from "./model.ts";

/** A tensor of the file. */
export interface Written {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** A constant is shared with an equal one up to this many elements. */
const SHARED = 4096;

export interface NodeOptions {
  readonly attributes?: Node["attributes"];
  /** Name of the node. */
  readonly name?: string;
}

export type Emitter = ReturnType<typeof createEmitter>;

/** Whether a float64 is a float32. */
export const isSingle = (x: number): boolean => Object.is(Math.fround(x), x) || Number.isNaN(x);

export function createEmitter(reserved: Iterable<string>) {
  const names = new Set<string>(reserved);
  const nodeNames = new Set<string>();
  const nodes: Node[] = [];
  const initializers: Tensor[] = [];
  const inner: ValueInfo[] = [];
  const findings: Diagnostic[] = [];
  const shared = new Map<string, Written>();
  const casts = new Map<string, Written>();
  let opset = 21;

  /** The wanted name, or one like it, that nothing else in the file has. */
  const fresh = (wanted: string): string => {
    let name = wanted === "" ? "tensor" : wanted;
    for (let i = 1; names.has(name); i++) name = `${wanted === "" ? "tensor" : wanted}_${i}`;
    names.add(name);
    return name;
  };

  const nodeName = (wanted: string): string => {
    if (wanted === "" || nodeNames.has(wanted)) return "";
    nodeNames.add(wanted);
    return wanted;
  };

  const emitter = {
    nodes,
    initializers,
    inner,
    findings,
    fresh,
    opset: (): number => opset,
    /** The file needs at least this version of the operator set. */
    needs(version: number): void {
      opset = Math.max(opset, version);
    },
    refuse(loc: Loc | undefined, what: string): void {
      findings.push(notInOnnx(loc, what));
    },
    /** A node whose one result has the name, type and shape of `to`. */
    node(op: string, inputs: readonly string[], to: Written, options: NodeOptions = {}): Written {
      const { attributes = {}, name = "" } = options;
      nodes.push({ op, name: nodeName(name), inputs, output: to.name, attributes });
      inner.push(to);
      return to;
    },
    /** A constant. Equal short ones are stored once. */
    constant(
      role: string,
      dtype: Tensor["dtype"],
      shape: readonly number[],
      data: ArrayLike<number>,
    ): Written {
      if (data.length !== sizeOf(shape)) throw new Error(`${role}: ${data.length} elements for [${shape}]`);
      const text = (x: number): string => (Object.is(x, -0) ? "-0" : String(x));
      const key =
        data.length <= SHARED ? `${dtype} ${shape.join("x")} ${Array.from(data, text).join(" ")}` : undefined;
      const known = key === undefined ? undefined : shared.get(key);
      if (known !== undefined) return known;
      const made: Written = { name: fresh(role), dtype, shape };
      initializers.push({ name: made.name, dtype, shape, data });
      if (key !== undefined) shared.set(key, made);
      return made;
    },
    /** Real numbers as float32 where all of them are, as float64 otherwise. */
    reals(role: string, shape: readonly number[], data: ArrayLike<number>): Written {
      const single = Array.prototype.every.call(data, isSingle);
      return emitter.constant(role, single ? "float32" : "float64", shape, data);
    },
    /** The same numbers in another type; constants are stored again, others cast. */
    as(x: Written, dtype: Dtype): Written {
      if (x.dtype === dtype) return x;
      const stored = initializers.find((t) => t.name === x.name);
      if (stored !== undefined && dtype === "float64")
        return emitter.constant(`${x.name}_f64`, dtype, x.shape, stored.data);
      if (stored !== undefined && isFloat(dtype)) emitter.refuse(undefined, `a constant of ${dtype}`);
      const key = `${x.name}\n${dtype}`;
      const known = casts.get(key);
      if (known !== undefined) return known;
      const to: Written = { ...x, name: fresh(`${x.name}_${dtype}`), dtype };
      casts.set(key, to);
      return emitter.cast(x, to);
    },
    cast(x: Written, to: Written): Written {
      const number: Attribute = { kind: "int", value: DTYPES[to.dtype].number };
      return emitter.node("Cast", [x.name], to, { attributes: { to: number } });
    },
    /** Operands in one float type: float64 as soon as one of them is, where the operator has it. */
    together(operands: readonly Written[], wide: boolean): readonly Written[] {
      if (!operands.every((x) => isFloat(x.dtype))) return operands;
      const dtype = wide && operands.some((x) => x.dtype === "float64") ? "float64" : "float32";
      return operands.map((x) => emitter.as(x, dtype));
    },
  };
  return emitter;
}
