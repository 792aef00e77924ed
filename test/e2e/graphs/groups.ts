/** The small graphs, by what they are about. */
import { axisCases } from "./axis.ts";
import { blockCases } from "./block.ts";
import { blockCases as quantizedInBlocks } from "./blocks.ts";
import { curveCases } from "./curves.ts";
import { elementwiseCases } from "./elementwise.ts";
import { fusedCases } from "./fused.ts";
import { interpolateCases } from "./interpolate.ts";
import { linearCases } from "./linear.ts";
import { movementCases } from "./movement.ts";
import { networkCases } from "./network.ts";
import { normalizeCases } from "./normalize.ts";
import { portCases } from "./port.ts";
import { productCases } from "./product.ts";
import { softmaxCases } from "./softmax.ts";
import { transposedCases } from "./transposed.ts";
import { windowCases } from "./window.ts";

export const groups = {
  linear: linearCases,
  transposed: transposedCases,
  elementwise: elementwiseCases,
  curves: curveCases,
  window: windowCases,
  interpolate: interpolateCases,
  movement: movementCases,
  port: portCases,
  product: productCases,
  softmax: softmaxCases,
  normalize: normalizeCases,
  block: blockCases,
  "quantized in blocks": quantizedInBlocks,
  fused: fusedCases,
  axis: axisCases,
  network: networkCases,
};
