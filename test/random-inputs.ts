/** Seeded random inputs for any function, on the types' own grids. */
import { denseOf } from "../compiler/ir/dense.ts";
import type { Dense, Func, Port } from "../compiler/ir/module.ts";
import { intMax, intMin, sizeOf, type TensorType } from "../compiler/ir/types.ts";

/** A generator of 32-bit words (mulberry32): the same seed, the same sequence, everywhere. */
export function randomWords(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

const limits = ({ elem }: TensorType): readonly [number, number] =>
  elem.kind === "quant" ? [elem.lo, elem.hi] : elem.kind === "int" ? [intMin(elem), intMax(elem)] : [-8, 8];

/** Uniform on the type's range, its ends included; floats are multiples of 1/64 in −8 … 8. */
export function randomDense(type: TensorType, word: () => number): Dense {
  const [lo, hi] = limits(type);
  const unit = type.elem.kind === "float" ? 64 : 1;
  const span = (hi - lo) * unit + 1;
  const draw = (): number => lo + Math.floor((word() / 2 ** 32) * span) / unit;
  return denseOf(type, Array.from({ length: sizeOf(type.shape) }, draw));
}

/** One input per param, by port. */
export function randomInputs(func: Func, seed: number): Map<Port, Dense> {
  const word = randomWords(seed);
  return new Map(func.params.map((p) => [p, randomDense(p.value.type, word)]));
}
