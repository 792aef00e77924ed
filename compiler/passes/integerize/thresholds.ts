/** Monotone step functions of a float as lists of thresholds. */

const view = new DataView(new ArrayBuffer(8));

/** Floats in order, by integers: −max … max without a second zero. */
const FORMATS = {
  32: {
    most: 0x7f7f_ffffn,
    magnitude: (n: bigint): number => {
      view.setUint32(0, Number(n));
      return view.getFloat32(0);
    },
  },
  64: {
    most: 0x7fef_ffff_ffff_ffffn,
    magnitude: (n: bigint): number => {
      view.setBigUint64(0, n);
      return view.getFloat64(0);
    },
  },
} as const;

export interface Thresholds {
  /** f of the least finite float. */
  readonly lo: number;
  /** Entry k: the least finite float x with f(x) > lo + k. Rising; as many as f has steps over the finite floats. */
  readonly thresholds: readonly number[];
}

/** Steps of a nondecreasing function from the finite floats of a width to the integers lo … hi. */
export function thresholdsOf(f: (x: number) => number, lo: number, hi: number, width: 32 | 64): Thresholds {
  const { most, magnitude } = FORMATS[width];
  const floatAt = (n: bigint): number => (n < 0n ? -magnitude(-n) : magnitude(n));
  const least = Math.max(lo, f(floatAt(-most)));
  const greatest = Math.min(hi, f(floatAt(most)));
  const thresholds: number[] = [];
  let from: bigint = -most;
  for (let k = least + 1; k <= greatest; k++) {
    // f(below) < k ≤ f(above) all along, or both are `from`.
    let below = from;
    let above: bigint = most;
    while (below < above) {
      const middle = (below + above) >> 1n;
      if (f(floatAt(middle)) >= k) above = middle;
      else below = middle + 1n;
    }
    thresholds.push(floatAt(above));
    from = above;
  }
  return { lo: least, thresholds };
}
