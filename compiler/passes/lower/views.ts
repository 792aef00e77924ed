/** Data movement without moving data: tensors as views of other tensors' bytes, for those who read or write any strides. */
import type { Func, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";

/** The result of a movement op as a view of its operand; undefined where elements would not be regular, or not contiguous last. */
export function viewOf(op: Op, x: Layout): Layout | undefined {
  const result = op.results[0]!;
  if (result.type.shape.includes(0)) return undefined;
  const { buffer, container } = x;
  const view = { buffer, container, shape: result.type.shape };
  const last = x.shape.length - 1;
  switch (op.name) {
    case "layout.transpose": {
      const perm = attr<readonly number[]>(op, "perm");
      if (perm[last] !== last) return undefined;
      return { ...view, strides: perm.map((a) => x.strides[a]!), offset: x.offset };
    }
    case "layout.slice": {
      const [axes, starts, steps] = ["axes", "starts", "steps"].map((n) =>
        attr<readonly number[]>(op, n),
      ) as [readonly number[], readonly number[], readonly number[]];
      if (steps.some((s) => s !== 1)) return undefined;
      const offset = axes.reduce((sum, a, i) => sum + starts[i]! * x.strides[a]!, x.offset);
      return { ...view, strides: x.strides, offset };
    }
    case "layout.gather": {
      const axis = attr<number>(op, "axis");
      const indices = attr<readonly number[]>(op, "indices");
      if (indices.some((i, j) => i !== indices[0]! + j)) return undefined;
      return { ...view, strides: x.strides, offset: x.offset + indices[0]! * x.strides[axis]! };
    }
    case "layout.reshape": {
      const strides = reshaped(x, result.type.shape);
      return strides && { ...view, strides, offset: x.offset };
    }
    default:
      return undefined;
  }
}

/** Strides of the same elements under another shape, where runs of axes of one shape are runs of the other; last axis contiguous. */
function reshaped(x: Layout, to: readonly number[]): number[] | undefined {
  const wide = x.shape.flatMap((size, a) => (size > 1 ? [{ size, stride: x.strides[a]! }] : []));
  const strides = new Array<number>(to.length);
  const e = CONTAINER_BYTES[x.container];
  let next = wide.length - 1;
  // From the last axis forwards: `left` elements of the current run, `step` bytes apart.
  let left = 1;
  let step = e;
  for (let a = to.length - 1; a >= 0; a--) {
    if (left === 1 && next >= 0 && to[a]! > 1) {
      ({ size: left, stride: step } = wide[next--]!);
      // Axes that continue each other are one run.
      while (next >= 0 && wide[next]!.stride === step * left) left *= wide[next--]!.size;
    }
    strides[a] = step;
    if (left % to[a]! !== 0) return undefined;
    left /= to[a]!;
    step *= to[a]!;
  }
  const contiguous = to.length === 0 || to.at(-1) === 1 || strides.at(-1) === e;
  return next < 0 && left === 1 && contiguous ? strides : undefined;
}

/** Whether a matmul multiplies two tensors, and so runs as a product. */
export const isProduct = (func: Func, root: Op): boolean =>
  root.name === "qc.matmul" && !func.ops.some((o) => o.name === "const" && o.results[0] === root.operands[1]);

const elementwise = new Set([
  "qc.rescale",
  "qc.clamp",
  "qc.mul",
  "qc.max",
  "qc.min",
  "qc.add_const",
  "qc.table",
  "qc.softmax",
  "qc.normalize",
]);

/** Whether the kernel of a function reads its operands at any strides, as long as the last axis is contiguous. */
export const readsStrided = (func: Func, root: Op): boolean =>
  root.name.startsWith("layout.") || elementwise.has(root.name) || isProduct(func, root);

/** Where `v` lies if its transpose, which keeps the last axis, lies at `y`. */
export function beforeTranspose(op: Op, v: Value, y: Layout): Layout | undefined {
  const perm = attr<readonly number[]>(op, "perm");
  const last = perm.length - 1;
  if (perm[last] !== last || y.halo !== undefined) return undefined;
  const strides = perm.map((_, a) => y.strides[perm.indexOf(a)]!);
  return { buffer: y.buffer, container: y.container, shape: v.type.shape, strides, offset: y.offset };
}
