/**
 * Small graphs, one construct each, through the whole compiler: oracle = interpreter = baseline = relaxed module, at every
 * quantizer and at the outputs; or the diagnostics they give.
 */
import { describe, expect, test } from "vitest";
import { relaxedRefusal } from "../../runtime/relaxed.ts";
import { differential, relaxedRuns } from "./differential.ts";
import { formCases } from "./graphs/forms.ts";
import { groups } from "./graphs/groups.ts";

if (!relaxedRuns)
  console.warn("skipped: relaxed modules of small graphs: this engine lacks the instructions");
else if (relaxedRefusal("u8s8") !== undefined)
  console.warn(`skipped: relaxed modules of products of whole bytes: ${relaxedRefusal("u8s8")}`);

describe.each(Object.entries({ ...groups, forms: formCases }))("%s", (_, cases) => {
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
