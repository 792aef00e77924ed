/**
 * Gives activations the sign that a dot product wants of its operands: `unsigned` those of at most 8 bits none and 16-bit ones a
 * sign, `signed` all of them a sign. A tensor whose type has the other sign is shifted by a constant t′ = t + k; whoever reads it
 * absorbs k exactly. `signed` runs on certified graphs: the constants of a `qc.rescale` change, its steps and proof do not.
 */
import { createBuilder, type FuncBuilder } from "../ir/builder.ts";
import { ok } from "../ir/diagnostics.ts";
import type { Attrs, Dense, Func, Op, Port, Value } from "../ir/module.ts";
import { attr } from "../ir/op.ts";
import { hasTrait } from "../ir/ops/index.ts";
import { proofAttr, proofOf, rescaleAttr, rescaleOf } from "../ir/ops/integer-rescale.ts";
import { definePass } from "../ir/pass.ts";
import { add, mul, type Rational, rational, sub } from "../ir/rational.ts";
import { shiftable, shiftProof, shiftRescale } from "../ir/rescale/shift.ts";
import { dce, mapFuncs } from "../ir/rewriter.ts";
import { intMax, intMin, intTypeFor, sameType, type TensorType } from "../ir/types.ts";

/** How far a value was moved: one number, or one per index of its last axis. */
type Shift = readonly number[];
const NONE: Shift = [0];
const at = (s: Shift, c: number): number => (s.length === 1 ? s[0]! : s[c]!);

interface Moved {
  readonly value: Value;
  readonly shift: Shift;
}

/** What to add so that the type gets the wanted sign; 0 if it has it. */
type Wanted = (t: TensorType) => number;

const wantUnsigned: Wanted = ({ elem }) => {
  if (elem.kind !== "int") return 0;
  const { signed, bits } = elem;
  if (signed && bits <= 8) return 2 ** (bits - 1);
  if (!signed && bits === 16) return -32768;
  return 0;
};

/** All by the same number, however few their bits: what is joined with others needs no second shift. */
const wantSigned: Wanted = ({ elem }) => (elem.kind === "int" && !elem.signed && elem.bits <= 8 ? -128 : 0);

const moveType = (t: TensorType, k: number): TensorType => {
  if (t.elem.kind !== "int" || k === 0) return t;
  const elem = intTypeFor(intMin(t.elem) + k, intMax(t.elem) + k);
  // What is reached may still fit: `certify` decides.
  return { shape: t.shape, elem: elem ?? { kind: "int", signed: true, bits: 32 } };
};

const uniformShift = (m: Moved): number => {
  if (m.shift.length !== 1) throw new Error("per-channel shift where one is needed");
  return m.shift[0]!;
};

/** Σ of each output's weights over everything it multiplies. */
function columnSums(
  w: Dense,
  outputs: number,
  inner: (o: number, i: number) => number,
  count: number,
): number[] {
  return Array.from({ length: outputs }, (_, o) => {
    let s = 0;
    for (let i = 0; i < count; i++) s += w.data[inner(o, i)]!;
    return s;
  });
}

const options = (op: Op, types = op.results.map((r) => r.type)) => ({
  loc: op.loc,
  names: op.results.map((r) => r.name),
  types,
});

function moveFunc(func: Func, wanted: Wanted): Func {
  const b = createBuilder(func.name);
  const moved = new Map<Value, Moved>();
  const consts = new Map<Value, Dense>();
  for (const p of func.params) {
    const k = wanted(p.value.type);
    if (k !== 0 && "lo" in p.boundary) {
      // The conversion outside the core makes the shifted integers directly.
      const from = p.boundary;
      const range = { lo: from.lo + k, hi: from.hi + k };
      const value: Value = { name: p.value.name, type: moveType(p.value.type, k) };
      b.addParam({
        ...p,
        value,
        boundary:
          from.kind === "quantize"
            ? { ...from, ...range, zeroPoint: from.zeroPoint + k }
            : { ...from, ...range },
      });
      moved.set(p.value, { value, shift: [k] });
      continue;
    }
    b.addParam(p);
    const value =
      k === 0
        ? p.value
        : b.add1(
            "qc.add_const",
            [p.value],
            { value: k },
            { names: [p.value.name], types: [moveType(p.value.type, k)] },
          );
    moved.set(p.value, { value, shift: [k] });
  }
  for (const op of func.ops) {
    if (op.name === "const") {
      b.append(op);
      consts.set(op.results[0]!, attr<Dense>(op, "value"));
      moved.set(op.results[0]!, { value: op.results[0]!, shift: NONE });
      continue;
    }
    const rule = rules[op.name] ?? (hasTrait(op, "movement") ? moveMovement : moveResult);
    const given = op.operands.map((v) => moved.get(v)!);
    const operands = given.map((m, i) => {
      const v = op.operands[i]!;
      return (m.shift.length === 1 || takesChannels(op)) && shiftableOp(op, given)
        ? m
        : { value: unshift(b, m, v.type, v.name), shift: NONE };
    });
    moved.set(op.results[0]!, rule(b, op, operands, { constant: (v) => consts.get(v), wanted }));
  }
  for (const r of func.results) b.addResult(movedResult(b, r, moved.get(r.value)!, wanted));
  return dce(b.build());
}

