/** Data movement between any layouts: strided blocks with contiguous inner runs. */
import { add, c32, type Expr, op, type StoreOp, scale, store } from "../../ir/kernel/ir.ts";
import { attr } from "../../ir/op.ts";
import { type Block, createKernel } from "./block.ts";
import { copyElements } from "./copy.ts";
import { copyBlock, fillBlock } from "./copy-block.ts";
import { constantLayout, operandLayout, paramBuffers } from "./elementwise.ts";
import { type Axis, loadScalar } from "./elementwise-load.ts";
import { constantOf, stepsOf } from "./epilogue-stage.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import { phaseOf } from "./layouts.ts";
import { type AxisSource, axisSources, type Segment, segmentsOf } from "./movement-indices.ts";
import type { Lowered, Stage } from "./stage.ts";

/** Lowers a stage of one movement op, or of nothing but a constant result. */
export function lowerMovement(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const finish = (): Lowered => {
    fillHalo(k.block, y);
    return k.finish(paramBuffers(stage), [y.buffer]);
  };
  if (!root) {
    const d = constantOf(stage, stage.func.results[0]!.value);
    if (!d) return undefined;
    copyElements(k.block, constantLayout(k.block, d), y);
    return finish();
  }
  const shape = root.operands[0]?.type.shape ?? [];
  const sources = axisSources(root, shape);
  if (sources) {
    moveAxes(k.block, operandLayout(stage, k.block, root.operands[0]!), y, sources);
    return finish();
  }
  if (root.name === "layout.reshape") {
    moveReshaped(k.block, operandLayout(stage, k.block, root.operands[0]!), y);
    return finish();
  }
  if (root.name === "layout.interleave") {
    root.operands.forEach((v, i) => {
      copyElements(k.block, operandLayout(stage, k.block, v), phaseOf(root, y, i, v));
    });
    return finish();
  }
  if (root.name === "layout.concat") {
    const axis = attr<number>(root, "axis");
    let start = 0;
    for (const v of root.operands) {
      const x = operandLayout(stage, k.block, v);
      copyElements(k.block, x, { ...y, shape: x.shape, offset: y.offset + start * y.strides[axis]! });
      start += x.shape[axis]!;
    }
    return finish();
  }
  return undefined;
}

/** One loop per regular step of each axis; axes that are not regular as a whole are written segment by segment. */
function moveAxes(block: Block, x: Layout, y: Layout, sources: readonly AxisSource[]): void {
  const segments = sources.map((s) => segmentsOf(s.sources));
  let last = segments.length - 1;
  while (last >= 0 && segments[last]!.length === 1 && segments[last]![0]!.value === undefined) last--;
  const step = (a: number): number => {
    const from = sources[a]!.axis;
    return from === undefined ? 0 : x.strides[from]!;
  };
  const axesOf = (a: number, s: Segment): Axis[] => {
    let inner = 1;
    const axes: Axis[] = [];
    for (const w of [...s.walk].reverse()) {
      axes.unshift({ size: w.size, steps: [w.step * step(a), inner * y.strides[a]!] });
      inner *= w.size;
    }
    return axes;
  };
  const tail = segments.slice(last + 1).flatMap((list, i) => axesOf(last + 1 + i, list[0]!));
  const tailBase = segments.slice(last + 1).reduce((n, l, i) => n + l[0]!.base * step(last + 1 + i), 0);
  if (segments.some((l) => l.length === 0)) return;
  const walk = (
    b: Block,
    a: number,
    from: Expr,
    to: Expr,
    base: number,
    start: number,
    value?: number,
  ): void => {
    if (a > last) {
      const [source, target] = [
        { ...x, offset: x.offset + base + tailBase },
        { ...y, offset: y.offset + start },
      ];
      if (value === undefined) copyBlock(b, source, target, tail, [from, to]);
      else fillBlock(b, target, tail, to, value);
      return;
    }
    for (const s of segments[a]!) {
      const filled = value ?? s.value;
      const nextBase = base + s.base * step(a);
      const nextStart = start + s.start * y.strides[a]!;
      if (a === last) {
        const axes = [...axesOf(a, s), ...tail];
        const target = { ...y, offset: y.offset + nextStart };
        if (filled === undefined)
          copyBlock(b, { ...x, offset: x.offset + nextBase + tailBase }, target, axes, [from, to]);
        else fillBlock(b, target, axes, to, filled);
        continue;
      }
      enter(b, axesOf(a, s), from, to, nextBase, (inner, f, t, moved) => {
        walk(inner, a + 1, f, t, moved, nextStart, filled);
      });
    }
  };
  walk(block, 0, c32(0), c32(0), 0, 0);
}

