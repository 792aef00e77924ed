/** The fused integer graph → a program of kernels: layouts, one kernel per call, copies where layouts disagree, memory plan. */
import { type Diagnostic, fail, ok, type Result } from "../../ir/diagnostics.ts";
import type { Buffer, Kernel, Program } from "../../ir/kernel/ir.ts";
import { noKernel } from "../../ir/messages-quant.ts";
import { type Func, type Module, type Op, type Port, uses, type Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import type { Target } from "../../ir/target.ts";
import { sizeOf } from "../../ir/types.ts";
import { lowerContraction } from "./contraction.ts";
import { copyLayout } from "./copy.ts";
import { lowerDepthwise } from "./depthwise.ts";
import { type Exactness, exactness } from "./dot-proof.ts";
import { lowerElementwise } from "./elementwise.ts";
import { lowerFloat } from "./float/index.ts";
import { CONTAINER_BYTES, containerOf, denseLayout, type Halo, isDense, type Layout } from "./layout.ts";
import {
  type Callee,
  calleeOf,
  haloNeed,
  imageLayout,
  paddedChannels,
  phaseOf,
  reshapeView,
  satisfies,
  sharedHalo,
} from "./layouts.ts";
import { lowerMovement } from "./movement.ts";
import { lowerNormalize } from "./normalize.ts";
import { type Lifetime, planMemory } from "./plan-memory.ts";
import { lowerProduct } from "./product.ts";
import { lowerReduce } from "./reduce.ts";
import type { Choice, Tuning } from "./schedule/schedule.ts";
import { lowerSoftmax } from "./softmax.ts";
import type { Lowered, Lowering, Stage } from "./stage.ts";
import { lowerTable } from "./table.ts";
import { lowerThreshold } from "./threshold.ts";
import { beforeTranspose, isProduct, readsStrided, viewOf } from "./views.ts";
import type { PackedPanels } from "./weights.ts";
import { lowerWindow } from "./window.ts";

const families: readonly Lowering[] = [
  lowerDepthwise,
  lowerContraction,
  lowerProduct,
  lowerElementwise,
  lowerTable,
  lowerThreshold,
  lowerWindow,
  lowerReduce,
  lowerSoftmax,
  lowerNormalize,
  lowerMovement,
  lowerFloat,
];

/** A graph input or output and where its integers lie, row-major. */
export interface LoweredPort {
  readonly port: Port;
  readonly layout: Layout;
}

/** Which op a kernel computes, for reports. */
export interface Step {
  readonly kernel: string;
  readonly call: Op | undefined;
  /** Engines on which its relaxed dot products are exact. */
  readonly exact: Exactness;
  /** How it was made, for the families that have schedules. */
  readonly scheduled?: { readonly stage: Stage; readonly choice: Choice };
}

export interface LoweredProgram {
  readonly program: Program;
  /** Arena offset of every buffer that is not constant. */
  readonly offsets: ReadonlyMap<string, number>;
  /** Bytes of the arena. */
  readonly peak: number;
  readonly inputs: readonly LoweredPort[];
  readonly outputs: readonly LoweredPort[];
  readonly steps: readonly Step[];
  /** Where each value of the entry function lies once its kernel has run. */
  readonly layouts: ReadonlyMap<Value, Layout>;
}

/** Mutable state of one lowering. */
interface State {
  readonly module: Module;
  readonly main: Func;
  readonly target: Target;
  readonly tuning: Tuning | undefined;
  readonly panels: PackedPanels;
  readonly readers: ReadonlyMap<Value, Op[]>;
  readonly results: ReadonlySet<Value>;
  readonly layouts: Map<Value, Layout>;
  /** Copies of a value with another halo, by value and need. */
  readonly copies: Map<Value, Map<string, Layout>>;
  readonly buffers: Buffer[];
  readonly kernels: Kernel[];
  readonly steps: Step[];
  /** First and last kernel that touches each buffer; inputs start before the first, outputs end after the last. */
  readonly first: Map<string, number>;
  readonly last: Map<string, number>;
  readonly names: Set<string>;
}

/**
 * `tuning`: schedules to use instead of the cost model's, by the keys of the target's kernels. `panels` keeps packed weights;
 * lowering the same module for another target takes them from there.
 */
export function lowerModule(
  module: Module,
  target: Target,
  {
    tuning,
    panels = new Map(),
  }: { readonly tuning?: Tuning | undefined; readonly panels?: PackedPanels } = {},
): Result<LoweredProgram> {
  const main = module.funcs[0]!;
  const s: State = {
    module,
    main,
    target,
    tuning,
    panels,
    readers: uses(main),
    results: new Set(main.results.map((r) => r.value)),
    layouts: new Map(),
    copies: new Map(),
    buffers: [],
    kernels: [],
    steps: [],
    first: new Map(),
    last: new Map(),
    names: new Set(),
  };
  const diagnostics: Diagnostic[] = [];
  const inputs = main.params.map((port): LoweredPort => {
    const layout = ownBuffer(s, port.value, "input", "in");
    s.layouts.set(port.value, layout);
    s.first.set(layout.buffer, -1);
    return { port, layout };
  });
  for (const call of main.ops) {
    const d = lowerCall(s, call);
    if (d !== undefined) diagnostics.push(d);
  }
  if (diagnostics.length > 0) return fail(...diagnostics);
  const outputs = main.results.map((port): LoweredPort => ({ port, layout: outputLayout(s, port) }));
  const end = s.kernels.length;
  for (const { layout } of outputs) s.last.set(layout.buffer, end);
  const lifetimes = s.buffers.flatMap((b): Lifetime[] =>
    b.role === "const"
      ? []
      : [
          {
            name: b.name,
            bytes: b.bytes,
            first: s.first.get(b.name) ?? end,
            last: s.last.get(b.name) ?? s.first.get(b.name) ?? end,
          },
        ],
  );
  const { offsets, peak } = planMemory(lifetimes);
  return ok({
    program: { buffers: s.buffers, kernels: s.kernels },
    offsets,
    peak,
    inputs,
    outputs,
    steps: s.steps,
    layouts: s.layouts,
  });
}

function uniqueName(s: State, hint: string): string {
  const base = hint.replace(/[^A-Za-z0-9_]+/g, "_").slice(-40) || "t";
  let name = base;
  for (let i = 1; s.names.has(name); i++) name = `${base}_${i}`;
  s.names.add(name);
  return name;
}

function addBuffer(s: State, name: string, bytes: number, role: Buffer["role"]): void {
  s.buffers.push({ name, role, bytes: Math.max(1, bytes), align: 16 });
}

/** A row-major tensor in a buffer of its own. */
function ownBuffer(s: State, v: Value, role: Buffer["role"], hint: string): Layout {
  const name = uniqueName(s, `${hint}_${v.name}`);
  const layout = denseLayout(name, v.type);
  addBuffer(s, name, sizeOf(v.type.shape) * CONTAINER_BYTES[layout.container], role);
  return layout;
}

/** Emits a kernel and notes which buffers it touches when. */
function addKernel(s: State, lowered: Lowered, call: Op | undefined, stage?: Stage): void {
  const at = s.kernels.length;
  s.kernels.push(lowered.kernel);
  s.buffers.push(...lowered.buffers);
  const { choice } = lowered;
  s.steps.push({
    kernel: lowered.kernel.name,
    call,
    exact: exactness(lowered.kernel, lowered.buffers, stage),
    ...(stage && choice && { scheduled: { stage, choice } }),
  });
  const consts = new Set(lowered.buffers.filter((b) => b.role === "const").map((b) => b.name));
  for (const name of [...lowered.kernel.reads, ...lowered.kernel.writes]) {
    if (consts.has(name)) continue;
    if (!s.first.has(name)) s.first.set(name, at);
    s.last.set(name, at);
  }
}

/** The operand's layout, copied once into one with the wanted halo if it lacks it. */
function operandLayout(s: State, v: Value, need: Halo | undefined): Layout {
  const layout = s.layouts.get(v);
  if (layout === undefined) throw new Error(`no layout for ${v.name}`);
  if (satisfies(layout, need) || need === undefined) return layout;
  const key = JSON.stringify(need);
  const known = s.copies.get(v)?.get(key);
  if (known !== undefined) return known;
  const name = uniqueName(s, `pad_${v.name}`);
  const copy = imageLayout(name, v, need, v.type.shape[3]!);
  addBuffer(s, name, copy.bytes, "temp");
  addKernel(s, copyLayout(uniqueName(s, `copy_${v.name}`), layout, copy.layout, s.target), undefined);
  const map = s.copies.get(v) ?? new Map<string, Layout>();
  map.set(key, copy.layout);
  s.copies.set(v, map);
  return copy.layout;
}

/** A place for the result of `root`: with the halo its readers share, and room for whole vectors of channels. */
function newLayout(s: State, v: Value, root: Op): { layout: Layout; bytes: number; role: Buffer["role"] } {
  const readers = (s.readers.get(v) ?? []).map((r) => calleeOf(s.module, r).root);
  const isResult = s.results.has(v);
  const name = uniqueName(s, `t_${v.name}`);
  if (isResult || v.type.shape.length !== 4 || CONTAINER_BYTES[containerOf(v.type)] === 4) {
    const layout = denseLayout(name, v.type);
    return {
      layout,
      bytes: sizeOf(v.type.shape) * CONTAINER_BYTES[layout.container],
      role: isResult ? "output" : "temp",
    };
  }
  const halo = sharedHalo(readers.map(haloNeed));
  const convolves = root.name === "qc.conv" || root.name === "layout.interleave";
  const convolutions = convolves && readers.every((r) => r.name === "qc.conv");
  const channels = v.type.shape[3]!;
  return { ...imageLayout(name, v, halo, convolutions ? paddedChannels(channels) : channels), role: "temp" };
}

/** The result's layout: inside the tensor it will be concatenated into, in place of a dying residual, or in a buffer of its own. */
function resultLayout(s: State, call: Op, callee: Callee, inputs: readonly Layout[]): Layout {
  const v = call.results[0]!;
  const part = concatenated(s, v) ?? transposed(s, v, callee);
  if (part !== undefined) return part;
  const { layout, bytes, role } = newLayout(s, v, callee.root);
  const place = dyingResidual(s, call, callee, inputs, layout);
  if (place !== undefined) return place;
  addBuffer(s, layout.buffer, bytes, role);
  return layout;
}

/** The result may overwrite a residual that nobody reads again and that is laid out alike: each tile reads it before it writes. */
function dyingResidual(
  s: State,
  call: Op,
  { func, root }: Callee,
  inputs: readonly Layout[],
  wanted: Layout,
): Layout | undefined {
  if (root.name !== "qc.conv" && root.name !== "qc.matmul") return undefined;
  const join = func.ops.find((o) => o.name === "qc.rescale" && o.operands.length === 2);
  if (join === undefined) return undefined;
  const at = func.params.findIndex((p) => join.operands.includes(p.value) && p.value !== root.operands[0]);
  const old = call.operands[at];
  const layout = inputs[at];
  if (
    old === undefined ||
    layout === undefined ||
    s.results.has(old) ||
    s.main.params.some((p) => p.value === old)
  )
    return undefined;
  const shared = [...s.layouts].some(([v, l]) => v !== old && l.buffer === layout.buffer);
  const last = s.readers.get(old)?.at(-1) === call;
  const alike = JSON.stringify({ ...layout, buffer: "" }) === JSON.stringify({ ...wanted, buffer: "" });
  return last && !shared && alike ? layout : undefined;
}

/** The part of a concatenation's result that `v` fills, when `v` is only ever read through it or without a halo. */
function concatenated(s: State, v: Value): Layout | undefined {
  for (const reader of s.readers.get(v) ?? []) {
    const callee = calleeOf(s.module, reader);
    const interleaves = callee.root.name === "layout.interleave";
    if (!(interleaves ? madeInPlace(s, reader, callee) : joinsChannels(s, reader, callee))) continue;
    const whole = reader.results[0]!;
    let layout = s.layouts.get(whole);
    if (layout === undefined) {
      const made = newLayout(s, whole, callee.root);
      addBuffer(s, made.layout.buffer, made.bytes, made.role);
      s.layouts.set(whole, made.layout);
      layout = made.layout;
    }
    if (interleaves) return phaseOf(callee.root, layout, reader.operands.indexOf(v), v);
    const before = reader.operands
      .slice(0, reader.operands.indexOf(v))
      .reduce((n, o) => n + o.type.shape.at(-1)!, 0);
    return {
      ...layout,
      shape: v.type.shape,
      offset: layout.offset + before * CONTAINER_BYTES[layout.container],
    };
  }
  return undefined;
}

/** The transpose of `v`, if that is all that reads it and its maker writes at any strides: the maker writes it as well. */
function transposed(s: State, v: Value, { func, root }: Callee): Layout | undefined {
  const [reader, ...others] = s.readers.get(v) ?? [];
  if (reader === undefined || others.length > 0 || s.results.has(v) || !isProduct(func, root))
    return undefined;
  const callee = calleeOf(s.module, reader);
  if (callee.root.name !== "layout.transpose" || callee.root.results[0] !== callee.func.results[0]!.value)
    return undefined;
  const whole = reader.results[0]!;
  const made = newLayout(s, whole, callee.root);
  const layout = beforeTranspose(callee.root, v, made.layout);
  if (layout === undefined) return undefined;
  addBuffer(s, made.layout.buffer, made.bytes, made.role);
  s.layouts.set(whole, made.layout);
  return layout;
}

const joins: ReadonlySet<string> = new Set(["layout.concat", "layout.interleave"]);

/** Whether `call` concatenates along the last axis tensors that can all be made in place. */
function joinsChannels(s: State, call: Op, callee: Callee): boolean {
  const { root } = callee;
  const rank = call.results[0]!.type.shape.length;
  if (root.name !== "layout.concat" || attr<number>(root, "axis") !== rank - 1 || rank !== 4) return false;
  return madeInPlace(s, call, callee);
}

/** Whether the operands of a call that does nothing but join them can all be made as parts of its result. */
function madeInPlace(s: State, call: Op, { func, root }: Callee): boolean {
  const whole = call.results[0]!;
  if (root.results[0] !== func.results[0]!.value) return false;
  if (root.operands.length !== call.operands.length || new Set(call.operands).size !== call.operands.length)
    return false;
  const container = containerOf(whole.type);
  return call.operands.every((v) => {
    const maker = s.main.ops.find((o) => o.results[0] === v);
    if (
      maker === undefined ||
      s.results.has(v) ||
      containerOf(v.type) !== container ||
      CONTAINER_BYTES[container] === 4
    )
      return false;
    // Made by a kernel of its own, not a view of another tensor; read elsewhere only where no halo is needed.
    if (calleeOf(s.module, maker).root.name.startsWith("layout.")) return false;
    const others = s.readers
      .get(v)!
      .filter((r) => r !== call)
      .map((r) => calleeOf(s.module, r).root);
    return others.every((r) => haloNeed(r) === undefined && !joins.has(r.name));
  });
}

/** Whether every reader takes `v` at any strides. */
const readAnyhow = (s: State, v: Value): boolean =>
  !s.results.has(v) &&
  (s.readers.get(v) ?? []).every((r) => {
    const { func, root } = calleeOf(s.module, r);
    return readsStrided(func, root);
  });

function lowerCall(s: State, call: Op): Diagnostic | undefined {
  const callee = calleeOf(s.module, call);
  const { func, root } = callee;
  const result = call.results[0]!;
  const steps = func.ops.filter((o) => o.name !== "const");
  if ((joins.has(root.name) || root.name === "layout.transpose") && s.layouts.has(result)) return undefined;
  if (steps.length === 1 && root.name === "layout.reshape") {
    const view = reshapeView(s.layouts.get(call.operands[0]!)!, result);
    if (view !== undefined) {
      s.layouts.set(result, view);
      return undefined;
    }
  }
  const [only, ...more] = call.operands;
  const movable = only !== undefined && more.length === 0 && steps.length === 1 && readAnyhow(s, result);
  const view = movable ? viewOf(root, s.layouts.get(only)!) : undefined;
  if (view !== undefined) {
    s.layouts.set(result, view);
    return undefined;
  }
  const need = haloNeed(root);
  const inputs = call.operands.map((v, i) => operandLayout(s, v, i === 0 ? need : undefined));
  const output = resultLayout(s, call, callee, inputs);
  s.layouts.set(result, output);
  const { target, tuning, panels } = s;
  const name = uniqueName(s, func.name);
  const stage: Stage = { func, inputs, outputs: [output], target, tuning, panels, name };
  const lowered = lowerStage(stage);
  if (lowered === undefined) return noKernel(root);
  addKernel(s, lowered, call, stage);
  return undefined;
}

/** The kernel of the first family that knows the stage. */
export function lowerStage(stage: Stage): Lowered | undefined {
  for (const family of families) {
    const lowered = family(stage);
    if (lowered !== undefined) return lowered;
  }
  return undefined;
}

/** Outputs are row-major in a buffer that lives to the end; a param or a view with gaps is copied. */
function outputLayout(s: State, port: Port): Layout {
  const layout = s.layouts.get(port.value)!;
  const isParam = s.main.params.some((p) => s.layouts.get(p.value)?.buffer === layout.buffer);
  if (isDense(layout) && !isParam) return layout;
  const copy = ownBuffer(s, port.value, "output", "out");
  addKernel(s, copyLayout(uniqueName(s, `copy_${port.value.name}`), layout, copy, s.target), undefined);
  return copy;
}
