/** Every rescale of the zoo, proved again from the manifest alone by a checker that shares no code with the compiler. */
import { afterAll, expect, test } from "vitest";
import { table } from "../../compiler/cli/print.ts";
import { interpret } from "../../compiler/ir/interpreter.ts";
import type { Value } from "../../compiler/ir/module.ts";
import { attr } from "../../compiler/ir/op.ts";
import { rescaleOf } from "../../compiler/ir/ops/integer-rescale.ts";
import type { Manifest, RescaleCertificate } from "../../runtime/format.ts";
import { checkRescale, type ExactMap, type Fraction } from "../oracle/rescale-checker.ts";
import { loadModel } from "../zoo.ts";
import { compiled, describeZoo, inputsOf, models } from "./compiled.ts";
import { argumentsOf } from "./exact.ts";

const fraction = (text: string): Fraction => {
  const [num, den] = text.split("/");
  return { num: BigInt(num!), den: BigInt(den!) };
};

function specsOf({ exact, lo, hi }: RescaleCertificate): ExactMap[] {
  const { scales, offsets, zeroPoint, rounding, order } = exact;
  return scales.map((s, c) => ({
    scales: s.map(fraction),
    offset: fraction(offsets[c]!),
    zeroPoint: fraction(zeroPoint),
    lo,
    hi,
    rounding,
    order,
  }));
}

const decimal = (_: string, x: unknown): unknown => (typeof x === "bigint" ? String(x) : x);
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;
const bits = (m: number): number => Math.floor(Math.log2(Math.max(1, Math.abs(m)))) + 1;

const rows: string[][] = [];
afterAll(() => {
  if (rows.length === 0) return;
  const head = [
    "model",
    "rescales",
    "channels",
    "i32",
    "hi32",
    "limb",
    "wide",
    "ties",
    "m bits",
    "window",
    "accumulator",
  ];
  console.log(`certificates, proved again (bits: median … most)\n${table([head, ...rows.sort()])}`);
});

/** Products of two tensors as well. */
const proved = [...models, "transformer/tiny_vit_qdq"];

describeZoo("certificates", () => {
  test.each(proved)(
    "%s",
    async (name) => {
      const artifact = await compiled(name);
      const manifest: Manifest = JSON.parse(JSON.stringify(artifact.manifest));
      const { rescales } = manifest;
      // The map, the integer form and the ranges come from the manifest; the registers' layout from the graph.
      const ops = artifact.module.funcs.flatMap((f) => f.ops.filter((o) => o.name === "qc.rescale"));
      expect(ops.map((o) => o.results[0]!.name)).toEqual(rescales.map((r) => r.tensor));
      for (const [i, r] of rescales.entries()) {
        expect(r.m.length).toBe(r.channels);
        const multipliers = r.w?.map((w) => BigInt(w).toString(2).length) ?? r.m.flat().map(bits);
        expect(Math.max(...multipliers), r.tensor).toBe(r.mBits);
        const form = { ...JSON.parse(JSON.stringify(rescaleOf(ops[i]!.attrs), decimal)), ...r };
        expect(checkRescale(specsOf(r), form), r.tensor).toBe(null);
      }
      for (const f of artifact.module.funcs) for (const op of f.ops) expect(op.name).not.toBe("qc.requant");
      const count = (key: "class" | "form", value: string) =>
        String(rescales.filter((r) => r[key] === value).length);
      const all = (key: "mBits" | "windowBits" | "accBits") => {
        const values = rescales.map((r) => r[key]);
        return `${median(values)} … ${Math.max(...values)}`;
      };
      rows.push([
        name.slice(name.indexOf("/") + 1),
        String(rescales.length),
        String(rescales.reduce((n, r) => n + r.channels, 0)),
        count("class", "i32"),
        count("class", "hi32"),
        count("class", "limb"),
        count("class", "wide"),
        count("form", "tie"),
        all("mBits"),
        all("windowBits"),
        all("accBits"),
      ]);
    },
    300_000,
  );

  test.each(proved)("accumulators of %s stay in their proved ranges", async (name) => {
    const artifact = await compiled(name);
    const rescales = artifact.module.funcs.flatMap((f) => f.ops.filter((o) => o.name === "qc.rescale"));
    const readers = new Map<Value, [op: number, operand: number][]>();
    rescales.forEach((op, o) => {
      op.operands.forEach((v, i) => {
        readers.set(v, [...(readers.get(v) ?? []), [o, i]]);
      });
    });
    let checked = 0;
    const samples = inputsOf(name, loadModel(name));
    for (const inputs of [samples[0]!, ...samples.slice(-2)])
      interpret(artifact.module, argumentsOf(artifact.module, inputs), {
        observe: (v, { shape, data }) => {
          for (const [o, i] of readers.get(v) ?? []) {
            const { ranges } = artifact.manifest.rescales[o]!;
            const axis = attr<number>(rescales[o]!, "axis");
            const inner = shape.slice(axis + 1).reduce((n, d) => n * d, 1);
            for (let e = 0; e < data.length; e++) {
              const c = ranges.length === 1 ? 0 : Math.floor(e / inner) % shape[axis]!;
              const [least, most] = ranges[c]![i]!;
              if (!(data[e]! >= least && data[e]! <= most))
                throw new Error(`${v.name}[${e}] = ${data[e]} outside ${least} … ${most}`);
            }
            checked += data.length;
          }
        },
      });
    expect(checked).toBeGreaterThan(0);
  });
});