/** A dequantized output absorbs the shift in its zero points; an integer one is moved back. */
function movedResult(b: FuncBuilder, port: Port, m: Moved, wanted: Wanted): Port {
  const boundary = port.boundary;
  // One program of several for the same model: the integers of its ports differ by one number where they are bytes, else not.
  if (wanted === wantSigned && wanted(port.value.type) === 0)
    return { ...port, value: unshift(b, m, port.value.type, port.name) };
  const last = port.value.type.shape.length - 1;
  if (
    boundary.kind !== "dequantize" ||
    (m.shift.length > 1 && boundary.scales.length > 1 && boundary.axis !== last)
  )
    return { ...port, value: unshift(b, m, port.value.type, port.name) };
  const n = Math.max(boundary.scales.length, m.shift.length);
  const pick = (list: readonly number[], c: number) => (list.length === 1 ? list[0]! : list[c]!);
  return {
    ...port,
    value: m.value,
    boundary: {
      kind: "dequantize",
      axis: m.shift.length > 1 ? last : boundary.axis,
      scales: Array.from({ length: n }, (_, c) => pick(boundary.scales, c)),
      zeroPoints: Array.from({ length: n }, (_, c) => pick(boundary.zeroPoints, c) + at(m.shift, c)),
    },
  };
}

/** The value without its shift. */
function unshift(b: FuncBuilder, m: Moved, type: TensorType, name: string): Value {
  if (m.shift.every((k) => k === 0)) return m.value;
  if (m.shift.length === 1)
    return b.add1("qc.add_const", [m.value], { value: -m.shift[0]! }, { names: [name], types: [type] });
  const elem = type.elem;
  if (elem.kind !== "int") throw new Error("integer graph expected");
  const attrs: Attrs = {
    axis: type.shape.length - 1,
    scales: [[rational(1n)]],
    offset: m.shift.map((k) => rational(BigInt(-k))),
    zero_point: rational(0n),
    lo: intMin(elem),
    hi: intMax(elem),
    rounding: "half_even",
    order: "round_then_shift",
  };
  return b.add1("qc.requant", [m.value], attrs, { names: [name], types: [type] });
}

interface Context {
  readonly constant: (v: Value) => Dense | undefined;
  readonly wanted: Wanted;
}

type RuleFn = (b: FuncBuilder, op: Op, operands: readonly Moved[], cx: Context) => Moved;

/** An op that knows nothing of shifts: on plain operands, its result moved afterwards. */
const moveResult: RuleFn = (b, op, operands, cx) => {
  const plain = operands.map((m, i) => unshift(b, m, op.operands[i]!.type, op.operands[i]!.name));
  const value = b.add1(op.name, plain, op.attrs, options(op));
  const k = target(op, cx);
  if (k === 0) return { value, shift: NONE };
  const types = [moveType(value.type, k)];
  return { value: b.add1("qc.add_const", [value], { value: k }, { ...options(op), types }), shift: [k] };
};

/** Whether the op's rule takes a shift that differs per channel; the others see the operand without it. */
function takesChannels(op: Op): boolean {
  const last = op.results[0]!.type.shape.length - 1;
  switch (op.name) {
    case "qc.max_pool":
      return true;
    case "qc.sum_pool":
      return attr<readonly number[]>(op, "pads").every((p) => p === 0);
    case "qc.reduce_sum":
      return !attr<readonly number[]>(op, "axes").includes(op.operands[0]!.type.shape.length - 1);
    case "qc.requant":
    case "qc.rescale":
      return (
        attr<number>(op, "axis") === last &&
        // One that is broadcast has one shift for all.
        op.operands.every((v) => [op.results[0]!.type.shape[last], 1].includes(v.type.shape.at(-1)))
      );
    case "qc.insert_channels":
      return attr<number>(op, "axis") === last;
    default:
      return hasTrait(op, "movement");
  }
}

