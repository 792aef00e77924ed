/** One random network through the whole compiler, against the exact oracle, and with options that must not change a thing. */
import { wasmRelaxed } from "../../compiler/backends/wasm/target.ts";
import { randomInputs } from "../../compiler/cli/random-inputs.ts";
import { asObject } from "../../compiler/cli/tensors.ts";
import { type Compiled, type CompileOptions, compileModel } from "../../compiler/index.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";
import { tunablesOf } from "../../compiler/tune.ts";
import { type TuningFile, tuningFile } from "../../compiler/tuning.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/threads.ts";
import { differences } from "../e2e/compiled.ts";
import { differential } from "../e2e/differential.ts";
import { DOTS, findings, integersOf, isExact, outputsOf, signedOf, unwrap } from "../e2e/engine-programs.ts";
import type { Tensors } from "../e2e/exact.ts";
import type { Network } from "./networks.ts";
import { type Dice, diceOf } from "./networks-values.ts";

export type Outcome =
  | { readonly kind: "exact"; readonly elements: number }
  | { readonly kind: "diagnosed"; readonly codes: readonly string[]; readonly messages: readonly string[] }
  /** The oracle does not know: it takes no batch normalization of a transcendental function, say. */
  | { readonly kind: "uncovered"; readonly why: string }
  | { readonly kind: "wrong"; readonly why: string };

type Bytes = Uint8Array<ArrayBuffer>;

/** The bits of every output on each of `inputs`. */
async function bitsOf(c: Compiled, inputs: readonly Tensors[], threads = 1): Promise<readonly string[]> {
  const model = await loadModel(
    layoutOf(c.manifest),
    {},
    {
      wasm: c.baseline as Bytes,
      backend: "baseline",
      threads,
      ...(c.threads?.baselineThreads && { baselineThreads: c.threads.baselineThreads as Bytes }),
    },
  );
  if (model.threads !== threads) throw new Error(`${model.threads} threads: ${model.threadsReason}`);
  const texts = inputs.map((x) =>
    Object.entries(model.run(asObject(x)))
      .map(([name, y]) => {
        const { buffer, byteOffset, byteLength } = y as Uint8Array;
        return `${name} ${new Uint8Array(buffer, byteOffset, byteLength).join()}`;
      })
      .join("\n"),
  );
  model.dispose();
  return texts;
}

/** Any of the schedules that each kernel can have. */
function anyTuning(c: Compiled, d: Dice): TuningFile {
  const ratio = { median: 1, p10: 1, p90: 1 };
  const entries = tunablesOf(c).map(({ target, key, candidates }) => ({
    target,
    key,
    schedule: candidates[d.below(candidates.length)]!.schedule,
    ratio,
  }));
  return tuningFile({ engine: "any", cpu: "any", entries });
}

/** The relaxed programs, run as an engine does that they are said to be exact on; and every certificate, checked again. */
function wrongOnEngines(c: Compiled, d: Dice): string | undefined {
  const { exactOn, macs } = c.manifest;
  const inputs = randomInputs(c.manifest.inputs, 1, 7)[d.below(4)]!;
  const expected = integersOf(c.module, inputs);
  const signed = exactOn?.relaxedS8 && signedOf(c);
  const modules = [[exactOn?.relaxed, c.module] as const, [exactOn?.relaxedS8, signed] as const];
  for (const [on, module] of modules) {
    if (!on || !module) continue;
    const unsound = d.chance(0.1) ? findings(module, 255) : [];
    if (unsound.length > 0)
      return `certificate: ${JSON.stringify(unsound[0], (_, v) => (typeof v === "bigint" ? `${v}` : v))}`;
    const graph = differences(expected, integersOf(module, inputs, c.module));
    if (graph.length > 0) return `signed graph: ${graph[0]}`;
    const dots = DOTS.filter((dot) => isExact(on, dot));
    if (macs.executed > 4_000 || dots.length === 0) continue;
    const dot = d.one(dots);
    const program = unwrap(lowerModule(module, wasmRelaxed));
    const [found] = differences(expected, outputsOf(program, module, inputs, dot, c.module));
    if (found !== undefined) return `program on ${dot}: ${found}`;
  }
  return undefined;
}

const errorsOf = (r: Awaited<ReturnType<typeof compileModel>>): string =>
  r.diagnostics
    .filter((x) => x.severity === "error")
    .map((x) => `${x.code} ${x.message}`)
    .join("; ");

/** What differs under options that change speed only; nothing where all is equal. */
async function sameUnderOptions({ bytes, batch }: Network, seed: number): Promise<string | undefined> {
  const d = diceOf(seed + 99);
  const base: CompileOptions = { target: "wasm", ...(batch !== undefined && { batch }) };
  const threads = d.chance(0.4) ? 2 + d.below(2) : 1;
  const plainly = await compileModel(bytes, { ...base, threads: threads > 1 });
  if (!plainly.ok) return "compiles, but not with threads";
  const inputs = randomInputs(plainly.value.manifest.inputs, 1, seed + 5);
  const expected = await bitsOf(plainly.value, inputs);
  const differs = async (c: Compiled, what: string, n = 1) => {
    const got = await bitsOf(c, inputs, n);
    const at = got.findIndex((text, i) => text !== expected[i]);
    return at < 0 ? undefined : `${what}: sample ${at} differs`;
  };
  if (d.chance(0.5)) {
    const wrong = wrongOnEngines(plainly.value, d);
    if (wrong !== undefined) return wrong;
  }
  if (threads > 1) {
    const wrong = await differs(plainly.value, `${threads} threads`, threads);
    if (wrong !== undefined) return wrong;
  }
  const options: Partial<CompileOptions> = {
    ...(d.chance(0.5) ? { foldConstants: false } : { tuning: anyTuning(plainly.value, d) }),
  };
  const what = options.tuning ? `tuned by ${JSON.stringify(options.tuning.entries)}` : "without folding";
  const other = await compileModel(bytes, { ...base, ...options });
  if (!other.ok) return `${what}: ${errorsOf(other)}`;
  const unexpected = other.diagnostics.filter((x) => x.code === "QC5104");
  if (unexpected.length > 0) return `${what}: a legal schedule is refused`;
  return differs(other.value, what);
}

/** Never throws: what is thrown is wrong. */
export async function checkNetwork(network: Network, seed: number): Promise<Outcome> {
  const { bytes, saturates, batch } = network;
  try {
    const verdict = await differential(bytes, { samples: 2, saturates, batch });
    if (verdict.kind === "diagnosed") return verdict;
    if (verdict.wrong.length > 0) return { kind: "wrong", why: verdict.wrong.slice(0, 4).join("\n") };
    const why = await sameUnderOptions(network, seed);
    return why === undefined ? { kind: "exact", elements: verdict.elements } : { kind: "wrong", why };
  } catch (error) {
    if (error instanceof Error && error.message.endsWith("an exact input is needed here"))
      return { kind: "uncovered", why: error.message };
    return {
      kind: "wrong",
      why: `thrown: ${error instanceof Error ? (error.stack ?? error.message) : error}`,
    };
  }
}

/** What two failures of one kind have in common. */
export const signature = (why: string): string =>
  why
    .split("\n")[0]!
    .replace(/[0-9]+/g, "#")
    .replace(/t#(_#)?/g, "t")
    .slice(0, 60);
