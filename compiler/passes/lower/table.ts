/** 256-entry tables: swizzles on vectors of bytes where they are few; scalar loads for the others and for wider inputs. */
import { c32, type Expr, load, op, type StoreOp, scale, store } from "../../ir/kernel/ir.ts";
import type { Dense } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { type Block, bytesOf, createKernel } from "./block.ts";
import { constantLayout, operandLayout, paramBuffers } from "./elementwise.ts";
import { type Axis, collapse, loadScalar, nest, zeroAddresses } from "./elementwise-load.ts";
import { mapElements } from "./elementwise-map.ts";
import { createEpilogue } from "./epilogue.ts";
import { stepsOf } from "./epilogue-stage.ts";
import { type Lookup, usedChunks } from "./epilogue-table.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import type { Lowered, Stage } from "./stage.ts";

export function lowerTable(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "qc.table" || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  const entries = attr<Dense>(root, "table");
  const min = attr<number>(root, "min");
  const max = min + entries.data.length - 1;
  fillHalo(k.block, y);
  const axes = collapse(y.shape.map((n, a) => ({ size: n, steps: [x.strides[a]!, y.strides[a]!] })));
  const bytes = (min >= 0 && max <= 255) || (min >= -128 && max <= 127);
  if (bytes && usedChunks(entries) > SWIZZLED && emitBytes(k.block, x, y, axes, { entries, min }))
    return k.finish(paramBuffers(stage), [y.buffer]);
  if (bytes) {
    const post = { table: { entries, min } };
    const epilogue = createEpilogue({
      block: k.block,
      rescale: null,
      channels: 1,
      pad: 4,
      container: y.container,
      post,
    });
    const still = y.shape.map(() => 0);
    mapElements(k.block, y.shape, [x], y, still, (b, groups, channel) => epilogue.emit(b, [groups], channel));
    return k.finish(paramBuffers(stage), [y.buffer]);
  }
  const table = constantLayout(k.block, entries);
  const size = CONTAINER_BYTES[y.container];
  const storeOp: StoreOp = size === 1 ? "store8" : size === 2 ? "store16" : "store";
  nest(k.block, axes, zeroAddresses(2), (b, [from, to]) => {
    const index = b.bind(op("sub.i32", [loadScalar(x, from!, x.offset), c32(min)]), "index");
    const at = b.bind(scale(index, CONTAINER_BYTES[table.container]), "at");
    b.push(store(y.buffer, to!, loadScalar(table, at), { offset: y.offset, op: storeOp }));
  });
  return k.finish(paramBuffers(stage), [y.buffer]);
}

/** Most chunks of a table for which swizzles are faster than looking up byte by byte. */
const SWIZZLED = 11;
/** Bytes looked up per turn. */
const TURN = 16;

/**
 * A table of all 256 bytes, looked up byte by byte. Only where the elements of both tensors are bytes that lie back to back; false
 * otherwise.
 */
function emitBytes(b: Block, x: Layout, y: Layout, axes: readonly Axis[], { entries, min }: Lookup): boolean {
  const [axis, ...rest] = axes;
  const dense = axis !== undefined && rest.length === 0 && axis.steps.every((s) => s === 1);
  if (!dense || CONTAINER_BYTES[x.container] !== 1 || CONTAINER_BYTES[y.container] !== 1) return false;
  const signed = x.container === "i8";
  // By the bits of the input, so that no index needs arithmetic.
  const values = Array.from({ length: 256 }, (_, bits) => {
    const value = signed ? (bits << 24) >> 24 : bits;
    return (entries.data[value - min] ?? 0) & 255;
  });
  const table = b.constant(bytesOf(values, "u8"), "table");
  const one = (to: Block, at: Expr, offset: number): void => {
    const index = to.bind(load("i32", x.buffer, at, x.offset + offset, "load8_u"), "index");
    to.push(
      store(y.buffer, at, load("i32", table, index, 0, "load8_u"), {
        offset: y.offset + offset,
        op: "store8",
      }),
    );
  };
  const main = axis.size - (axis.size % TURN);
  b.loop(0, main, TURN, (at, to) => {
    for (let i = 0; i < TURN; i++) one(to, at, i);
  });
  b.loop(main, axis.size, 1, (at, to) => one(to, at, 0));
  return true;
}