/** Whether accumulators stay within what the rescale needs. */
const shiftableOp = (op: Op, operands: readonly Moved[]): boolean =>
  op.name !== "qc.rescale" ||
  shiftable(
    rescaleOf(op.attrs),
    proofOf(op.attrs),
    Array.from({ length: Math.max(...operands.map((m) => m.shift.length)) }, (_, c) =>
      operands.map((m) => at(m.shift, c)),
    ),
  );

/** clamp(t + k, lo + k, hi + k) = clamp(t, lo, hi) + k. */
const moveClamp: RuleFn = (b, op, [x]) => {
  const k = uniformShift(x!);
  const attrs = { lo: attr<number>(op, "lo") + k, hi: attr<number>(op, "hi") + k };
  const type = moveType(op.results[0]!.type, k);
  return { value: b.add1(op.name, [x!.value], attrs, options(op, [type])), shift: [k] };
};

/** Tables of a softmax for an operand whose type has become wider: its differences have not, so what is added is never read. */
function coveringTables(op: Op, { elem }: TensorType): Attrs {
  if (elem.kind !== "int") throw new Error("integer graph expected");
  const span = intMax(elem) - intMin(elem);
  const longer = (table: Dense, size: number): Dense => {
    if (table.data.length >= size) return table;
    const data = new Int32Array(size);
    data.set(table.data);
    return { ...table, shape: [size], data };
  };
  const [exp, coarse] = [attr<Dense>(op, "exp"), attr<Dense>(op, "coarse")];
  const bits = attr<number>(op, "bits");
  if (coarse.data.length > 1) return { coarse: longer(coarse, Math.floor(span / 2 ** bits) + 1) };
  return { exp: longer(exp, span + 1), bits: Math.max(bits, Math.ceil(Math.log2(span + 1))) };
}

/** Shifts the result of an op that may choose its constant freely. */
const target = (op: Op, { wanted }: Context): number => wanted(op.results[0]!.type);

