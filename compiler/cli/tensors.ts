/** Input data of `qc run` and `qc verify`: from files to typed arrays by input name. */
import { carrierOf, type TensorData } from "../../runtime/elements.ts";
import type { Dtype } from "../../runtime/format.ts";
import {
  type Diagnostic,
  fail,
  inputMismatch,
  inputMissing,
  inputUnknown,
  ok,
  type Result,
} from "../index.ts";
import { readBytes } from "./external-data.ts";
import { type NpyArray, readNpy } from "./npy.ts";
import { readNpz } from "./npz.ts";

/** What a model wants to be given. */
export interface Wanted {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export type Tensors = ReadonlyMap<string, TensorData>;

/** Arrays by name; a lone array has the name "". */
export function readArrays(path: string): Result<ReadonlyMap<string, NpyArray>> {
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return fail(bytes);
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) return readNpz(bytes, path);
  const array = readNpy(bytes, path);
  return array.ok ? ok(new Map([["", array.value]])) : array;
}

/**
 * Reads `--input` arguments, `name=file` or `file`. A lone array, also an archive's only one or the one it calls
 * `input`, serves a model with a single input whatever its name. Errors: QC5001, QC5003, QC5004, QC5007.
 */
export function readInputs(
  args: readonly string[],
  wanted: readonly Wanted[],
): Result<ReadonlyMap<string, NpyArray>> {
  const given = new Map<string, NpyArray>();
  const diagnostics: Diagnostic[] = [];
  const known = wanted.map((w) => w.name);
  const only = wanted.length === 1 ? known[0] : undefined;
  for (const arg of args) {
    // A name may contain "=": the longest known one wins.
    const name = known.filter((n) => arg.startsWith(`${n}=`)).sort((a, b) => b.length - a.length)[0];
    const cut = name?.length ?? arg.indexOf("=");
    const file = cut >= 0 ? arg.slice(cut + 1) : arg;
    const arrays = readArrays(file);
    if (!arrays.ok) {
      diagnostics.push(...arrays.diagnostics);
      continue;
    }
    if (cut >= 0 && name === undefined) diagnostics.push(inputUnknown(arg.slice(0, cut), known));
    const lone = arrays.value.size === 1 ? [...arrays.value.values()][0] : arrays.value.get("input");
    const target = name ?? only;
    if (target !== undefined && !arrays.value.has(target) && lone) given.set(target, lone);
    else for (const [n, a] of arrays.value) if (known.includes(n)) given.set(n, a);
  }
  return diagnostics.length > 0 ? fail(...diagnostics) : ok(given);
}

const shapeText = (dtype: string, shape: readonly number[]): string => `${dtype}[${shape.join(", ")}]`;
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);

/** How many runs an array of shape `has` makes for an input of shape `wants`: 1, its rows, or undefined if it fits neither way. */
function rows(has: readonly number[], wants: readonly number[]): number | undefined {
  if (same(has, wants)) return 1;
  if (wants[0] === 1 && same(has, wants.slice(1))) return 1;
  const row = wants[0] === 1 ? wants.slice(1) : wants;
  return has.length > 0 && (same(has.slice(1), row) || same(has.slice(1), wants)) ? has[0] : undefined;
}

/** One entry per run. float16 serves float32 inputs; nothing else is converted. Errors: QC5006, QC5008. */
export function samplesOf(
  given: ReadonlyMap<string, NpyArray>,
  wanted: readonly Wanted[],
): Result<readonly Tensors[]> {
  const diagnostics: Diagnostic[] = [];
  const columns: { name: string; data: TensorData; runs: number; size: number }[] = [];
  for (const w of wanted) {
    const a = given.get(w.name);
    if (!a) {
      diagnostics.push(inputMissing(w.name, shapeText(w.dtype, w.shape), [...given.keys()]));
      continue;
    }
    const runs = rows(a.shape, w.shape);
    const kind = Object.prototype.toString.call(a.data).slice(8, -1);
    if (runs === undefined || kind !== carrierOf(w.dtype).array.name)
      diagnostics.push(inputMismatch(w.name, shapeText(a.dtype, a.shape), shapeText(w.dtype, w.shape)));
    else columns.push({ name: w.name, data: a.data, runs, size: sizeOf(w.shape) });
  }
  const runs = Math.max(1, ...columns.map((c) => c.runs));
  for (const c of columns)
    if (c.runs !== runs && c.runs !== 1)
      diagnostics.push(inputMismatch(c.name, `${c.runs} rows`, `${runs} rows, as other inputs have`));
  if (diagnostics.length > 0) return fail(...diagnostics);
  return ok(
    Array.from({ length: columns.some((c) => c.runs === 0) ? 0 : runs }, (_, i) => {
      const row = (c: (typeof columns)[number]) =>
        c.runs === 1 ? c.data : (c.data.subarray(i * c.size, (i + 1) * c.size) as TensorData);
      return new Map(columns.map((c) => [c.name, row(c)]));
    }),
  );
}

/** An object as `run` takes it; null-prototype, since names are anything. */
export function asObject(tensors: Tensors): { [name: string]: TensorData } {
  const out: { [name: string]: TensorData } = Object.create(null);
  for (const [name, data] of tensors) out[name] = data;
  return out;
}
