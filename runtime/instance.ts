/** A model in memory: checks and converts inputs, calls the kernels, copies outputs. */
import { dequantize, quantize } from "./boundary.ts";
import {
  carrierOf,
  type IntArray,
  kindOf,
  quantizationOf,
  rawDtype,
  type TensorData,
  viewOf,
} from "./elements.ts";
import { runError } from "./errors.ts";
import type { Layout, PortLayout, Slot } from "./format.ts";

export type Backend = "baseline" | "relaxed";

/** What a port is. `dtype` names the typed array `run` takes or gives: with `raw`, that of the integers. */
export interface PortInfo {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** x = (q − zeroPoint)·scale; absent where the graph does not say. Arrays are per index of `axis`. */
  readonly scale?: number | readonly number[];
  readonly zeroPoint?: number | readonly number[];
  readonly axis?: number;
}

/** A tensor by name; with `raw`, an input under several quantizers takes one array per slot. */
export type RunInput = TensorData | readonly TensorData[];

export interface Model {
  readonly name: string;
  readonly backend: Backend;
  /** Why this backend, in one sentence. */
  readonly backendReason: string;
  /** Bytes of linear memory: weights, tables and activations. */
  readonly memoryBytes: number;
  /** Null-prototype, in graph order, keyed by ONNX tensor names. */
  readonly inputs: { readonly [name: string]: PortInfo };
  readonly outputs: { readonly [name: string]: PortInfo };
  /** Row-major tensors in, fresh row-major tensors out. Throws `RunError`. */
  run(inputs: { readonly [name: string]: RunInput }): { [name: string]: TensorData };
  /** Drops the module and its memory; `run` throws afterwards. */
  dispose(): void;
}

/** What a WebAssembly instance must export. */
export interface Core {
  readonly memory: WebAssembly.Memory;
  readonly run: () => void;
}

export interface ModelOptions {
  /** Integers in, integers out, without conversion at float boundaries. */
  readonly raw?: boolean;
  readonly backend: Backend;
  readonly backendReason: string;
}

const shown = (name: string): string => JSON.stringify(name);

function infos(ports: readonly PortLayout[], raw: boolean): { [name: string]: PortInfo } {
  const out: { [name: string]: PortInfo } = Object.create(null);
  for (const p of ports) {
    const dtype = raw ? rawDtype(p.slots[0]!) : p.dtype;
    out[p.name] = Object.freeze({ name: p.name, dtype, shape: p.shape, ...quantizationOf(p) });
  }
  return Object.freeze(out);
}

interface Feed {
  /** Refuses what is not the wanted typed array of the wanted length, and integers outside lo … hi. */
  readonly check: (x: unknown) => void;
  readonly write: (x: TensorData) => void;
}

function feedOf(port: PortLayout, slot: Slot, memory: ArrayBufferLike, raw: boolean): Feed {
  const view = viewOf(slot, memory);
  const b = slot.boundary;
  const { count, bias = 0 } = slot;
  const quantizes = "lo" in b;
  const converts = quantizes && !raw;
  const own = carrierOf(rawDtype(slot));
  const { array, lo: least, hi: most } = carrierOf(raw ? rawDtype(slot) : port.dtype);
  const input = `input ${shown(port.name)}`;
  const wanted = `${input} must be a ${array.name} of length ${count} (shape [${port.shape}])`;
  const integers = quantizes ? b : own;
  const lo = Math.max(least, integers.lo);
  const hi = Math.min(most, integers.hi);
  const natural = new array(1).BYTES_PER_ELEMENT * 8;
  const narrow = !converts && Number.isFinite(hi - lo) && !(hi - lo === 2 ** natural - 1);
  return {
    check(x) {
      if (kindOf(x) !== array.name) throw runError(`${wanted}, not ${kindOf(x)}`);
      const data = x as TensorData;
      if (data.length !== count) throw runError(`${wanted}; this one has length ${data.length}`);
      if (!narrow) return;
      const i = (data as IntArray).findIndex((q) => !(q >= lo && q <= hi));
      if (i >= 0) throw runError(`${input} holds ${data[i]} at index ${i}, outside ${lo} … ${hi}`);
    },
    write(x) {
      if (converts) quantize(x as Float32Array, view, b, bias);
      else if (!bias && own.array === array) view.set(x as IntArray);
      else for (let i = 0; i < count; i++) view[i] = Number(x[i]!) + bias;
    },
  };
}

