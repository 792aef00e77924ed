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
  const reach = Math.max(greatest(lower.a), greatest(upper.a), 1);
  const width = 0.9 * Math.abs(s0);
  const height = 2 + reach * Math.abs(s0);
  let polygon: Vertices = { x: [-width, width, width, -width], y: [-height, -height, height, height] };
  const clip = (list: Points, side: 1 | -1): void => {
    for (let i = 0; i < list.k.length; i++) {
      const a = list.a[i]!;
      const e = (list.k[i]! * unit - a * m - c) / unit;
      polygon = clipHalfPlane(polygon, side * a, side, -side * e);
    }
  };
  clip(lower, 1);
  clip(upper, -1);
  const { x: ds, y: dc } = polygon;
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

function greatest(list: readonly number[]): number {
  let x = 0;
  for (let i = 0; i < list.length; i++) if (Math.abs(list[i]!) > x) x = Math.abs(list[i]!);
  return x;
}

interface Vertices {
  readonly x: readonly number[];
  readonly y: readonly number[];
}

/** The part of a convex polygon with p·x + q·y + r ≥ 0; the polygon itself if that is all of it, as mostly. */
function clipHalfPlane(polygon: Vertices, p: number, q: number, r: number): Vertices {
  const { x: xs, y: ys } = polygon;
  const n = xs.length;
  let inside = 0;
  while (inside < n && p * xs[inside]! + q * ys[inside]! + r >= 0) inside++;
  if (inside === n) return polygon;
  const x: number[] = [];
  const y: number[] = [];
  let d1 = p * xs[0]! + q * ys[0]! + r;
  for (let i = 0; i < n; i++) {
    const j = i + 1 === n ? 0 : i + 1;
    const d0 = d1;
    d1 = p * xs[j]! + q * ys[j]! + r;
    if (d0 >= 0) {
      x.push(xs[i]!);
      y.push(ys[i]!);
    }
    if (d0 >= 0 !== d1 >= 0) {
      const t = d0 / (d0 - d1);
      x.push(xs[i]! + t * (xs[j]! - xs[i]!));
      y.push(ys[i]! + t * (ys[j]! - ys[i]!));
    }
  }
  return { x, y };
}
