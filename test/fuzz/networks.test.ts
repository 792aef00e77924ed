/**
 * Random networks: whatever compiles equals the exact oracle, bit for bit, in the interpreter, in every module and under
 * every option that is about speed. A failure is printed as its smallest recipe; its network belongs into
 * test/e2e/graphs/network.ts for good.
 */
import { describe, expect, test } from "vitest";
import { full } from "../require.ts";
import { networkOf, type Recipe, recipeOf, shrink } from "./networks.ts";
import { checkNetwork, type Outcome, signature } from "./networks-check.ts";

/** `QC_NETWORKS=1000-5000`: these seeds, however long it takes. */
const asked = /^(\d+)-(\d+)$/.exec(process.env.QC_NETWORKS ?? "");
const [FIRST, LAST] = asked ? [Number(asked[1]), Number(asked[2])] : [1, full ? 1000 : 40];
const LIMIT_MS = asked ? Number.POSITIVE_INFINITY : full ? 75_000 : 15_000;

const check = (recipe: Recipe): Promise<Outcome> => checkNetwork(networkOf(recipe), recipe.seed);

/** The failure in words, of the smallest recipe that fails the same way. */
async function report(recipe: Recipe, why: string): Promise<string> {
  const small = await shrink(
    recipe,
    async (r) => {
      const o = await check(r);
      return o.kind === "wrong" && signature(o.why) === signature(why);
    },
    asked ? 300 : 100,
  );
  const outcome = await check(small);
  return `seed ${recipe.seed}: ${JSON.stringify(small)}\n${outcome.kind === "wrong" ? outcome.why : why}`;
}

describe("random networks", () => {
  test(`seeds ${FIRST} to ${LAST}`, { timeout: 24 * 3_600_000 }, async () => {
    const counts = { exact: 0, diagnosed: 0, uncovered: 0, wrong: 0 };
    const codes = new Map<string, number>();
    const kinds = new Set<string>();
    const wrong: string[] = [];
    let elements = 0;
    const start = performance.now();
    let seed = FIRST;
    for (; seed <= LAST && wrong.length < 5; seed++) {
      if (performance.now() - start > LIMIT_MS) break;
      const recipe = recipeOf(seed);
      const outcome = await check(recipe);
      counts[outcome.kind]++;
      if (outcome.kind === "exact") {
        elements += outcome.elements;
        for (const { kind } of recipe.steps) kinds.add(kind);
      }
      if (outcome.kind === "diagnosed")
        for (const code of new Set(outcome.codes)) codes.set(code, (codes.get(code) ?? 0) + 1);
      if (outcome.kind === "wrong") wrong.push(await report(recipe, outcome.why));
    }
    const text = [...codes].sort().map(([code, n]) => `${code} ${n}×`);
    console.log(`networks ${FIRST} to ${seed - 1}: ${JSON.stringify(counts)}, ${elements} elements; ${text}`);
    expect(wrong).toEqual([]);
    expect(counts.exact).toBeGreaterThan(0);
    // On a busy machine the time may be over before there are enough to say more.
    if (seed <= LAST) return;
    expect(counts.exact).toBeGreaterThan(counts.diagnosed);
    expect(kinds.size).toBeGreaterThan(full ? 25 : 15);
  });

  test("a network and its shrinking are the same every time", async () => {
    for (const seed of [1, 2, 3]) {
      const recipe = recipeOf(seed);
      expect(recipeOf(seed)).toEqual(recipe);
      expect(networkOf(recipe)).toEqual(networkOf(recipe));
    }
    const withConv = (r: Recipe): boolean => r.steps.some((s) => s.kind === "conv");
    const seed = [1, 2, 3, 4, 5, 6, 7, 8, 9].find((s) => withConv(recipeOf(s)))!;
    const small = await shrink(recipeOf(seed), async (r) => withConv(r));
    expect(small.steps.length).toBe(1);
    expect(small.inputs.flat().every((n) => n === 1)).toBe(true);
  });
});
