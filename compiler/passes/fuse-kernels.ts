/**
 * Groups the integer graph into kernels: each becomes a function of its own, called from `main`. A kernel is one root op with
 * everything that can be done to its result in registers; data movement and the like stand alone.
 */

import { createBuilder } from "../ir/builder.ts";
import { ok } from "../ir/diagnostics.ts";
import { type Func, type Module, type Op, type Port, uses, type Value } from "../ir/module.ts";
import { attr } from "../ir/op.ts";
import { hasTrait } from "../ir/ops/index.ts";
import { rescaleOf } from "../ir/ops/integer-rescale.ts";
import { definePass } from "../ir/pass.ts";
import { sameShape } from "../ir/types.ts";

/** Ops whose result may be finished in registers. */
const roots = new Set([
  "qc.conv",
  "qc.matmul",
  "qc.mul",
  "qc.max",
  "qc.min",
  "qc.sum_pool",
  "qc.reduce_sum",
  "qc.rescale",
  "qc.max_pool",
]);
/** Ops that finish a result in registers, in this order at most once each. */
const finishers = ["qc.rescale", "qc.clamp", "qc.table"];
/**
 * Dense contractions also take a residual – a second rescale that joins their quantized result with another tensor of its shape –
 * and convolutions a pool.
 */
const isDense = (op: Op): boolean =>
  op.name === "qc.matmul" || (op.name === "qc.conv" && attr<number>(op, "groups") === 1);

/** Tables are looked up in registers by bytes only. */
const isByte = ({ type: { elem } }: Value): boolean => elem.kind === "int" && elem.bits <= 8;

interface Group {
  readonly ops: Op[];
}

/** Whether `op` pools the image `v` in windows that neither overlap nor need padding. */
function pools(op: Op, v: Value): boolean {
  const e = v.type.elem;
  if (v.type.shape.length !== 4 || e.kind !== "int" || e.bits > 8 || op.operands.length !== 1) return false;
  if (op.name === "qc.reduce_sum") return attr<readonly number[]>(op, "axes").join() === "1,2";
  if (op.name !== "qc.max_pool" && op.name !== "qc.sum_pool") return false;
  const kernel = attr<readonly number[]>(op, "kernel");
  const strides = attr<readonly number[]>(op, "strides");
  const dilations = (op.attrs.dilations ?? [1, 1]) as readonly number[];
  return (
    attr<readonly number[]>(op, "pads").every((p) => p === 0) &&
    dilations.every((d) => d === 1) &&
    strides.every((s, i) => s >= kernel[i]!)
  );
}

/** How far a kernel is: what may still follow in registers. */
interface Progress {
  /** Index of the next finisher. */
  readonly stage: number;
  /** Whether a residual, a pool, or a table may still come. A residual joins in i32 lanes, where no table looks up. */
  readonly residual: boolean;
  readonly pool: boolean;
  readonly table: boolean;
}

/** Whether the multipliers are alike or follow the last axis, the one that vectors run along. */
const followsLastAxis = (op: Op): boolean =>
  rescaleOf(op.attrs).m.length === 1 || attr<number>(op, "axis") === op.results[0]!.type.shape.length - 1;

/** What remains possible after `op`, or undefined if it cannot be fused behind `value`. */
function advance(p: Progress, op: Op, value: Value): Progress | undefined {
  if (p.pool && p.stage > 0 && pools(op, value)) {
    const done = op.name === "qc.max_pool" ? finishers.length : 0;
    return { stage: done, residual: false, pool: false, table: true };
  }
  const shapes = [...op.operands, op.results[0]!].map((v) => v.type.shape);
  if (!shapes.every((s) => sameShape(s, value.type.shape))) return undefined;
  const at = finishers.indexOf(op.name);
  if (op.name === "qc.rescale" && !followsLastAxis(op)) return undefined;
  if (op.name === "qc.rescale" && op.operands.length === 2)
    return p.residual && p.stage > 0 ? { ...p, stage: at + 1, residual: false, table: false } : undefined;
  if (op.name === "qc.table")
    return p.table && isByte(op.operands[0]!) && at >= p.stage
      ? { ...p, stage: at + 1, residual: false }
      : undefined;
  return op.operands.length === 1 && at >= p.stage ? { ...p, stage: at + 1 } : undefined;
}

/** The chain of single-use ops that follow `root` and can be fused with it. `taken`: ops that belong to a kernel already. */
function chain(
  root: Op,
  users: ReadonlyMap<Value, Op[]>,
  results: ReadonlySet<Value>,
  taken: ReadonlySet<Op>,
): Op[] {
  const ops = [root];
  if (beginsFloatChain(root)) return floatChain(root, users, results, taken);
  if (!roots.has(root.name)) return ops;
  const started = root.name === "qc.rescale" || root.name === "qc.max_pool";
  const dense = isDense(root);
  let progress: Progress | undefined = {
    stage: started ? 1 : 0,
    residual: dense,
    pool: dense && root.name === "qc.conv",
    table: true,
  };
  for (;;) {
    const value = ops.at(-1)!.results[0]!;
    const next = users.get(value);
    const op = next?.[0];
    if (results.has(value) || next?.length !== 1 || op === undefined || taken.has(op)) return ops;
    progress = advance(progress, op, value);
    if (progress === undefined) return ops;
    ops.push(op);
  }
}