const rules: { readonly [name: string]: RuleFn } = {
  // Σ (t + k)·w = Σ t·w + k·Σw; padded taps read the padding value of the shifted tensor.
  "qc.conv": (b, op, [x, w], { constant }) => {
    const weights = constant(w!.value);
    const k = uniformShift(x!);
    if (weights === undefined) throw new Error("convolution weights must be constant");
    const [o, ...inner] = op.operands[1]!.type.shape as [number, ...number[]];
    const n = inner.reduce((a, d) => a * d, 1);
    const shift = k === 0 ? NONE : columnSums(weights, o, (c, i) => c * n + i, n).map((s) => s * k);
    return accumulate(
      b,
      op,
      [x!.value, w!.value],
      { ...op.attrs, pad_value: attr<number>(op, "pad_value") + k },
      shift,
    );
  },
  "qc.conv_transpose": (b, op, [x, w]) => {
    const attrs = { ...op.attrs, zero: attr<number>(op, "zero") + uniformShift(x!) };
    return { value: b.add1(op.name, [x!.value, w!.value], attrs, options(op)), shift: NONE };
  },
  "qc.matmul": (b, op, [x, w], { constant }) => {
    const [ka, kb] = [uniformShift(x!), uniformShift(w!)];
    const weights = constant(w!.value);
    const az = attr<number>(op, "a_zero");
    const turned = attr<boolean>(op, "transpose_b");
    if (weights === undefined || weights.shape.length !== 2 || az !== 0 || turned) {
      const attrs = { ...op.attrs, a_zero: az + ka, b_zero: attr<number>(op, "b_zero") + kb };
      return { value: b.add1(op.name, [x!.value, w!.value], attrs, options(op)), shift: NONE };
    }
    const [k, n] = weights.shape as [number, number];
    const shift = ka === 0 ? NONE : columnSums(weights, n, (c, i) => i * n + c, k).map((s) => s * ka);
    return accumulate(b, op, [x!.value, w!.value], op.attrs, shift);
  },
  "qc.mul": (b, op, [x, y]) => {
    const attrs = {
      a_zero: attr<number>(op, "a_zero") + uniformShift(x!),
      b_zero: attr<number>(op, "b_zero") + uniformShift(y!),
    };
    return { value: b.add1(op.name, [x!.value, y!.value], attrs, options(op)), shift: NONE };
  },
  "qc.sum_pool": (b, op, [x]) => {
    const [kh, kw] = attr<readonly [number, number]>(op, "kernel");
    // With padding the shift is one number.
    const pad_value = attr<number>(op, "pad_value") + at(x!.shift, 0);
    const shift = x!.shift.map((k) => k * kh * kw);
    return accumulate(b, op, [x!.value], { ...op.attrs, pad_value }, shift);
  },
  "qc.reduce_sum": (b, op, [x]) => {
    const shape = op.operands[0]!.type.shape;
    const count = attr<readonly number[]>(op, "axes").reduce((n, a) => n * shape[a]!, 1);
    const shift = x!.shift.map((k) => k * count);
    return accumulate(b, op, [x!.value], op.attrs, shift);
  },
  "qc.max_pool": (b, op, [x]) => ({
    value: b.add1(
      op.name,
      [x!.value],
      op.attrs,
      options(op, [{ ...op.results[0]!.type, elem: x!.value.type.elem }]),
    ),
    shift: x!.shift,
  }),
  "qc.insert_channels": (b, op, [x]) => {
    const inserted = new Map(
      attr<readonly number[]>(op, "indices").map((c, i) => [c, attr<readonly number[]>(op, "values")[i]!]),
    );
    const uniform = x!.shift.length === 1;
    const rest = x!.shift.values();
    const shift = uniform
      ? x!.shift
      : Array.from({ length: attr<number>(op, "size") }, (_, c) =>
          inserted.has(c) ? 0 : rest.next().value!,
        );
    const values = [...inserted].map(([c, v]) => v + at(shift, c));
    const type = { ...op.results[0]!.type, elem: x!.value.type.elem };
    return { value: b.add1(op.name, [x!.value], { ...op.attrs, values }, options(op, [type])), shift };
  },
  // Integers on one grid, like the parts of a concatenation.
  "qc.max": (...args) => moveMovement(...args),
  "qc.min": (...args) => moveMovement(...args),
  "qc.clamp": moveClamp,
  "qc.table": (b, op, [x], cx) => {
    const k = target(op, cx);
    const table = attr<Dense>(op, "table");
    const type = moveType(op.results[0]!.type, k);
    const elem = type.elem;
    if (elem.kind !== "int") throw new Error("integer graph expected");
    const attrs: Attrs = {
      table: { ...table, elem, data: Int32Array.from(table.data, (v) => v + k) },
      min: attr<number>(op, "min") + uniformShift(x!),
    };
    return { value: b.add1(op.name, [x!.value], attrs, options(op, [type])), shift: [k] };
  },
  "qc.normalize": (b, op, [x], cx) => {
    const k = target(op, cx);
    const attrs = {
      ...op.attrs,
      zero: attr<boolean>(op, "centre") ? 0 : attr<number>(op, "zero") + uniformShift(x!),
      zero_point: attr<number>(op, "zero_point") + k,
      lo: attr<number>(op, "lo") + k,
      hi: attr<number>(op, "hi") + k,
    };
    return {
      value: b.add1(op.name, [x!.value], attrs, options(op, [moveType(op.results[0]!.type, k)])),
      shift: [k],
    };
  },
  "qc.softmax": (b, op, [x], cx) => {
    const k = target(op, cx);
    const attrs = {
      ...op.attrs,
      ...coveringTables(op, x!.value.type),
      zero_point: attr<number>(op, "zero_point") + k,
      lo: attr<number>(op, "lo") + k,
      hi: attr<number>(op, "hi") + k,
    };
    return {
      value: b.add1(op.name, [x!.value], attrs, options(op, [moveType(op.results[0]!.type, k)])),
      shift: [k],
    };
  },
  // clamp(R(Σ S·(t′ − k) + B) + z, lo, hi) + k′: the offset absorbs S·k, the zero point and the bounds take k′. A zero point
  // inside R joins the offset: R(x + k′) is not R(x) + k′ for every rule.
  "qc.requant": (b, op, operands, cx) => {
    const k = target(op, cx);
    const axis = attr<number>(op, "axis");
    const rank = op.results[0]!.type.shape.length;
    const scales = attr<readonly (readonly Rational[])[]>(op, "scales");
    const inside = attr<string>(op, "order") === "shift_then_round";
    const zero = attr<Rational>(op, "zero_point");
    const offset = attr<readonly Rational[]>(op, "offset").map((b) => (inside ? add(b, zero) : b));
    const widest = Math.max(
      offset.length,
      ...operands.map((m, i) =>
        m.shift.every((s) => s === 0) ? 1 : Math.max(m.shift.length, scales[i]!.length),
      ),
    );
    if (operands.some((m) => m.shift.length > 1) && axis !== rank - 1)
      throw new Error("requant axis is not the channel axis");
    const newOffset = Array.from({ length: widest }, (_, c) =>
      operands.reduce(
        (sum, m, i) => {
          const s = scales[i]!;
          const shift = at(m.shift, c);
          return shift === 0 ? sum : sub(sum, mul(s.length === 1 ? s[0]! : s[c]!, rational(BigInt(shift))));
        },
        offset.length === 1 ? offset[0]! : offset[c]!,
      ),
    );
    const attrs: Attrs = {
      ...op.attrs,
      offset: newOffset,
      zero_point: add(inside ? rational(0n) : zero, rational(BigInt(k))),
      order: "round_then_shift",
      lo: attr<number>(op, "lo") + k,
      hi: attr<number>(op, "hi") + k,
    };
    return {
      value: b.add1(
        op.name,
        operands.map((m) => m.value),
        attrs,
        options(op, [moveType(op.results[0]!.type, k)]),
      ),
      shift: [k],
    };
  },
  "qc.rescale": (b, op, operands, cx) => {
    const k = target(op, cx);
    const type = op.results[0]!.type;
    const channels = type.shape[attr<number>(op, "axis")] ?? 1;
    const r = rescaleOf(op.attrs);
    const proof = proofOf(op.attrs);
    const alike = operands.every((m) => m.shift.length === 1);
    const n = Math.max(r.m.length, alike ? 1 : channels);
    const shifts = Array.from({ length: n }, (_, c) => operands.map((m) => at(m.shift, c)));
    const shifted = shiftRescale(r, proof, shifts, k);
    // Where the result cannot be moved it keeps its sign.
    const by = shifted === undefined ? 0 : k;
    const attrs: Attrs = {
      ...op.attrs,
      rescale: rescaleAttr(shifted ?? shiftRescale(r, proof, shifts, 0)!),
      ...(proof && { proof: proofAttr(shiftProof(proof, shifts, by)) }),
    };
    const values = operands.map((m) => m.value);
    return { value: b.add1(op.name, values, attrs, options(op, [moveType(type, by)])), shift: [by] };
  },
  "qc.add_const": (b, op, [x], cx) => {
    const k = target(op, cx);
    const value = attr<number>(op, "value") - uniformShift(x!) + k;
    if (value === 0 && x!.value.type.elem.kind === "int" && k !== 0) {
      const type = moveType(op.results[0]!.type, k);
      if (sameType(type, x!.value.type)) return { value: x!.value, shift: [k] };
    }
    return {
      value: b.add1(op.name, [x!.value], { value }, options(op, [moveType(op.results[0]!.type, k)])),
      shift: [k],
    };
  },
};

