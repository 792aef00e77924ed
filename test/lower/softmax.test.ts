/** The integer softmax against the real one: within its stated bound. */
import { expect, it } from "vitest";
import { interpretFunc } from "../../compiler/ir/interpreter.ts";
import { rational } from "../../compiler/ir/rational.ts";
import { I32, int, tensor, U8 } from "../../compiler/ir/types.ts";
import { expTable } from "../../compiler/passes/integerize/softmax.ts";
import { randomFrom } from "./rescales.ts";
import { randomDense, stageFunc } from "./stages.ts";

it("is within half a step and the stated error of the real softmax", () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = randomFrom(seed);
    const n = 1 + random(200);
    const milli = 1 + random(400);
    const data = expTable(rational(BigInt(milli), 1000n), 256);
    const [p, q] = [BigInt(100 + random(60000)), BigInt(1 + random(7))];
    const step = Number(p) / Number(q);
    const error = (n + 1) * 2 ** -24 * step;
    const exp = { kind: "dense", elem: int(true, 25), shape: [256], data } as const;
    const type = tensor([n], U8);
    const func = stageFunc((b, param) =>
      b.add1(
        "qc.softmax",
        [param(type)],
        { axis: 0, exp, p, q, zero_point: -7, lo: -1000, hi: 10 ** 6, error },
        { types: [tensor([n], I32)] },
      ),
    );
    const x = randomDense(random, type);
    const [y] = interpretFunc({ funcs: [func] }, func, [x]);
    const max = Math.max(...x.data);
    const e = Array.from(x.data, (v) => Math.exp((-(max - v) * milli) / 1000));
    const sum = e.reduce((a, b) => a + b, 0);
    e.forEach((v, i) => {
      const distance = Math.abs(y!.data[i]! + 7 - (v / sum) * step);
      if (!(distance <= 0.5 + error + 1e-9)) expect({ seed, i, distance }).toBe("within the bound");
    });
  }
});
