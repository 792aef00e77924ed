/** The fused integer graph → a program of kernels: layouts, one kernel per call, copies where layouts disagree, memory plan. */
import { type Diagnostic, fail, ok, type Result } from "../../ir/diagnostics.ts";
import type { Buffer, Kernel, Program } from "../../ir/kernel/ir.ts";
import { noKernel } from "../../ir/messages-quant.ts";
import { type Func, type Module, type Op, type Port, uses, type Value } from "../../ir/module.ts";
import type { Target } from "../../ir/target.ts";
import { sizeOf } from "../../ir/types.ts";
import { lowerContraction } from "./contraction.ts";
import { copyLayout } from "./copy.ts";
import { lowerDepthwise } from "./depthwise.ts";
import { lowerElementwise } from "./elementwise.ts";
import { CONTAINER_BYTES, containerOf, denseLayout, type Halo, isDense, type Layout } from "./layout.ts";
import {
  calleeOf,
  haloNeed,
  imageLayout,
  paddedChannels,
  reshapeView,
  satisfies,
  sharedHalo,
} from "./layouts.ts";
import { lowerMovement } from "./movement.ts";
import { type Lifetime, planMemory } from "./plan-memory.ts";
import { lowerReduce } from "./reduce.ts";
import { lowerSoftmax } from "./softmax.ts";
import type { Lowered, Lowering, Stage } from "./stage.ts";
import { lowerTable } from "./table.ts";
import { lowerWindow } from "./window.ts";

const families: readonly Lowering[] = [
  lowerDepthwise,
  lowerContraction,
  lowerElementwise,
  lowerTable,
  lowerWindow,
  lowerReduce,
  lowerSoftmax,
  lowerMovement,
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
}

/** Mutable state of one lowering. */
interface State {
  readonly module: Module;
  readonly main: Func;
  readonly target: Target;
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

export function lowerModule(module: Module, target: Target): Result<LoweredProgram> {
  const main = module.funcs[0]!;
  const s: State = {
    module,
    main,
    target,
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
function addKernel(s: State, lowered: Lowered, call: Op | undefined): void {
  const at = s.kernels.length;
  s.kernels.push(lowered.kernel);
  s.buffers.push(...lowered.buffers);
  s.steps.push({ kernel: lowered.kernel.name, call });
  const consts = new Set(lowered.buffers.map((b) => b.name));
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

/** Where the result of `root` goes: with the halo its readers share, and room for whole vectors of channels. */
function resultLayout(s: State, v: Value, root: Op): Layout {
  const readers = (s.readers.get(v) ?? []).map((r) => calleeOf(s.module, r).root);
  if (s.results.has(v) || v.type.shape.length !== 4 || containerOf(v.type) === "i32")
    return ownBuffer(s, v, s.results.has(v) ? "output" : "temp", "t");
  const halo = sharedHalo(readers.map(haloNeed));
  const convolutions = root.name === "qc.conv" && readers.every((r) => r.name === "qc.conv");
  const channels = v.type.shape[3]!;
  const name = uniqueName(s, `t_${v.name}`);
  const { layout, bytes } = imageLayout(name, v, halo, convolutions ? paddedChannels(channels) : channels);
  addBuffer(s, name, bytes, "temp");
  return layout;
}

function lowerCall(s: State, call: Op): Diagnostic | undefined {
  const { func, root } = calleeOf(s.module, call);
  const result = call.results[0]!;
  const steps = func.ops.filter((o) => o.name !== "const");
  if (steps.length === 1 && root.name === "layout.reshape") {
    const view = reshapeView(s.layouts.get(call.operands[0]!)!, result);
    if (view !== undefined) {
      s.layouts.set(result, view);
      return undefined;
    }
  }
  const need = haloNeed(root);
  const inputs = call.operands.map((v, i) => operandLayout(s, v, i === 0 ? need : undefined));
  const output = resultLayout(s, result, root);
  s.layouts.set(result, output);
  const stage: Stage = { func, inputs, outputs: [output], target: s.target, name: uniqueName(s, func.name) };
  for (const family of families) {
    const lowered = family(stage);
    if (lowered !== undefined) {
      addKernel(s, lowered, call);
      return undefined;
    }
  }
  return noKernel(root);
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
