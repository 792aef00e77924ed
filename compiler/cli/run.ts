/** `qc run`: an artifact in its engine, or a module in the reference interpreter. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { carrierOf, rawDtype, type TensorData } from "../../runtime/elements.ts";
import type { Dtype } from "../../runtime/format.ts";
import type { ThreadedModel } from "../../runtime/index.ts";
import { cannotWrite, fail, type Module, ok, type Result, runFailed } from "../index.ts";
import { isArtifact, loadStored, openArtifact } from "./artifact.ts";
import { modelOptions } from "./calib.ts";
import { readBytes } from "./external-data.ts";
import { forModelsOnly, type ModelChoices, readModule, textOptions } from "./model.ts";
import { writeNpy } from "./npy.ts";
import { plain, table } from "./print.ts";
import { inputsOf, runReference } from "./reference.ts";
import { EXIT, report } from "./report.ts";
import { asObject, readInputs, samplesOf, type Tensors, type Wanted } from "./tensors.ts";
import type { CommonOptions, Terminal } from "./terminal.ts";

export interface RunCommand extends CommonOptions, ModelChoices {
  readonly input?: readonly string[];
  readonly output?: string;
  readonly raw?: boolean;
  readonly backend: "auto" | "baseline" | "relaxed";
  readonly threads?: number;
}

/** One output over all runs: stacked along a new first axis when there were several rows. */
interface Stacked {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

interface Runnable {
  readonly wanted: readonly Wanted[];
  readonly engine: string;
  readonly close?: () => void;
  readonly run: (inputs: Tensors) => readonly { name: string; shape: readonly number[]; data: TensorData }[];
}

const threadsText = (m: ThreadedModel, asked: number | undefined): string =>
  asked === undefined
    ? ""
    : `, ${m.threads === 1 ? "one thread" : `${m.threads} threads`} (${m.threadsReason})`;

/** The module as the options have it. The interpreter computes what is float in float, allowed or not. */
async function moduleOf(path: string, choices: RunCommand): Promise<Result<Module>> {
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return fail(bytes);
  const given = path.endsWith(".qir") ? textOptions(path, choices) : await modelOptions(path, bytes, choices);
  const module = given.ok ? await readModule(path, given.value) : given;
  const diagnostics = [...given.diagnostics, ...module.diagnostics];
  return module.ok ? ok(module.value, diagnostics) : fail(...module.diagnostics);
}

async function open(path: string, options: RunCommand): Promise<Result<Runnable>> {
  const raw = options.raw === true;
  if (!isArtifact(path)) {
    const module = await moduleOf(path, options);
    if (!module.ok) return module;
    return ok(
      {
        wanted: inputsOf(module.value),
        engine: "reference interpreter",
        run: (inputs) =>
          runReference(module.value, inputs, { raw }).map(({ port, data }) => ({
            name: port.name,
            shape: port.value.type.shape,
            data,
          })),
      },
      module.diagnostics,
    );
  }
  const fits = forModelsOnly(path, options);
  const stored = fits.ok ? openArtifact(path) : fits;
  if (!stored.ok) return stored;
  const loaded = await loadStored(stored.value, {
    raw,
    backend: options.backend,
    ...(options.threads !== undefined && { threads: options.threads }),
  });
  if (!loaded.ok) return loaded;
  const { manifest } = stored.value;
  const model = loaded.value;
  return ok({
    wanted: manifest.inputs.map((p) => ({ ...p, dtype: raw ? rawDtype(p.slots[0]!) : p.dtype })),
    engine: `${model.backend} kernels (${model.backendReason})${threadsText(model, options.threads)}`,
    close: () => model.dispose(),
    run: (inputs) => {
      const out = model.run(asObject(inputs));
      return manifest.outputs.map((p) => ({ name: p.name, shape: p.shape, data: out[p.name]! }));
    },
  });
}

function stack(runs: readonly ReturnType<Runnable["run"]>[]): readonly Stacked[] {
  return (runs[0] ?? []).map(({ name, shape, data }, i) => {
    const kind = Object.prototype.toString.call(data).slice(8, -1);
    const dtype = kind.replace(/Array$|^Big/g, "").toLowerCase();
    if (runs.length === 1) return { name, dtype, shape, data };
    const all = new (carrierOf(dtype as Dtype).array)(runs.length * data.length);
    runs.forEach((r, k) => {
      (all as Float64Array).set(r[i]!.data as Float64Array, k * data.length);
    });
    return { name, dtype, shape: [runs.length, ...(shape[0] === 1 ? shape.slice(1) : shape)], data: all };
  });
}

/** A file name from an output's name: nothing that a shell or a path could take amiss, each name once. */
function fileName(name: string, taken: Set<string>): string {
  const base = name.replace(/[^\w-]+/g, "_").slice(0, 100) || "output";
  let unique = base;
  for (let i = 1; taken.has(unique.toLowerCase()); i++) unique = `${base}_${i}`;
  taken.add(unique.toLowerCase());
  return `${unique}.npy`;
}

function write(dir: string, outputs: readonly Stacked[]) {
  const taken = new Set<string>();
  const files = outputs.map((o) => ({ ...o, path: join(dir, fileName(o.name, taken)) }));
  let at = dir;
  try {
    mkdirSync(dir, { recursive: true });
    for (const f of files) {
      at = f.path;
      writeFileSync(f.path, writeNpy(f.data, f.shape));
    }
    return undefined;
  } catch (error) {
    return cannotWrite(at, error instanceof Error && "code" in error ? String(error.code) : String(error));
  }
}

const PREVIEW = 8;
const number = (v: number | bigint): string =>
  typeof v === "bigint" || Number.isInteger(v) ? String(v) : String(Number(v.toPrecision(6)));

function preview({ data, shape }: Stacked): string {
  const shown = Array.from(data.subarray(0, PREVIEW) as ArrayLike<number | bigint>, number).join(" ");
  const more = data.length > PREVIEW ? " …" : "";
  let best = 0;
  data.forEach((v, i) => {
    if (v > data[best]!) best = i;
  });
  const classes = shape.length <= 2 && data.length > 1 && (shape[0] === 1 || shape.length === 1);
  return `${shown}${more}${classes ? `   largest at ${best}` : ""}`;
}

export async function run(
  path: string,
  data: string | undefined,
  options: RunCommand,
  terminal: Terminal,
): Promise<number> {
  const model = await open(path, options);
  if (!model.ok) return report(terminal, options, model.diagnostics);
  const { wanted, engine, run: once, close } = model.value;
  const given = readInputs([...(options.input ?? []), ...(data === undefined ? [] : [data])], wanted);
  const samples = given.ok ? samplesOf(given.value, wanted) : given;
  if (!samples.ok) return report(terminal, options, [...model.diagnostics, ...samples.diagnostics]);
  const results = runAll(samples.value, once);
  close?.();
  if (!results.ok) return report(terminal, options, results.diagnostics);
  const outputs = stack(results.value);
  const failure = options.output === undefined ? undefined : write(options.output, outputs);
  const diagnostics = failure ? [...model.diagnostics, failure] : model.diagnostics;
  const json = () =>
    outputs.map((o) => ({
      ...o,
      data: Array.from(o.data as ArrayLike<number | bigint>, (v) => (typeof v === "bigint" ? String(v) : v)),
    }));
  const code = report(
    terminal,
    options,
    diagnostics,
    options.json ? { engine, runs: samples.value.length, outputs: json() } : {},
  );
  if (code !== EXIT.ok || options.json || options.quiet) return code;
  terminal.out(table(outputs.map((o) => [plain(o.name), `${o.dtype}[${o.shape.join(", ")}]`, preview(o)])));
  terminal.err(`${engine}\n`);
  return code;
}

/** Errors of the runtime about an input (a value off its range) are the user's; anything else is a bug. */
function runAll(
  samples: readonly Tensors[],
  once: Runnable["run"],
): Result<readonly ReturnType<Runnable["run"]>[]> {
  try {
    return ok(samples.map(once));
  } catch (error) {
    if (error instanceof Error && error.name === "RunError") return fail(runFailed(error.message));
    throw error;
  }
}
