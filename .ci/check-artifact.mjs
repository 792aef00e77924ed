// Runs the compiled Fashion-MNIST model on the first bundled samples, and `qc/runtime` on the first: node check-artifact.mjs samples.npz fashion.js
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { readNpz } from "../examples/fashion/npz.mjs";

const [samples, artifact] = process.argv.slice(2).map((path) => resolve(path));
const { x, y, logits, scale } = readNpz(readFileSync(samples));
const argmax = (values) => values.indexOf(Math.max(...values));
const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

const { load } = await import(pathToFileURL(artifact).href);
const model = await load();
const runtime = await import(pathToFileURL(createRequire(artifact).resolve("qc/runtime")).href);
const byManifest = await runtime.load(pathToFileURL(artifact.replace(/\.js$/, ".json")));

const COUNT = 32;
let right = 0;
for (let i = 0; i < COUNT; i++) {
  const input = Float32Array.from(x.data.subarray(784 * i, 784 * (i + 1)), (pixel) => pixel / 255);
  const got = Array.from(model.run({ input }).logits);
  const recorded = Array.from(logits.data.subarray(10 * i, 10 * (i + 1)));
  const far = got.findIndex(
    (value, k) => Math.abs(Math.round(value / scale.data[0]) - Math.round(recorded[k] / scale.data[0])) > 2,
  );
  if (far >= 0)
    throw new Error(`sample ${i}: logit ${far} is ${got[far]}, PyTorch recorded ${recorded[far]}`);
  if (argmax(got) !== argmax(recorded))
    throw new Error(`sample ${i}: class ${argmax(got)}, PyTorch says ${argmax(recorded)}`);
  if (argmax(got) === y.data[i]) right += 1;
  if (!same(got, Array.from(byManifest.run({ input }).logits)))
    throw new Error(`sample ${i}: qc/runtime differs`);
}
console.log(`${COUNT} samples, backend ${model.backend}: classes as recorded in training, ${right} right`);
