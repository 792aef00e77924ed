import { describe, expect, it } from "vitest";
import { full } from "../require.ts";
import { evaluateOnnx, floatsOf } from "./evaluate.ts";
import { randomModel } from "./random-model.ts";
import { equals, toFloat32 } from "./rational.ts";
import { evaluateSlowly } from "./slow.ts";
import { exactAt } from "./tensor.ts";

describe("fast and slow exact evaluation agree at every tensor", () => {
  const count = full ? 2000 : 300;
  const covered = new Set<string>();
  it(`on ${count} random graphs`, () => {
    let elements = 0;
    let most = 0;
    for (let seed = 1; seed <= count; seed++) {
      const { model, inputs } = randomModel(seed, 1 + (seed % 12));
      const fast = evaluateOnnx(model, inputs, { keep: "all" });
      for (const [name, slow] of evaluateSlowly(model, inputs)) {
        const tensor = fast.tensors.get(name)!;
        const where = `seed ${seed}, ${name}`;
        expect(tensor.shape, where).toEqual(slow.shape);
        if (tensor.kind === "approx") throw new Error(`${where} is not exact`);
        elements += slow.values.length;
        if (tensor.kind === "int") {
          expect(Array.from(tensor.data), where).toEqual(slow.values.map((v) => Number(v.num)));
          continue;
        }
        const terms = tensor.terms();
        most = Math.max(most, terms.length);
        const wrong = slow.values.findIndex((value, i) => !equals(value, exactAt(terms, i)));
        expect(wrong, where).toBe(-1);
        expect(Array.from(floatsOf(tensor)), where).toEqual(slow.values.map(toFloat32));
      }
      for (const node of model.graph.nodes) covered.add(node.op);
    }
    console.log(`${elements} elements, at most ${most} terms, operators: ${[...covered].sort().join(" ")}`);
    expect(covered.size).toBeGreaterThan(25);
  });
});
