/** 256-entry tables: swizzles on vectors of bytes; scalar loads for inputs that do not fit a byte. */
import { c32, op, type StoreOp, scale, store } from "../../ir/kernel/ir.ts";
import type { Dense } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { createKernel } from "./block.ts";
import { constantLayout, operandLayout, paramBuffers } from "./elementwise.ts";
import { collapse, loadScalar, nest, zeroAddresses } from "./elementwise-load.ts";
import { mapElements } from "./elementwise-map.ts";
import { createEpilogue } from "./epilogue.ts";
import { stepsOf } from "./epilogue-stage.ts";
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
  if ((min >= 0 && max <= 255) || (min >= -128 && max <= 127)) {
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
  const axes = collapse(y.shape.map((n, a) => ({ size: n, steps: [x.strides[a]!, y.strides[a]!] })));
  nest(k.block, axes, zeroAddresses(2), (b, [from, to]) => {
    const index = b.bind(op("sub.i32", [loadScalar(x, from!, x.offset), c32(min)]), "index");
    const at = b.bind(scale(index, CONTAINER_BYTES[table.container]), "at");
    b.push(store(y.buffer, to!, loadScalar(table, at), { offset: y.offset, op: storeOp }));
  });
  return k.finish(paramBuffers(stage), [y.buffer]);
}
