/** How the channels (indices of the last axis) of an op's operands correspond to those of its result. */
import type { Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";

/** Number of channels of a value; a scalar has one. */
export const channelsOf = (v: Value): number => v.type.shape.at(-1) ?? 1;

/**
 * Per operand: the operand channel that each result channel is made of; −1 where it is made of none of this operand's;
 * `undefined` for an operand with one channel for all. The op itself is `undefined` when its channels mix.
 */
export type Relation = readonly (readonly number[] | undefined)[];

const list = (n: number, f: (c: number) => number): number[] => Array.from({ length: n }, (_, c) => f(c));
const same = (op: Op): Relation => [list(channelsOf(op.results[0]!), (c) => c)];

/** Every operand follows the result's channels, or is broadcast along them. */
function broadcast(op: Op): Relation | undefined {
  const n = channelsOf(op.results[0]!);
  const fits = op.operands.every((v) => channelsOf(v) === n || channelsOf(v) === 1);
  return fits ? op.operands.map((v) => (channelsOf(v) === n ? list(n, (c) => c) : undefined)) : undefined;
}

const rules: { readonly [name: string]: (op: Op) => Relation | undefined } = {
  "qc.requant": broadcast,
  "qc.mul": broadcast,
  "qc.max": broadcast,
  "qc.min": broadcast,
  "qc.clamp": same,
  "qc.table": same,
  "qc.add_const": same,
  "qc.max_pool": same,
  "qc.sum_pool": same,
  "qc.reduce_sum": (op) =>
    attr<readonly number[]>(op, "axes").includes(op.operands[0]!.type.shape.length - 1)
      ? undefined
      : same(op),
  // Merged trailing axes: channels repeat with the operand's period.
  "layout.reshape": (op) => repeated(op),
  "layout.tile": (op) => repeated(op),
  "layout.expand": (op) =>
    channelsOf(op.operands[0]!) === channelsOf(op.results[0]!) ? same(op) : undefined,
  "layout.transpose": (op) => {
    const perm = attr<readonly number[]>(op, "perm");
    return perm.at(-1) === perm.length - 1 ? same(op) : undefined;
  },
  "layout.pad": (op) =>
    attr<readonly number[]>(op, "before").at(-1) === 0 && attr<readonly number[]>(op, "after").at(-1) === 0
      ? same(op)
      : undefined,
  "layout.slice": (op) => [slicedChannels(op) ?? list(channelsOf(op.results[0]!), (c) => c)],
  "layout.gather": (op) =>
    attr<number>(op, "axis") === op.operands[0]!.type.shape.length - 1
      ? [attr<readonly number[]>(op, "indices")]
      : same(op),
  "layout.interleave": (op) => op.operands.map(() => list(channelsOf(op.results[0]!), (c) => c)),
  "layout.concat": (op) => {
    const n = channelsOf(op.results[0]!);
    if (attr<number>(op, "axis") !== op.results[0]!.type.shape.length - 1)
      return op.operands.map(() => list(n, (c) => c));
    let from = 0;
    return op.operands.map((v) => {
      const [first, size] = [from, channelsOf(v)];
      from += size;
      return list(n, (c) => (c >= first && c < first + size ? c - first : -1));
    });
  },
};

function repeated(op: Op): Relation | undefined {
  const [from, to] = [channelsOf(op.operands[0]!), channelsOf(op.results[0]!)];
  return from > 0 && to % from === 0 ? [list(to, (c) => c % from)] : undefined;
}

/** The operand channels a slice takes; `undefined` if it leaves the last axis alone. */
export function slicedChannels(op: Op): number[] | undefined {
  const last = op.operands[0]!.type.shape.length - 1;
  const i = attr<readonly number[]>(op, "axes").indexOf(last);
  if (i < 0) return undefined;
  const start = attr<readonly number[]>(op, "starts")[i]!;
  const step = attr<readonly number[]>(op, "steps")[i]!;
  return list(channelsOf(op.results[0]!), (c) => start + c * step);
}

/** `undefined`: the channels mix in a way this pass does not follow. Convolutions and matmuls are not asked. */
export const relationOf = (op: Op): Relation | undefined => rules[op.name]?.(op);
