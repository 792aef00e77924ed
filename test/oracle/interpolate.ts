/** Linear and cubic interpolation, with exact positions and weights. */
import { gather, stridesOf } from "./gather.ts";
import { addReals, multiplyReals } from "./linear.ts";
import {
  add,
  divide,
  floor,
  gcd,
  multiply,
  ONE,
  type Rational,
  rational,
  subtract,
  ZERO,
} from "./rational.ts";
import { makeTerm, type RealTensor, reals, sizeOf } from "./tensor.ts";

/** Weight of the element at `distance` from a position. */
export type Profile = { readonly reach: number; readonly weight: (distance: Rational) => Rational };

const magnitude = (a: Rational): Rational => (a.num < 0n ? subtract(ZERO, a) : a);

/** A triangle. */
export const LINEAR: Profile = {
  reach: 1,
  weight: (d) => {
    const w = subtract(ONE, magnitude(d));
    return w.num > 0n ? w : ZERO;
  },
};

/** Keys 1981: (a + 2)|d|³ − (a + 3)|d|² + 1 up to 1, a|d|³ − 5a|d|² + 8a|d| − 4a up to 2. */
export const cubic = (a: Rational): Profile => ({
  reach: 2,
  weight: (signed) => {
    const d = magnitude(signed);
    const square = multiply(d, d);
    const cube = multiply(square, d);
    const times = (n: bigint, x: Rational): Rational => multiply(multiply(rational(n), a), x);
    if (d.num <= d.den)
      return add(subtract(multiply(add(a, rational(2n)), cube), multiply(add(a, rational(3n)), square)), ONE);
    if (d.num >= 2n * d.den) return ZERO;
    return subtract(add(subtract(times(1n, cube), times(5n, square)), times(8n, d)), times(4n, ONE));
  },
});

/** x along one axis at `positions`; beyond the ends the elements there go on, or weigh nothing where `exclude`. */
export function interpolateAxis(
  x: RealTensor,
  axis: number,
  positions: readonly Rational[],
  { reach, weight }: Profile,
  exclude: boolean,
): RealTensor {
  const from = x.shape[axis]!;
  const shape = x.shape.map((d, i) => (i === axis ? positions.length : d));
  const strides = stridesOf(x.shape);
  const size = sizeOf(shape);
  const inner = strides[axis]!;
  const at = (flat: number): number => Math.floor(flat / inner) % positions.length;
  let sum: RealTensor | undefined;
  const totals = positions.map((p) => {
    let total = ZERO;
    for (let k = 1 - reach; k <= reach; k++) {
      const index = Number(floor(p)) + k;
      if (!exclude || (index >= 0 && index < from))
        total = add(total, weight(subtract(p, rational(BigInt(index)))));
    }
    return total;
  });
  for (let k = 1 - reach; k <= reach; k++) {
    const indices = positions.map((p) => Number(floor(p)) + k);
    const weights = positions.map((p, i) =>
      exclude && (indices[i]! < 0 || indices[i]! >= from)
        ? ZERO
        : divide(weight(subtract(p, rational(BigInt(indices[i]!)))), totals[i]!),
    );
    const den = weights.reduce((d, w) => (d / gcd(d, w.den)) * w.den, 1n);
    const source = new Int32Array(size);
    const num = new Float64Array(size);
    for (let flat = 0; flat < size; flat++) {
      const i = at(flat);
      const row = Math.floor(flat / inner / positions.length) * from;
      source[flat] = (row + Math.min(Math.max(indices[i]!, 0), from - 1)) * inner + (flat % inner);
      num[flat] = Number((weights[i]!.num * den) / weights[i]!.den);
    }
    const factor = reals(shape, [makeTerm(num, [rational(1n, den)], undefined)]);
    const term = multiplyReals(gather(x, source, shape), factor);
    sum = sum === undefined ? term : addReals(sum, term);
  }
  return sum!;
}
