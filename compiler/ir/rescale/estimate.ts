import { evaluateExact } from "./exact.ts";
import type { RequantSpec } from "./types.ts";

/** Relative error of the sum below: at most five roundings of 2^-53 in each term and two of the sum. */
const ERROR = 2 ** -50;

/** {@link evaluateExact} in doubles wherever their error bound stays clear of every rounding boundary. */
export function evaluate(spec: RequantSpec, a: readonly number[]): number {
  return estimate(spec, a) ?? evaluateExact(spec, a);
}

/** The result if doubles decide it. */
function estimate(spec: RequantSpec, a: readonly number[]): number | undefined {
  const { scales, offset, zeroPoint, rounding } = spec;
  const after = spec.order === "round_then_shift";
  let w = ratio(offset.num, offset.den);
  let magnitude = Math.abs(w);
  const add = (term: number): void => {
    w += term;
    magnitude += Math.abs(term);
  };
  for (let i = 0; i < scales.length; i++) add(ratio(scales[i]!.num, scales[i]!.den) * a[i]!);
  if (!after) add(ratio(zeroPoint.num, zeroPoint.den));
  const nearest = rounding === "half_even" || rounding === "half_up" || rounding === "half_down";
  const t = nearest ? w + 0.5 : w;
  const below = Math.floor(t);
  const error = (magnitude + 1) * ERROR;
  // Not true for NaN either.
  if (!(t - below > error && below + 1 - t > error)) return undefined;
  const up = rounding === "ceil" || (rounding === "up" && w > 0) || (rounding === "down" && w < 0);
  const y = (up ? below + 1 : below) + (after ? Number(zeroPoint.num) : 0);
  return y < spec.lo ? spec.lo : y > spec.hi ? spec.hi : y;
}

/** num / den within three roundings; NaN where a double cannot hold them. */
function ratio(num: bigint, den: bigint): number {
  const d = Number(den);
  return d === Number.POSITIVE_INFINITY ? Number.NaN : Number(num) / d;
}
