/**
 * What a page fetches beyond the weights: gzip -9 of the loader and of the modules (the baseline module alone, or both where the
 * relaxed kernels run), minus the packed weights (`bench/sizes.ts`).
 */
import { expect, test } from "vitest";
import { beyondWeights, packedWeights, qcSizes } from "../../bench/sizes.ts";
import { artifactFiles } from "../../compiler/backends/wasm/artifact/files.ts";
import { compiled, describeZoo, models, shortName } from "./compiled.ts";

const BUDGET = 40_000;

/** With a relaxed module beside the baseline one: 45 layers of almost as many shapes have their kernels twice. */
const OVER: Readonly<Record<string, number>> = { mcunet_vww: 53_000 };

describeZoo("the artifact is the weights and little else", () => {
  test.each(models)("%s", async (name) => {
    const artifact = await compiled(name);
    const sizes = qcSizes(artifactFiles(artifact, "model"));
    const weights = packedWeights(artifact.report);
    expect(weights).toBeGreaterThan(10_000);
    const beyond = beyondWeights(sizes, weights);
    if (beyond.relaxed > BUDGET)
      console.warn(
        `${name}: with relaxed kernels ${beyond.relaxed} bytes beyond the weights, over ${BUDGET}`,
      );
    expect(beyond.baseline).toBeLessThanOrEqual(BUDGET);
    expect(beyond.relaxed).toBeLessThanOrEqual(OVER[shortName(name)] ?? BUDGET);
  });
});