/** Opens loops; `base` moves into the address where a step is negative, so that addresses stay positive. */
function enter(
  block: Block,
  axes: readonly Axis[],
  from: Expr,
  to: Expr,
  base: number,
  body: (b: Block, from: Expr, to: Expr, base: number) => void,
): void {
  const [axis, ...rest] = axes;
  if (!axis) {
    body(block, from, to, base);
    return;
  }
  const [f, t] = axis.steps as [number, number];
  const back = f < 0;
  block.loop(0, axis.size, 1, (i, inner) => {
    const start = back ? add(from, base) : from;
    enter(
      inner,
      rest,
      inner.bind(add(start, scale(i, f)), "at"),
      inner.bind(add(to, scale(i, t)), "at"),
      back ? 0 : base,
      body,
    );
  });
}

/** Row-major elements under another shape: by axes that refine both shapes if there are any, else by division. */
function moveReshaped(block: Block, x: Layout, y: Layout): void {
  const refined = refine(x.shape, y.shape);
  if (!refined) {
    moveByDivision(block, x, y);
    return;
  }
  const steps = (l: Layout): number[] => {
    const out: number[] = [];
    let at = refined.length - 1;
    for (let a = l.shape.length - 1; a >= 0; a--) {
      let inner = 1;
      while (at >= 0 && inner < l.shape[a]!) {
        out[at] = inner * l.strides[a]!;
        inner *= refined[at]!;
        at--;
      }
    }
    return out;
  };
  const [f, t] = [steps(x), steps(y)];
  const axes = refined.map((size, i): Axis => ({ size, steps: [f[i] ?? 0, t[i] ?? 0] }));
  copyBlock(block, x, y, axes, [c32(0), c32(0)]);
}

/** Axis sizes (none of them 1) whose runs make up both shapes; undefined if the shapes' boundaries do not nest. */
function refine(a: readonly number[], b: readonly number[]): number[] | undefined {
  const boundaries = (shape: readonly number[]): number[] => {
    let n = 1;
    return [...shape].reverse().map((d) => {
      n *= d;
      return n;
    });
  };
  const all = [...new Set([1, ...boundaries(a), ...boundaries(b)])].sort((p, q) => p - q);
  if (all.includes(0)) return [0];
  const out: number[] = [];
  for (let i = 1; i < all.length; i++) {
    if (all[i]! % all[i - 1]! !== 0) return undefined;
    out.unshift(all[i]! / all[i - 1]!);
  }
  return out;
}

function moveByDivision(block: Block, x: Layout, y: Layout): void {
  const total = y.shape.reduce((n, d) => n * d, 1);
  const size = CONTAINER_BYTES[y.container];
  const storeOp: StoreOp = size === 1 ? "store8" : size === 2 ? "store16" : "store";
  const address = (b: Block, l: Layout, flat: Expr): Expr => {
    let rest = flat;
    let at: Expr = c32(0);
    for (let a = l.shape.length - 1; a >= 0; a--) {
      const d = l.shape[a]!;
      if (d === 1) continue;
      const q = b.bind(op("div_u.i32", [rest, c32(d)]), "q");
      const r = op("sub.i32", [rest, scale(q, d)]);
      at = b.bind(add(at, scale(r, l.strides[a]!)), "at");
      rest = q;
    }
    return at;
  };
  block.loop(0, total, 1, (i, b) => {
    const value = loadScalar(x, address(b, x, i), x.offset);
    b.push(store(y.buffer, address(b, y, i), value, { offset: y.offset, op: storeOp }));
  });
}
