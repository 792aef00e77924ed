/** Seeded numbers of the normal distribution. */
import { randomSource } from "./zoo.ts";

export function normal(count: number, seed: number): Float32Array {
  const next = randomSource(seed);
  return Float32Array.from({ length: count }, () => {
    const r = Math.sqrt(-2 * Math.log(1 - next()));
    return r * Math.cos(2 * Math.PI * next());
  });
}