function fetchOf(port: PortLayout, memory: ArrayBufferLike, raw: boolean): () => TensorData {
  const slot = port.slots[0]!;
  const view = viewOf(slot, memory);
  const b = slot.boundary;
  const { count, bias = 0 } = slot;
  const { array } = carrierOf(raw ? rawDtype(slot) : port.dtype);
  const big = array.name.startsWith("Big");
  const copies = !bias && carrierOf(rawDtype(slot)).array === array;
  return () => {
    if (copies) return view.slice();
    const out = new array(count);
    if (b.kind === "dequantize" && !raw) dequantize(view, out as Float32Array, b, bias, port.shape);
    else
      for (let i = 0; i < count; i++) {
        const q = view[i]! - bias;
        (out as { [i: number]: number | bigint })[i] = big ? BigInt(q) : q;
      }
    return out;
  };
}

/** Everything that keeps the instance's memory alive. */
interface Bound {
  readonly run: () => void;
  readonly bytes: number;
  /** Per input, per slot. */
  readonly feeds: readonly (readonly Feed[])[];
  readonly fetches: readonly (() => TensorData)[];
}

function bind(layout: Layout, { memory: { buffer }, run }: Core, raw: boolean): Bound {
  return {
    run,
    bytes: buffer.byteLength,
    feeds: layout.inputs.map((p) => p.slots.map((s) => feedOf(p, s, buffer, raw))),
    fetches: layout.outputs.map((p) => fetchOf(p, buffer, raw)),
  };
}

/** One array per slot of an input. */
function perSlot(name: string, slots: number, x: RunInput, raw: boolean): readonly TensorData[] {
  if (!raw || slots === 1) return new Array<TensorData>(slots).fill(x as TensorData);
  if (Array.isArray(x) && x.length === slots) return x;
  throw runError(`input ${shown(name)} has ${slots} quantizers: pass an array of ${slots} typed arrays`);
}

/** Binds a layout to instantiated modules. */
export function createModel(
  layout: Layout,
  core: Core,
  { raw = false, backend, backendReason }: ModelOptions,
): Model {
  let bound: Bound | undefined = bind(layout, core, raw);
  const inputs = infos(layout.inputs, raw);
  const outputs = infos(layout.outputs, raw);
  const model: Model = {
    name: layout.model,
    backend,
    backendReason,
    get memoryBytes() {
      return bound?.bytes ?? 0;
    },
    inputs,
    outputs,
    run(given) {
      if (!bound) throw runError("the model was disposed");
      const { feeds, fetches } = bound;
      if (given === null || typeof given !== "object")
        throw runError("run takes an object of typed arrays by input name");
      for (const name of Object.keys(given))
        if (!(name in inputs))
          throw runError(
            `unknown input ${shown(name)}; the model has ${Object.keys(inputs).map(shown).join(", ") || "none"}`,
          );
      // All checks come before the first write.
      const data = layout.inputs.map(({ name, slots }, i) => {
        if (!Object.hasOwn(given, name)) throw runError(`input ${shown(name)} is missing`);
        const list = perSlot(name, slots.length, given[name]!, raw);
        feeds[i]!.forEach((feed, k) => {
          feed.check(list[k]);
        });
        return list;
      });
      data.forEach((list, i) => {
        feeds[i]!.forEach((feed, k) => {
          feed.write(list[k]!);
        });
      });
      bound.run();
      const out: { [name: string]: TensorData } = Object.create(null);
      layout.outputs.forEach((port, i) => {
        out[port.name] = fetches[i]!();
      });
      return out;
    },
    dispose() {
      bound = undefined;
    },
  };
  if (Symbol.dispose) Object.defineProperty(model, Symbol.dispose, { value: () => model.dispose() });
  return model;
}
