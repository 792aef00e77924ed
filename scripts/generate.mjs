// Writes the generated sources (`*.gen.*`, ignored by git). Each step names what it reads and what it writes.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import protobuf from "protobufjs";
import pbjs from "protobufjs-cli/pbjs.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const at = (path) => join(root, path);

/** ONNX schema → static decoder: straight-line code without `eval` or `new Function`, for pages with a strict CSP. */
async function onnxDecoder() {
  const flags =
    "-t static-module -w esm --dependency protobufjs/minimal.js --root qc-onnx " +
    "--no-encode --no-create --no-verify --no-convert --no-delimited --no-typeurl --no-service";
  const files = ["-o", at("compiler/frontend/onnx/schema.gen.js"), at("compiler/frontend/onnx/schema.proto")];
  // The declarations are made from the comments, so the code without comments needs a second run.
  await run([...flags.split(" "), "--dts", ...files]);
  await run([...flags.split(" "), "--no-comments", ...files]);
}

const run = (args) =>
  new Promise((resolve, reject) => pbjs.main(args, (error) => (error ? reject(error) : resolve())));

/** ONNX schema → table of field numbers and wire forms, for the framing check that runs before the decoder. */
function onnxWireTable() {
  const { root: schema } = protobuf.parse(readFileSync(at("compiler/frontend/onnx/schema.proto"), "utf8"), {
    keepCase: true,
  });
  schema.resolveAll();
  const messages = {};
  const visit = (namespace, prefix) => {
    for (const type of namespace.nestedArray) {
      if (!(type instanceof protobuf.Type)) continue;
      const name = prefix + type.name;
      messages[name] = type.fieldsArray
        .map((field) => [field.id, field.name, form(field), field.repeated])
        .sort(([a], [b]) => a - b);
      visit(type, `${name}.`);
    }
  };
  const form = (field) =>
    field.resolvedType ? `:${field.resolvedType.fullName.replace(/^\.onnx\./, "")}` : field.type;
  visit(schema.lookup("onnx"), "");
  const path = at("compiler/frontend/onnx/wire.gen");
  writeFileSync(`${path}.js`, `export const MESSAGES = ${JSON.stringify(messages)};\n`);
  writeFileSync(
    `${path}.d.ts`,
    "/** Per message: field number, name, scalar type or `:Message`, repeated. */\n" +
      "export declare const MESSAGES: Readonly<Record<string, readonly (readonly [number, string, string, boolean])[]>>;\n",
  );
}

/** runtime/load.ts and what it imports → one minified script, as the string that every `stem.js` inlines; and with threads. */
async function inlinedRuntime() {
  await inlined("runtime/load.ts", "runtime.gen", "RUNTIME");
  await inlined("runtime/threads.ts", "runtime-threads.gen", "RUNTIME_THREADS");
}

/** runtime/threads-worker.ts → the file beside `stem.js` that a page with a strict CSP starts its workers from. */
async function workerScript() {
  const { outputFiles } = await build({
    entryPoints: [at("runtime/threads-worker.ts")],
    format: "esm",
    write: false,
  });
  const { WORKER } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
  const path = at("compiler/backends/wasm/artifact/worker.gen");
  writeFileSync(`${path}.js`, `export const WORKER = ${JSON.stringify(WORKER)};\n`);
  writeFileSync(`${path}.d.ts`, "/** The script of a worker. */\nexport declare const WORKER: string;\n");
}

async function inlined(entry, file, name) {
  const { outputFiles } = await build({
    entryPoints: [at(entry)],
    bundle: true,
    minify: true,
    format: "iife",
    globalName: "$qc",
    target: "es2022",
    charset: "ascii",
    legalComments: "none",
    write: false,
  });
  const path = at(`compiler/backends/wasm/artifact/${file}`);
  writeFileSync(`${path}.js`, `export const ${name} = ${JSON.stringify(outputFiles[0].text)};\n`);
  writeFileSync(
    `${path}.d.ts`,
    `/** Script that defines \`$qc.loadModel\`. */\nexport declare const ${name}: string;\n`,
  );
}

/** package.json → the version, for code that has no file system. */
function versionModule() {
  const { version } = JSON.parse(readFileSync(at("package.json"), "utf8"));
  writeFileSync(at("compiler/version.gen.js"), `export const VERSION = ${JSON.stringify(version)};\n`);
  writeFileSync(
    at("compiler/version.gen.d.ts"),
    "/** Version of this package. */\nexport declare const VERSION: string;\n",
  );
}

const steps = [onnxDecoder, onnxWireTable, inlinedRuntime, workerScript, versionModule];
for (const step of steps) await step();
