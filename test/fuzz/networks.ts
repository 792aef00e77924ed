/**
 * Random fake-quantized networks. A recipe is plain data: which layer each step adds, to the result of which earlier step,
 * and a seed for its details; dropping steps or setting them to `plain` gives a smaller recipe of the same kind.
 */
import { graphBuilder } from "../e2e/graphs/builder.ts";
import { blocks } from "./networks-blocks.ts";
import { type Layer, layers, made } from "./networks-layers.ts";
import { sums } from "./networks-sums.ts";
import {
  type Bits,
  diceOf,
  gridFor,
  type Net,
  quantized,
  requantized,
  type Value,
} from "./networks-values.ts";

export interface Step {
  readonly kind: string;
  readonly seed: number;
  /** An earlier step; −1 − k is input k. */
  readonly from: number;
  /** Every choice is the simplest. */
  readonly plain?: boolean;
}

export interface Recipe {
  readonly seed: number;
  readonly qonnx: boolean;
  readonly narrow: boolean;
  readonly bits: Bits;
  readonly channels: number;
  readonly inputs: readonly (readonly number[])[];
  readonly steps: readonly Step[];
  /** The batch is symbolic in the file. */
  readonly symbolic: boolean;
  /** Outputs from the middle too. */
  readonly taps: boolean;
}

export interface Network {
  readonly bytes: Uint8Array;
  /** Pairs of products may leave 16 bits. */
  readonly saturates: boolean;
  readonly batch?: number;
}

const KINDS: ReadonlyMap<string, Layer> = new Map([...layers, ...blocks, ...sums].map((l) => [l.kind, l]));

function inputOf(net: Net, seed: number, shape: readonly number[], named: boolean): Value {
  const d = diceOf(seed);
  const { g } = net;
  const declared = named ? ["N", ...shape.slice(1)] : shape;
  if (net.qonnx || d.chance(0.3)) {
    const x = made(g.input(declared, "float32"), shape, d.one([1, 3, 0.1]));
    return quantized(net, d, x);
  }
  const { type, scale, zero } = gridFor(net, d, 1 + d.below(4), [
    "uint8",
    "uint8",
    "int8",
    "uint8",
    "int16",
    "uint16",
  ]);
  const integers = g.input(declared, type);
  return { name: g.dq(integers, scale, zero, { type }), shape, reach: 2, quantized: true, integers };
}

function start(recipe: Recipe): { readonly net: Net; readonly inputs: readonly Value[] } {
  const { qonnx, narrow, bits, channels } = recipe;
  const net: Net = {
    g: graphBuilder(),
    values: [],
    read: new Set(),
    quantizers: new Map(),
    qonnx,
    narrow,
    bits,
    channels,
    scales: [],
    products: false,
  };
  const inputs = recipe.inputs.map((shape, i) => inputOf(net, recipe.seed * 31 + i, shape, recipe.symbolic));
  net.values.push(...inputs);
  return { net, inputs };
}

/** Adds a step: what it makes, or what it reads if it does not fit. */
function add(net: Net, step: Step, at: (from: number) => readonly Value[]): readonly Value[] {
  const d = diceOf(step.seed, step.plain);
  const from = at(step.from);
  const v = d.one(from);
  const layer = KINDS.get(step.kind)!;
  if (!layer.fits(v.shape)) return from;
  const out = layer.build(net, d, v);
  net.values.push(...out);
  return out.length > 0 ? out : from;
}

export function networkOf(recipe: Recipe): Network {
  const { net, inputs } = start(recipe);
  const results: (readonly Value[])[] = [];
  const at = (from: number) => (from < 0 ? [inputs[-1 - from] ?? inputs[0]!] : results[from]!);
  for (const step of recipe.steps) results.push(add(net, step, at));
  const d = diceOf(recipe.seed + 7);
  const outputs = new Set<string>();
  const emit = (v: Value) => {
    const q = v.quantized ? requantized(net, d, v) : quantized(net, d, v);
    net.read.add(v.name);
    outputs.add(q.integers !== undefined && d.chance(0.6) ? q.integers : q.name);
    net.read.add(q.name);
  };
  const middle = (v: Value) =>
    v.quantized &&
    !net.qonnx &&
    recipe.taps &&
    d.chance(0.15) &&
    outputs.add(v.integers && d.chance(0.5) ? v.integers : v.name);
  for (const v of [...net.values]) {
    if (!net.read.has(v.name)) emit(v);
    else middle(v);
  }
  return {
    bytes: net.g.finish([...outputs]),
    saturates: !net.narrow || net.qonnx || net.products,
    ...(recipe.symbolic && { batch: recipe.inputs[0]![0]! }),
  };
}

const SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 23, 32, 40];

export function recipeOf(seed: number): Recipe {
  const d = diceOf(seed * 2654435761);
  const batch = d.one([1, 1, 1, 2, 3]);
  const side = () => d.one([1, 2, 3, 4, 5, 6, 7, 8, 9, 11]);
  const image = () => [batch, d.one(SIZES.slice(0, 11)), side(), side()];
  const shape = () =>
    d.one([
      image,
      image,
      image,
      image,
      () => [batch, 1 + d.below(12), d.one(SIZES)],
      () => [batch, d.one(SIZES)],
    ])();
  const first = shape();
  const inputs = [first];
  while (d.chance(0.3) && inputs.length < 3) inputs.push(d.chance(0.6) ? first : shape());
  const recipe: Recipe = {
    seed,
    qonnx: d.chance(0.2),
    narrow: d.chance(0.5),
    bits: d.one<Bits>(["mixed", "mixed", "mixed", "uint8", "int8", "4", "16"]),
    channels: d.one([5, 12, 24, 40]),
    inputs,
    steps: [],
    taps: d.chance(0.4),
    symbolic: inputs.every(([n]) => n === first[0]) && d.chance(0.15),
  };
  const { net, inputs: values } = start(recipe);
  const results: (readonly Value[])[] = [];
  const at = (from: number) => (from < 0 ? [values[-1 - from]!] : results[from]!);
  const steps: Step[] = [];
  const count = 1 + d.below(12);
  for (let i = 0; i < count; i++) {
    const from = i > 0 && d.chance(0.6) ? i - 1 : d.below(i + inputs.length) - inputs.length;
    const [v] = at(from);
    const fitting = [...KINDS.values()].filter((l) => l.fits(v!.shape));
    if (fitting.length === 0) break;
    const layer = d.one(fitting.flatMap((l) => Array<Layer>(l.weight).fill(l)));
    const step = { kind: layer.kind, seed: d.below(2 ** 31), from };
    steps.push(step);
    results.push(add(net, step, at));
  }
  return { ...recipe, steps };
}

const without = (recipe: Recipe, i: number): Recipe => {
  const { from } = recipe.steps[i]!;
  const moved = (f: number): number => (f === i ? from : f > i ? f - 1 : f);
  const steps = recipe.steps.filter((_, j) => j !== i).map((s) => ({ ...s, from: moved(s.from) }));
  return { ...recipe, steps };
};

/** Simpler recipes, the simplest first. */
export function* simpler(recipe: Recipe): Generator<Recipe> {
  for (let i = recipe.steps.length - 1; i >= 0; i--) yield without(recipe, i);
  if (recipe.inputs.length > 1) yield { ...recipe, inputs: recipe.inputs.slice(0, -1) };
  if (recipe.symbolic) yield { ...recipe, symbolic: false };
  if (recipe.taps) yield { ...recipe, taps: false };
  if (recipe.bits !== "uint8") yield { ...recipe, bits: "uint8" };
  if (!recipe.narrow) yield { ...recipe, narrow: true };
  if (recipe.channels > 1) yield { ...recipe, channels: Math.floor(recipe.channels / 2) };
  for (const [i, shape] of recipe.inputs.entries())
    for (const [axis, n] of shape.entries())
      for (const smaller of new Set([1, Math.floor(n / 2), n - 1]))
        if (smaller >= 1 && smaller < n)
          yield {
            ...recipe,
            inputs: recipe.inputs.map((s, j) =>
              j === i || recipe.symbolic || s.join() === shape.join()
                ? s.map((m, a) => (a === axis ? smaller : m))
                : s,
            ),
          };
  for (const [i, step] of recipe.steps.entries())
    if (!step.plain)
      yield { ...recipe, steps: recipe.steps.map((s, j) => (j === i ? { ...s, plain: true } : s)) };
}

/** The simplest recipe that still fails, by greedy descent; `fails` is asked at most `tries` times. */
export async function shrink(
  recipe: Recipe,
  fails: (r: Recipe) => Promise<boolean>,
  tries = 300,
): Promise<Recipe> {
  let best = recipe;
  for (let left = tries; left > 0; ) {
    let found: Recipe | undefined;
    for (const next of simpler(best)) {
      if (left-- <= 0) break;
      if (await fails(next)) {
        found = next;
        break;
      }
    }
    if (found === undefined) break;
    best = found;
  }
  return best;
}