/** Of plain integers, too: comparisons and the like. */
const isFloatElementwise = (op: Op): boolean =>
  hasTrait(op, "elementwise") && (hasTrait(op, "float") || op.name.startsWith("int."));

/** Ops that take up integers made from floats. */
const readsIntegers = (op: Op): boolean => op.name.startsWith("int.") || op.name === "float.where";

/** Accumulators on their way to a float island begin a chain of its ops. */
const beginsFloatChain = (op: Op): boolean => isFloatElementwise(op) || op.name === "qc.sub_product";

/** Elementwise ops of a float island, one after another on tensors of one shape. */
function floatChain(
  root: Op,
  users: ReadonlyMap<Value, Op[]>,
  results: ReadonlySet<Value>,
  taken: ReadonlySet<Op>,
): Op[] {
  const ops = [root];
  for (;;) {
    const value = ops.at(-1)!.results[0]!;
    const [op, ...more] = users.get(value) ?? [];
    const ends = op === undefined || more.length > 0 || results.has(value) || taken.has(op);
    if (ends || !isFloatElementwise(op) || !sameShape(op.results[0]!.type.shape, value.type.shape))
      return ops;
    // An integer made from floats ends the chain.
    if (value.type.elem.kind !== "float" && hasTrait(ops.at(-1)!, "float") && !readsIntegers(op)) return ops;
    ops.push(op);
  }
}

function fuseFunc(main: Func): Module {
  const users = uses(main);
  const results = new Set(main.results.map((r) => r.value));
  const producers = new Map<Value, Op>();
  for (const op of main.ops) for (const r of op.results) producers.set(r, op);
  const taken = new Set<Op>();
  const groups = new Map<Op, Group>();
  for (const op of main.ops) {
    if (op.name === "const" || taken.has(op)) continue;
    const ops = chain(op, users, results, taken);
    for (const o of ops) taken.add(o);
    // The group runs where its last op stood: every operand of the chain exists by then.
    groups.set(ops.at(-1)!, { ops });
  }
  const b = createBuilder(main.name);
  for (const p of main.params) b.addParam(p);
  const map = new Map<Value, Value>(main.params.map((p) => [p.value, p.value]));
  const callees: Func[] = [];
  const names = new Set<string>([main.name]);
  for (const op of main.ops) {
    const group = groups.get(op);
    if (group === undefined) continue;
    const { func, operands } = outline(group.ops, producers, names);
    callees.push(func);
    const result = op.results[0]!;
    const called = b.add1(
      "qc.call",
      operands.map((v) => map.get(v)!),
      { callee: func.name },
      { loc: group.ops[0]!.loc, names: [result.name], types: [result.type] },
    );
    map.set(result, called);
  }
  for (const r of main.results)
    b.addResult({ ...r, value: constantOr(r, map, producers, callees, names, b) });
  return { funcs: [b.build(), ...callees] };
}

/** A result that is a plain constant gets a kernel that writes it. */
function constantOr(
  r: Port,
  map: Map<Value, Value>,
  producers: ReadonlyMap<Value, Op>,
  callees: Func[],
  names: Set<string>,
  b: ReturnType<typeof createBuilder>,
): Value {
  const known = map.get(r.value);
  if (known !== undefined) return known;
  const { func, operands } = outline([producers.get(r.value)!], producers, names);
  callees.push(func);
  const v = b.add1(
    "qc.call",
    operands,
    { callee: func.name },
    { names: [r.value.name], types: [r.value.type] },
  );
  map.set(r.value, v);
  return v;
}

/** The ops as a function: constants move inside, other operands become params. */
function outline(
  ops: readonly Op[],
  producers: ReadonlyMap<Value, Op>,
  names: Set<string>,
): { func: Func; operands: Value[] } {
  const inside = new Set(ops.flatMap((o) => o.results));
  const operands: Value[] = [];
  const consts: Op[] = [];
  for (const op of ops)
    for (const v of op.operands) {
      if (inside.has(v)) continue;
      const def = producers.get(v);
      if (def?.name === "const") {
        if (!consts.includes(def)) consts.push(def);
      } else if (!operands.includes(v)) operands.push(v);
    }
  const last = ops.at(-1)!.results[0]!;
  const base =
    (last.name || ops[0]!.name)
      .replace(/[^A-Za-z0-9_]+/g, "_")
      .replace(/^_+|_+$/g, "")
      .slice(-40) || "kernel";
  let name = base;
  for (let i = 1; names.has(name); i++) name = `${base}_${i}`;
  names.add(name);
  const port = (value: Value, i: number): Port => ({
    value,
    name: `${i}`,
    dtype: "int32",
    boundary: { kind: "none" },
  });
  return {
    func: { name, params: operands.map(port), ops: [...consts, ...ops], results: [port(last, 0)] },
    operands,
  };
}

export const fuseKernels = definePass({
  name: "fuse-kernels",
  summary: "Outline each kernel – a root op with what finishes its result in registers – into a function.",
  requires: ["lifted", "certified"],
  run: (module) => ok(fuseFunc(module.funcs[0]!)),
});