/** An accumulator whose true value is the new one minus `shift`; its declared type grows to hold both. */
function accumulate(b: FuncBuilder, op: Op, operands: readonly Value[], attrs: Attrs, shift: Shift): Moved {
  const type = op.results[0]!.type;
  if (type.elem.kind !== "int") throw new Error("integer graph expected");
  const lo = intMin(type.elem) + Math.min(...shift, 0);
  const hi = intMax(type.elem) + Math.max(...shift, 0);
  const elem = intTypeFor(lo, hi) ?? { kind: "int" as const, signed: true, bits: 32 };
  return { value: b.add1(op.name, operands, attrs, options(op, [{ shape: type.shape, elem }])), shift };
}

/** Moving elements moves their shift along; joined parts must share one. */
const moveMovement: RuleFn = (b, op, operands, { wanted }) => {
  const common =
    operands[0]!.shift.length === 1 &&
    operands.every((m) => m.shift.length === 1 && m.shift[0] === operands[0]!.shift[0]);
  const narrow = wanted(op.results[0]!.type) !== 0;
  const k = common && !narrow ? operands[0]!.shift[0]! : wanted(op.results[0]!.type);
  const values = operands.map((m, i) => {
    const type = op.operands[i]!.type;
    if (m.shift.length === 1 && m.shift[0] === k) return m.value;
    const plain = unshift(b, m, type, op.operands[i]!.name);
    return k === 0 ? plain : b.add1("qc.add_const", [plain], { value: k }, { types: [moveType(type, k)] });
  });
  const attrs = op.name === "layout.pad" ? { ...op.attrs, value: attr<number>(op, "value") + k } : op.attrs;
  return {
    value: b.add1(op.name, values, attrs, options(op, [moveType(op.results[0]!.type, k)])),
    shift: [k],
  };
};

export const unsigned = definePass({
  name: "unsigned",
  summary: "Shift activations so that those of at most 8 bits are unsigned and 16-bit ones signed.",
  run: (module) => ok(mapFuncs(module, (f) => moveFunc(f, wantUnsigned))),
});

export const signed = definePass({
  name: "signed",
  summary: "Shift activations of at most 8 bits so that they are signed, behind certified rescales too.",
  run: (module) => ok(mapFuncs(module, (f) => moveFunc(f, wantSigned))),
});
