// Compiles fashion.onnx with qc, classifies the bundled test images with the artifact, and prints what
// comes out next to what onnxruntime-web says. Needs nothing but Node >= 20 and this package.
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { compile, onnxruntimeEngine, qcEngine } from "./engines.mjs";
import { readNpz } from "./npz.mjs";
import { asciiArt, sideBySide, table } from "./render.mjs";

const CLASSES = [..."T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(",")];
const PIXELS = 28 * 28;
const WARM_UP = 100;

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const count = (n) => n.toLocaleString("en-US");
const percent = (fraction, digits = 1) => `${(100 * fraction).toFixed(digits)} %`;
const argmax = (values) => values.indexOf(Math.max(...values));
const sum = (values) => values.reduce((total, value) => total + value, 0);

function median(values) {
  const sorted = Float64Array.from(values).sort();
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

function softmax(logits) {
  const max = Math.max(...logits);
  const exps = Array.from(logits, (logit) => Math.exp(logit - max));
  return exps.map((exp) => exp / sum(exps));
}

/**
 * The bundled samples: images as bytes and as the model's input, labels, PyTorch's fake-quant logits,
 * and the quantum of the logits.
 */
function readSamples() {
  const { x, y, logits, scale } = readNpz(readFileSync(path("samples.npz")));
  const n = y.data.length;
  const rows = (data, width) =>
    Array.from({ length: n }, (_, i) => data.subarray(i * width, (i + 1) * width));
  const images = rows(x.data, PIXELS);
  return {
    images,
    inputs: images.map((image) => Float32Array.from(image, (pixel) => pixel / 255)),
    labels: Array.from(y.data),
    logits: rows(logits.data, CLASSES.length),
    scale: scale.data[0],
  };
}

/** Runs every sample; the logits, and the time of each run in milliseconds. */
async function classify(engine, inputs) {
  for (const input of inputs.slice(0, WARM_UP)) await engine.run(input);
  const logits = [];
  const times = [];
  for (const input of inputs) {
    const start = performance.now();
    const out = await engine.run(input);
    times.push(performance.now() - start);
    logits.push(Float32Array.from(out));
  }
  return { logits, times };
}

/** Compares logits as integers: how many samples agree in class, and how many logits are k quanta apart. */
function agreement(a, b, scale) {
  const apart = new Map();
  let sameClass = 0;
  a.forEach((row, i) => {
    if (argmax(row) === argmax(b[i])) sameClass += 1;
    row.forEach((value, k) => {
      const distance = Math.abs(Math.round(value / scale) - Math.round(b[i][k] / scale));
      apart.set(distance, (apart.get(distance) ?? 0) + 1);
    });
  });
  return { sameClass, apart };
}

function describeAgreement(names, a, b, scale) {
  const { sameClass, apart } = agreement(a, b, scale);
  const distances = [...apart].filter(([distance]) => distance > 0).sort(([p], [q]) => p - q);
  const rest = distances.map(([distance, n]) => `${count(n)} off by ${distance}`).join(", ");
  return [
    names,
    `${count(sameClass)} of ${count(a.length)}`,
    `${count(apart.get(0) ?? 0)} of ${count(a.length * CLASSES.length)}`,
    rest || "none",
  ];
}

function showPredictions(samples, logits) {
  const firstOf = (wanted) => samples.labels.indexOf(wanted);
  const firstMistake = samples.labels.findIndex((label, i) => argmax(logits[i]) !== label);
  const shown = [9, 1, 3, 5, 8]
    .map(firstOf)
    .concat(firstMistake)
    .filter((i) => i >= 0);
  const blocks = shown.map((i) => {
    const scores = softmax(logits[i]);
    const best = [...scores.keys()].sort((p, q) => scores[q] - scores[p]).slice(0, 2);
    const lines = best.map((k) => `${CLASSES[k].padEnd(12)} ${percent(scores[k]).padStart(8)}`);
    const label = samples.labels[i];
    const verdict = best[0] === label ? "right" : `WRONG, it is ${CLASSES[label]}`;
    return [...asciiArt(samples.images[i]), ...lines, `#${i} ${verdict}`, ""];
  });
  for (let i = 0; i < blocks.length; i += 3) console.log(sideBySide(blocks.slice(i, i + 3)));
}

function showFiles(engines) {
  const rows = engines.flatMap(({ name, files }) => [
    ...files.map((file) => [`${name}: ${file.name}`, count(file.raw), count(file.gzip)]),
    [`${name}: all`, count(sum(files.map((file) => file.raw))), count(sum(files.map((file) => file.gzip)))],
  ]);
  console.log(table([["to ship", "bytes", "gzip -9"], ...rows]));
}

async function main() {
  const onnxPath = path("fashion.onnx");
  const outDir = path("dist");
  console.log(`qc compile fashion.onnx --target wasm -o ${relative(process.cwd(), outDir)}`);
  const status = compile(onnxPath, outDir);
  if (status !== 0) {
    console.error("qc compile failed (in a source checkout, `npm run build` comes first)");
    return status;
  }

  const samples = readSamples();
  const qc = await qcEngine(outDir, "fashion");
  const ort = await onnxruntimeEngine(onnxPath);
  const engines = ort ? [qc, ort] : [qc];
  const results = [];
  for (const engine of engines) results.push(await classify(engine, samples.inputs));

  console.log();
  showPredictions(samples, results[0].logits);

  const accuracy = (logits) =>
    percent(samples.labels.filter((label, i) => argmax(logits[i]) === label).length / samples.labels.length);
  const row = (title, cell) => [title, ...engines.map((engine, i) => cell(results[i], engine))];
  console.log(
    table([
      [`${count(samples.labels.length)} test images`, ...engines.map((engine) => engine.name)],
      row("accuracy", (result) => accuracy(result.logits)),
      row("median time per image", (result) => `${median(result.times).toFixed(3)} ms`),
      row("load to first result", (_, engine) => `${engine.startMs.toFixed(0)} ms`),
    ]),
  );
  console.log();
  showFiles(engines);

  console.log();
  const runs = [...engines.map((engine, i) => [engine.name, results[i].logits]), ["PyTorch", samples.logits]];
  const pairs = runs.flatMap((a, i) => runs.slice(i + 1).map((b) => [a, b]));
  console.log(
    table([
      ["agreement", "same class", "logits equal", "logits not equal, in quanta"],
      ...pairs.map(([a, b]) => describeAgreement(`${a[0]} = ${b[0]}`, a[1], b[1], samples.scale)),
    ]),
  );
  console.log(
    "\n  PyTorch's logits were recorded in training. It and onnxruntime compute in float32 between\n" +
      "  quantizers and round now and then the other way; qc's integers are the exact ones.",
  );
  if (!ort)
    console.log("\n  onnxruntime-web is not installed, so there is nothing to compare with: npm install");
  return 0;
}

process.exitCode = await main();
