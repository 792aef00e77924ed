/** Telling attribute values apart. */
import type { Attr, Dense } from "../module.ts";
import type { Rational } from "../rational.ts";

export const isDense = (a: Attr): a is Dense =>
  typeof a === "object" && a !== null && "data" in a && ArrayBuffer.isView(a.data);

/** Exactly the keys `num` and `den`, both bigints, den > 0. */
export const isRational = (a: Attr): a is Rational =>
  typeof a === "object" &&
  a !== null &&
  !Array.isArray(a) &&
  Object.keys(a).length === 2 &&
  typeof (a as { num?: unknown }).num === "bigint" &&
  typeof (a as { den?: unknown }).den === "bigint" &&
  (a as Rational).den > 0n;

export const isList = (a: Attr): a is readonly Attr[] => Array.isArray(a);

/** Structural equality; numbers by `Object.is`, dense constants by value. */
export function sameAttr(a: Attr, b: Attr, sameDense: (a: Dense, b: Dense) => boolean): boolean {
  if (a === b) return !(a === 0 && !Object.is(a, b));
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return Object.is(a, b);
  if (isDense(a) || isDense(b)) return isDense(a) && isDense(b) && sameDense(a, b);
  if (isList(a) || isList(b))
    return (
      isList(a) && isList(b) && a.length === b.length && a.every((x, i) => sameAttr(x, b[i]!, sameDense))
    );
  const keys = Object.keys(a);
  const other = b as { readonly [key: string]: Attr };
  return (
    keys.length === Object.keys(b).length &&
    keys.every(
      (k) =>
        Object.hasOwn(b, k) && sameAttr((a as { readonly [key: string]: Attr })[k]!, other[k]!, sameDense),
    )
  );
}
