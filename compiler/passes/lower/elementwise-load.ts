/** Loads of consecutive elements as i32x4 groups, and strided loop nests over several tensors. */
import { add, c32, type Expr, load, op, scale } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import { CONTAINER_BYTES, type Container, type Layout } from "./layout.ts";

type Place = Pick<Layout, "buffer" | "container">;

/** `groups` i32x4 (of floats: their bits) of consecutive elements from byte addr + offset. May read up to 15 bytes beyond them. */
export function loadGroups(block: Block, from: Place, addr: Expr, offset: number, groups: number): Expr[] {
  const c = from.container;
  if (CONTAINER_BYTES[c] === 4)
    return Array.from({ length: groups }, (_, j) =>
      block.bind(load("i32x4", from.buffer, addr, offset + j * 16), "x"),
    );
  const halves: Expr[] = [];
  if (CONTAINER_BYTES[c] === 2)
    for (let j = 0; j < groups; j += 2)
      halves.push(block.bind(load("i16x8", from.buffer, addr, offset + j * 8), "x"));
  else
    for (let j = 0; j < groups; j += 2)
      halves.push(
        block.bind(
          load("i16x8", from.buffer, addr, offset + j * 4, c === "u8" ? "load8x8_u" : "load8x8_s"),
          "x",
        ),
      );
  // Bytes fit i16 either way once widened; only 16-bit elements may need the unsigned extension.
  const s = c === "u16" ? "u" : "s";
  return Array.from({ length: groups }, (_, j) =>
    block.bind(op(`extend_${j % 2 === 0 ? "low" : "high"}_${s}.i32x4`, [halves[j >> 1]!]), "x"),
  );
}

/** One element as an i32 scalar. */
export function loadScalar(from: Place, addr: Expr, offset = 0): Expr {
  const ops = {
    u8: "load8_u",
    i8: "load8_s",
    u16: "load16_u",
    i16: "load16_s",
    i32: "load",
    f32: "load",
  } as const;
  return load("i32", from.buffer, addr, offset, ops[from.container]);
}

/** One loop of a nest: so many turns; per tensor, the bytes it moves each turn. */
export interface Axis {
  readonly size: number;
  readonly steps: readonly number[];
}

/** Drops axes of one turn and joins neighbours that continue each other in every tensor. Outermost first. */
export function collapse(axes: readonly Axis[]): Axis[] {
  const out: Axis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const last = out.at(-1);
    if (last?.steps.every((s, i) => s === axis.steps[i]! * axis.size))
      out[out.length - 1] = { size: last.size * axis.size, steps: axis.steps };
    else out.push(axis);
  }
  return out;
}

/** Runs `body` for every combination of the axes, outermost first, with each tensor's byte address, from `starts` on. */
export function nest(
  block: Block,
  axes: readonly Axis[],
  starts: readonly Expr[],
  body: (block: Block, at: readonly Expr[]) => void,
): void {
  const [axis, ...rest] = axes;
  if (!axis) {
    body(block, starts);
    return;
  }
  block.loop(0, axis.size, 1, (turn, inner) => {
    const next = starts.map((a, t) => {
      const step = axis.steps[t]!;
      return step === 0 ? a : inner.bind(add(a, scale(turn, step)), "at");
    });
    nest(inner, rest, next, body);
  });
}

/** Start addresses of `n` tensors. */
export const zeroAddresses = (n: number): Expr[] => Array.from({ length: n }, () => c32(0));

/** Bytes a layout moves per step of each axis of `shape` it is broadcast to. */
export function broadcastStrides(l: Pick<Layout, "shape" | "strides">, shape: readonly number[]): number[] {
  const lead = shape.length - l.shape.length;
  return shape.map((_, i) => (i < lead || l.shape[i - lead] === 1 ? 0 : l.strides[i - lead]!));
}

/** Containers of constants. */
export function bytesOfContainer(c: Container): "i8" | "u8" | "i16" | "i32" | "f32" {
  return c === "u16" ? "i16" : c;
}
