/** The zoo of real models in `../shared/zoo`, which is not part of the repository, and inputs for them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { OnnxModel, OnnxTensor } from "../compiler/frontend/onnx/model.ts";
import { readModel } from "../compiler/frontend/onnx/reader.ts";
import { elements } from "../compiler/frontend/onnx/tensor.ts";
import { type NpyArray, type NpyData, parseNpz, rowOf } from "./npy.ts";
import { requireOrSkip } from "./require.ts";

const ROOT = fileURLToPath(new URL("../../shared/zoo/", import.meta.url));

export const zooIsThere: boolean = requireOrSkip("real models", existsSync(ROOT), `no zoo at ${ROOT}`);

/** Names such as `int8-qdq/mlperf_resnet8`, sorted; none when the zoo is absent. */
export function zooModels(folder?: string): string[] {
  if (!zooIsThere) return [];
  const folders =
    folder === undefined
      ? readdirSync(ROOT, { withFileTypes: true }).flatMap((entry) =>
          entry.isDirectory() ? [entry.name] : [],
        )
      : [folder];
  return folders
    .flatMap((group) => {
      const path = `${ROOT}${group}`;
      const entries = existsSync(path) ? readdirSync(path, { withFileTypes: true }) : [];
      return entries
        .filter((entry) => existsSync(`${path}/${entry.name}/model.onnx`))
        .map((entry) => `${group}/${entry.name}`);
    })
    .sort();
}

/** Path of a file of the zoo, such as `data/mnist_test.npz`. */
export const zooPath = (file: string): string => `${ROOT}${file}`;

export const loadModelBytes = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(`${ROOT}${name}/model.onnx`));

/** Throws an Error with the diagnostics when the file cannot be read. */
export function loadModel(name: string): OnnxModel {
  const result = readModel(loadModelBytes(name), { path: `${name}/model.onnx` });
  if (result.ok) return result.value;
  throw new Error(
    result.diagnostics.map((diagnostic) => `${diagnostic.code} ${diagnostic.message}`).join("\n"),
  );
}

export interface Samples {
  readonly count: number;
  /** One sample per index, each without its leading axis. */
  readonly inputs: readonly NpyData[];
  readonly expected: readonly NpyData[];
  readonly label: readonly number[] | undefined;
}

export function loadSamples(name: string): Samples {
  const arrays = parseNpz(new Uint8Array(readFileSync(`${ROOT}${name}/samples.npz`)));
  const rows = (array: NpyArray) => Array.from({ length: array.shape[0]! }, (_, i) => rowOf(array, i));
  const inputs = rows(arrays.get("input")!);
  const label = arrays.get("label");
  return {
    count: inputs.length,
    inputs,
    expected: rows(arrays.get("expected")!),
    label: label && Array.from(label.data as ArrayLike<number | bigint>, Number),
  };
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const RANGES: Readonly<Record<string, readonly [lo: number, hi: number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
  uint4: [0, 15],
  int4: [-8, 7],
};

interface Grid {
  readonly lo: number;
  readonly hi: number;
  /** Element of the input for an integer of the grid. */
  readonly value: (q: number) => number;
}

const MOVEMENT = ["Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Pad"];

function initializer(model: OnnxModel, name: string | undefined): OnnxTensor | undefined {
  if (name === undefined || name === "") return undefined;
  const tensor = model.graph.initializers.get(name);
  if (tensor !== undefined) return tensor;
  const maker = model.graph.nodes.find((node) => node.outputs[0] === name);
  if (maker?.op === "Identity") return initializer(model, maker.inputs[0]);
  const value = maker?.op === "Constant" ? maker.attributes.get("value") : undefined;
  return value?.kind === "tensor" ? value.value : undefined;
}

/** The grid on which the first quantizer reads input `name`; pixel/255 when there is arithmetic in between. */
function gridOf(model: OnnxModel, name: string, elemType: string | undefined): Grid {
  const range = elemType === undefined ? undefined : RANGES[elemType];
  if (range !== undefined) return { lo: range[0], hi: range[1], value: (q) => q };
  for (let at = name; ; ) {
    const user = model.graph.nodes.find((node) => node.inputs[0] === at);
    if (user !== undefined && MOVEMENT.includes(user.op)) {
      at = user.outputs[0]!;
      continue;
    }
    const scale = user?.op === "QuantizeLinear" ? initializer(model, user.inputs[1]) : undefined;
    if (user === undefined || scale === undefined || scale.size !== 1)
      return { lo: 0, hi: 255, value: (q) => Math.fround(q / 255) };
    const zero = initializer(model, user.inputs[2]);
    const [s, z] = [Number(elements(scale)[0]), zero === undefined ? 0 : Number(elements(zero)[0])];
    const [lo, hi] = RANGES[zero?.dataType ?? "uint8"] ?? [0, 255];
    return { lo, hi, value: (q) => Math.fround((q - z) * s) };
  }
}

const ARRAYS: Readonly<Record<string, (values: Float64Array) => NpyData>> = {
  uint8: (values) => Uint8Array.from(values),
  int8: (values) => Int8Array.from(values),
  uint16: (values) => Uint16Array.from(values),
  int16: (values) => Int16Array.from(values),
  int32: (values) => Int32Array.from(values),
  float32: (values) => Float32Array.from(values),
};

/**
 * Inputs on the grid of each input's first quantizer, symbolic dimensions being 1: `count` uniform ones from `seed`,
 * then all lowest, all highest, and lowest and highest in turn.
 */
export function randomInputs(model: OnnxModel, seed: number, count: number): Map<string, NpyData>[] {
  const random = randomSource(seed);
  const inputs = model.graph.inputs.filter(({ name }) => !model.graph.initializers.has(name));
  const make = (pick: (grid: Grid, i: number) => number) =>
    new Map(
      inputs.map(({ name, elemType, shape }): [string, NpyData] => {
        const grid = gridOf(model, name, elemType);
        const size = (shape ?? []).reduce<number>((n, dim) => n * (typeof dim === "number" ? dim : 1), 1);
        const values = Float64Array.from({ length: size }, (_, i) => grid.value(pick(grid, i)));
        const build = ARRAYS[elemType ?? ""];
        if (build === undefined) throw new Error(`no random inputs of type ${elemType}`);
        return [name, build(values)];
      }),
    );
  return [
    ...Array.from({ length: count }, () => make(({ lo, hi }) => lo + Math.floor(random() * (hi - lo + 1)))),
    make(({ lo }) => lo),
    make(({ hi }) => hi),
    make(({ lo, hi }, i) => (i % 2 === 0 ? lo : hi)),
  ];
}
