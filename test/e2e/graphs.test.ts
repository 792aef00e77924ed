/**
 * Small graphs, one construct each, through the whole compiler: oracle = interpreter = baseline = relaxed module, at every
 * quantizer and at the outputs; or the diagnostics they give.
 */
import { describe, expect, test } from "vitest";
import { relaxedRefusal } from "../../runtime/relaxed.ts";
import { differential, relaxedRuns } from "./differential.ts";
import { axisCases } from "./graphs/axis.ts";
import { blockCases } from "./graphs/block.ts";
import { curveCases } from "./graphs/curves.ts";
import { elementwiseCases } from "./graphs/elementwise.ts";
import { fusedCases } from "./graphs/fused.ts";
import { linearCases } from "./graphs/linear.ts";
import { movementCases } from "./graphs/movement.ts";
import { networkCases } from "./graphs/network.ts";
import { normalizeCases } from "./graphs/normalize.ts";
import { portCases } from "./graphs/port.ts";
import { productCases } from "./graphs/product.ts";
import { softmaxCases } from "./graphs/softmax.ts";
import { transposedCases } from "./graphs/transposed.ts";
import { windowCases } from "./graphs/window.ts";

if (!relaxedRuns)
  console.warn("skipped: relaxed modules of small graphs: this engine lacks the instructions");
else if (relaxedRefusal("u8s8") !== undefined)
  console.warn(`skipped: relaxed modules of products of whole bytes: ${relaxedRefusal("u8s8")}`);

const groups = {
  linear: linearCases,
  transposed: transposedCases,
  elementwise: elementwiseCases,
  curves: curveCases,
  window: windowCases,
  movement: movementCases,
  port: portCases,
  product: productCases,
  softmax: softmaxCases,
  normalize: normalizeCases,
  block: blockCases,
  fused: fusedCases,
  axis: axisCases,
  network: networkCases,
};

describe.each(Object.entries(groups))("%s", (_, cases) => {
  test.each(cases.map((c) => [c.name, c] as const))("%s", async (_, { bytes, batch, errors, saturates }) => {
    const verdict = await differential(bytes, { batch, saturates });
    if (errors !== undefined) {
      expect(verdict).toMatchObject({ kind: "diagnosed", codes: errors });
      return;
    }
    expect(verdict).toMatchObject({ kind: "compiled", wrong: [] });
    expect(verdict.kind === "compiled" && verdict.elements).toBeGreaterThan(0);
  });
});
