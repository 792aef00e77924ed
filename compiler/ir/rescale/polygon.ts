import type { Points } from "./steps.ts";

/**
 * Admissible lines, by the vertices of their polygon in (slope, intercept): vertex i meets output h at the accumulator −a0 with
 * a0 = at[i] − h·per[i]. In doubles: a guide to candidates, not a proof.
 */
export interface Polygon {
  readonly at: readonly number[];
  readonly per: readonly number[];
  /** At output h all vertices are within reach + |h − centre|·spread of vertex 0. */
  readonly centre: number;
  readonly reach: number;
  readonly spread: number;
}

/**
 * Lines y = s·a + c that step like the exact map: the half-planes c ≥ k − a·s (`lower`) and c < k − a·s (`upper`) around
 * (m, c) / 2ⁿ, intersected by clipping. Slopes stay within a tenth and twice of m / 2ⁿ.
 */
export function admissibleLines(
  lower: Points,
  upper: Points,
  m: number,
  c: number,
  n: number,
  centre: number,
): Polygon {
  const unit = 2 ** n;
  const s0 = m / unit;
  const c0 = c / unit;
  const reach = [...lower.a, ...upper.a].reduce((x, a) => Math.max(x, Math.abs(a)), 1);
  const width = 0.9 * Math.abs(s0);
  const height = 2 + reach * Math.abs(s0);
  let ds = [-width, width, width, -width];
  let dc = [-height, -height, height, height];
  const clip = (list: Points, side: 1 | -1): void => {
    for (let i = 0; i < list.k.length; i++) {
      const a = list.a[i] as number;
      const e = ((list.k[i] as number) * unit - a * m - c) / unit;
      [ds, dc] = clipHalfPlane(ds, dc, side * a, side, -side * e);
    }
  };
  clip(lower, 1);
  clip(upper, -1);
  const per = ds.map((x) => 1 / (s0 + x));
  const at = dc.map((y, i) => (c0 + y) * (per[i] as number));
  let far = 0;
  let spread = 0;
  for (let i = 1; i < at.length; i++) {
    const turn = per[i]! - per[0]!;
    far = Math.max(far, Math.abs(at[i]! - at[0]! - centre * turn));
    spread = Math.max(spread, Math.abs(turn));
  }
  return { at, per, centre, reach: far, spread };
}

/** The part of a convex polygon with p·x + q·y + r ≥ 0. */
function clipHalfPlane(
  xs: readonly number[],
  ys: readonly number[],
  p: number,
  q: number,
  r: number,
): [number[], number[]] {
  const outX: number[] = [];
  const outY: number[] = [];
  for (let i = 0; i < xs.length; i++) {
    const j = (i + 1) % xs.length;
    const [x0, y0, x1, y1] = [xs[i] as number, ys[i] as number, xs[j] as number, ys[j] as number];
    const d0 = p * x0 + q * y0 + r;
    const d1 = p * x1 + q * y1 + r;
    if (d0 >= 0) {
      outX.push(x0);
      outY.push(y0);
    }
    if (d0 >= 0 !== d1 >= 0) {
      const t = d0 / (d0 - d1);
      outX.push(x0 + t * (x1 - x0));
      outY.push(y0 + t * (y1 - y0));
    }
  }
  return [outX, outY];
}
