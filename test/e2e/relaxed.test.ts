/**
 * Relaxed modules executed, also where the engine's relaxed dot product saturates pairs of products (x86 without VNNI) and
 * the runtime would not choose them: with weights halved, no pair of u8·s8 products can saturate, so the same kernels on
 * the same shapes must give exactly the interpreter's integers.
 */
import { afterAll, expect, test } from "vitest";
import { table } from "../../compiler/cli/print.ts";
import { relaxedRefusal } from "../../runtime/relaxed.ts";
import { encodeTree, type Field, parseTree, places } from "../fuzz/wire-tree.ts";
import { requireOrSkip } from "../require.ts";
import { loadModel, loadModelBytes } from "../zoo.ts";
import { compileBytes, describeZoo, differences, inputsOf, models, shortName } from "./compiled.ts";
import { integersOf } from "./exact.ts";
import { relaxedRunner } from "./relaxed-runner.ts";

/** ONNX data types. */
const FLOAT = 1n;
const UINT8 = 2n;
const INT8 = 3n;

const halvers = new Map<bigint, (bytes: Uint8Array) => Uint8Array>([
  [INT8, (b) => b.map((v) => (v << 24) >> 25)],
  // Around a zero point near the middle: at most 63 from it.
  [UINT8, (b) => b.map((v) => 96 + (v >> 2))],
  [
    FLOAT,
    (b) => new Uint8Array(Float32Array.from(new Float32Array(b.slice().buffer), (v) => v * 0.48).buffer),
  ],
]);

/** The same file, every constant of rank 2 or more halved. */
function halved(bytes: Uint8Array): Uint8Array {
  const tree = parseTree(bytes);
  for (const { field } of places(tree)) {
    if (field.kind !== "message" || field.type !== "tensor") continue;
    const dims = field.fields.filter((f) => f.number === 1);
    const packed = dims.length === 1 && dims[0]!.kind === "bytes";
    const type = field.fields.find((f) => f.number === 2 && f.kind === "varint") as
      | { value: bigint }
      | undefined;
    const data = field.fields.find((f) => f.number === 9 && f.kind === "bytes") as
      | (Field & { bytes: Uint8Array })
      | undefined;
    const halve = type && halvers.get(type.value);
    if (data !== undefined && halve !== undefined && (packed || dims.length >= 2))
      data.bytes = halve(data.bytes);
  }
  return encodeTree(tree);
}

const refusal = relaxedRefusal("u8s8");
const runs = requireOrSkip(
  "running relaxed modules with halved weights",
  refusal === undefined || refusal.includes("65534"),
  refusal ?? "",
);

const rows: string[][] = [];
afterAll(() => {
  if (rows.length > 0)
    console.log(
      `relaxed modules executed, weights halved\n${table([["model", "samples", "elements", ""], ...rows.sort()])}`,
    );
});

describeZoo("relaxed modules with halved weights = interpreter, at every quantizer", () => {
  test.runIf(runs).each(models)(
    "%s",
    async (name) => {
      const bytes = halved(loadModelBytes(name));
      const all = inputsOf(name, loadModel(name));
      const samples = [...all.slice(0, 2), ...all.slice(-3)];
      let elements = 0;
      for (const debug of [true, false]) {
        const artifact = await compileBytes(bytes, { debug });
        const run = await relaxedRunner(artifact);
        for (const [s, inputs] of samples.entries()) {
          const integers = integersOf(artifact.module, inputs);
          expect(differences(integers, run(inputs)), `sample ${s}, debug ${debug}`).toEqual([]);
          for (const tensor of integers.values()) elements += tensor.length;
        }
      }
      rows.push([shortName(name), String(samples.length), String(elements), "all equal"]);
    },
    120_000,
  );
});
