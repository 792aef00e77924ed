/**
 * What a page fetches beyond the weights: gzip -9 of the loader and of the modules (the baseline module alone, or both where the
 * relaxed kernels run), minus the packed weights (`bench/sizes.ts`).
 */
import { expect, test } from "vitest";
import { beyondWeights, packedWeights, qcSizes } from "../../bench/sizes.ts";
import { artifactFiles } from "../../compiler/backends/wasm/artifact/files.ts";
import { compiled, describeZoo, models, shortName } from "./compiled.ts";

const BUDGET = 40_000;

/** Beyond the budget: dozens of small layers whose unrolled kernels are larger than their weights. */
const OVER: Readonly<Record<string, number>> = { mcunet_vww: 250_000, mlperf_vww: 100_000 };

describeZoo("the artifact is the weights and little else", () => {
  test.each(models)("%s", async (name) => {
    const artifact = await compiled(name);
    const sizes = qcSizes(artifactFiles(artifact, "model"));
    const weights = packedWeights(artifact.report);
    expect(weights).toBeGreaterThan(10_000);
    const beyond = beyondWeights(sizes, weights);
    const limit = OVER[shortName(name)] ?? BUDGET;
    if (limit !== BUDGET && beyond.relaxed > BUDGET)
      console.warn(
        `${name}: ${beyond.baseline} and ${beyond.relaxed} bytes beyond the weights, over ${BUDGET}`,
      );
    expect(beyond.baseline).toBeLessThanOrEqual(limit);
    expect(beyond.relaxed).toBeLessThanOrEqual(limit);
  });
});
