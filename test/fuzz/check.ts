/** What must hold for any bytes given to the compiler. */
import { subjectsOf } from "../../compiler/cli/compare.ts";
import { randomInputs } from "../../compiler/cli/random-inputs.ts";
import { runReference } from "../../compiler/cli/reference.ts";
import { asObject, type Tensors } from "../../compiler/cli/tensors.ts";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { type Compiled, compileModel, type Diagnostic, type Result } from "../../compiler/index.ts";
import { softmaxQuantizers } from "../e2e/exact.ts";
import { evaluateOnnx, type NumericArray } from "../oracle/evaluate.ts";

export type Outcome =
  /** `exact`: elements compared with the exact value of the file as well. */
  | {
      readonly kind: "compiled";
      readonly elements: number;
      readonly exact: number;
      readonly warnings: readonly string[];
    }
  | { readonly kind: "diagnosed"; readonly codes: readonly string[] }
  | { readonly kind: "wrong"; readonly why: string };

const wrong = (why: string): Outcome => ({ kind: "wrong", why });

/** As JSON, so that two runs can be compared. */
const text = (result: Result<Compiled>): string =>
  JSON.stringify([result.diagnostics, result.ok ? result.value.manifest : null]);

function malformed(d: Diagnostic): string | undefined {
  if (!/^QC\d{4}$/.test(d.code)) return `code ${d.code}`;
  if (!["error", "warning", "note"].includes(d.severity)) return `severity ${d.severity}`;
  if (d.message === "" || d.message.length > 2000) return `message of ${d.message.length} characters`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
  if (/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.test(d.message))
    return `control characters in ${JSON.stringify(d.message)}`;
  if (/\bundefined\b|\[object |\bNaN\b.*\bNaN\b|\n\s+at /.test(d.message)) return `message ${d.message}`;
  return undefined;
}

/** Compiles `bytes` twice and, where that succeeds, compares the artifact with the interpreter on two inputs. */
export async function checkFile(bytes: Uint8Array): Promise<Outcome> {
  try {
    return await check(bytes);
  } catch (error) {
    return wrong(`threw ${error instanceof Error ? (error.stack ?? error.message).slice(0, 1500) : error}`);
  }
}

async function check(bytes: Uint8Array): Promise<Outcome> {
  const options = { target: "wasm", path: "model.onnx" } as const;
  const once = await compileModel(bytes, options);
  const twice = await compileModel(bytes.slice(), options);
  if (text(once) !== text(twice)) return wrong("two compilations differ");
  for (const d of once.diagnostics) {
    const why = malformed(d);
    if (why !== undefined) return wrong(`diagnostic with ${why}`);
  }
  const codes = once.diagnostics.map((d) => d.code);
  if (!once.ok) {
    const errors = once.diagnostics.filter((d) => d.severity === "error");
    if (errors.length === 0) return wrong("failed without an error");
    return { kind: "diagnosed", codes: errors.map((d) => d.code) };
  }
  if (once.diagnostics.some((d) => d.severity === "error")) return wrong("succeeded with an error");
  const { manifest, module } = once.value;
  // Damaged dimensions can make a model too large for the interpreter.
  if (manifest.macs.nominal > LARGEST_MACS)
    return { kind: "compiled", elements: 0, exact: 0, warnings: codes };
  const { subjects } = await subjectsOf(once.value, "");
  let elements = 0;
  let exact = 0;
  for (const inputs of randomInputs(manifest.inputs, 1, 1).slice(2)) {
    const reference = new Map(
      runReference(module, inputs, { raw: true }).map((r) => [r.port.name, r.data as Int32Array]),
    );
    const truth = bytes.length < EXACT_BYTES && codes.length === 0 ? exactOutputs(bytes, inputs) : undefined;
    for (const { port, data } of truth === undefined ? [] : runReference(module, inputs)) {
      const values = truth?.get(port.name);
      const at = values?.findIndex((y, i) => !Object.is(y, Number(data[i]))) ?? -1;
      if (at >= 0) return wrong(`${port.name}[${at}]: interpreter ${data[at]}, exactly ${values?.[at]}`);
      exact += values?.length ?? 0;
    }
    for (const { name, tensors, model } of subjects) {
      const out = model.run(asObject(inputs));
      for (const [t, { name: tensor }] of tensors.entries()) {
        const ours = out[String(t)] as Int32Array;
        const theirs = reference.get(tensor)!;
        const at = ours.findIndex((y, i) => y !== theirs[i]);
        if (at >= 0 || ours.length !== theirs.length)
          return wrong(`${name}, ${tensor}[${at}]: ${ours[at]}, interpreter ${theirs[at]}`);
        elements += ours.length;
      }
    }
  }
  return { kind: "compiled", elements, exact, warnings: codes };
}

const LARGEST_MACS = 100e6;
const EXACT_BYTES = 10_000;

/** Outputs in exact arithmetic, floats rounded once; undefined where the oracle does not cover the file or cannot decide. */
function exactOutputs(
  bytes: Uint8Array,
  inputs: Tensors,
): ReadonlyMap<string, Int32Array | Float32Array> | undefined {
  const read = readModel(bytes);
  if (!read.ok) return undefined;
  // Only within a bound: left out, as long as nothing follows.
  const bounded = softmaxQuantizers(read.value);
  if (read.value.graph.nodes.some((n) => n.inputs.some((name) => bounded.has(name)))) return undefined;
  try {
    const { outputs, quantizers } = evaluateOnnx(read.value, inputs as ReadonlyMap<string, NumericArray>);
    const undecided = [...quantizers].some(([name, q]) => q.undecided !== undefined && !bounded.has(name));
    if (undecided) return undefined;
    return new Map([...outputs].flatMap(([name, o]) => (bounded.has(name) ? [] : [[name, o.values]])));
  } catch {
    return undefined;
  }
}
