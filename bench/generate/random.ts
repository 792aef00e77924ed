/** Seeded random numbers of exact arithmetic only: the same on every machine. */

export interface Random {
  /** Uniform in [0, 1). */
  readonly uniform: () => number;
  /** About normal: mean 0, variance 1, |x| < 6. */
  readonly normal: () => number;
}

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  // mulberry32
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = (): number => {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += uniform();
    return sum;
  };
  return { uniform, normal };
}

/**
 * An image, CHW, normalized as ImageNet models take it: fields of 7 to `size` cells a side, added with the weights 1, ½, ¼ ….
 * Values lie in about [-2.2, 2.7].
 */
export function randomImage(random: Random, channels: number, size: number): Float32Array {
  const out = new Float32Array(channels * size * size);
  for (let c = 0; c < channels; c++) {
    let weight = 1;
    for (let cells = 7; cells <= size; cells *= 2, weight /= 2) {
      const grid = Float64Array.from({ length: (cells + 1) * (cells + 1) }, () => random.uniform() - 0.5);
      for (let y = 0; y < size; y++)
        for (let x = 0; x < size; x++) {
          const [gy, gx] = [(y * cells) / size, (x * cells) / size];
          const [y0, x0] = [Math.floor(gy), Math.floor(gx)];
          const [fy, fx] = [gy - y0, gx - x0];
          const at = (dy: number, dx: number): number => grid[(y0 + dy) * (cells + 1) + x0 + dx]!;
          const top = at(0, 0) * (1 - fx) + at(0, 1) * fx;
          const bottom = at(1, 0) * (1 - fx) + at(1, 1) * fx;
          out[(c * size + y) * size + x]! += 2.4 * weight * (top * (1 - fy) + bottom * fy);
        }
    }
  }
  return out.map((v) => Math.min(2.64, Math.max(-2.12, v + 0.25)));
}
