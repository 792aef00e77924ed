/** A tensor from one layout to another. */
import type { Target } from "../../ir/target.ts";
import { type Block, createKernel } from "./block.ts";
import { copyBlock } from "./copy-block.ts";
import { zeroAddresses } from "./elementwise-load.ts";
import { fillHalo } from "./halo.ts";
import type { Layout } from "./layout.ts";
import type { Lowered } from "./stage.ts";

/** A kernel that copies `from` to `to` (equal shapes; containers may differ if `to` holds every value) and fills its halo. */
export function copyLayout(name: string, from: Layout, to: Layout, _target: Target): Lowered {
  const k = createKernel(name);
  fillHalo(k.block, to);
  copyElements(k.block, from, to);
  return k.finish([from.buffer], [to.buffer]);
}

/** Copies all elements between layouts of one shape. */
export function copyElements(block: Block, from: Layout, to: Layout): void {
  const axes = to.shape.map((size, a) => ({ size, steps: [from.strides[a]!, to.strides[a]!] }));
  const [s, t] = zeroAddresses(2);
  copyBlock(block, from, to, axes, [s!, t!]);
}
