/**
 * The transforms of Winograd's F(2×2, 3×3) in integers: with d a 4×4 patch, g a 3×3 kernel and 2G for G,
 * Aᵀ[((2G) g (2G)ᵀ) ∘ (Bᵀ d B)]A is four times the 2×2 outputs. Rows first, then columns; point 4i + j is row i, column j.
 */
import { add, type Expr, load, op, scale, store } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import { GROUP_BYTES } from "./weights.ts";

/** Points of a tile. */
export const POINTS = 16;
const SIDE = [0, 1, 2, 3] as const;
const TAPS = [0, 1, 2] as const;
const VECTOR_BYTES = 16;

const plus = (a: Expr, b: Expr): Expr => op("add.i16x8", [a, b]);
const minus = (a: Expr, b: Expr): Expr => op("sub.i16x8", [a, b]);
const twice = (a: Expr): Expr => op("shl.i16x8", [a], [1]);

/** Sixteen planes of a buffer, one per point. */
export interface Planes {
  readonly buffer: string;
  /** Bytes between planes. */
  readonly bytes: number;
}

/** Bytes that keep equal places of neighbouring planes out of one set of a cache. */
const APART = 64;

/** Planes of `bytes` bytes. */
export const planesOf = (b: Block, bytes: number, hint: string): Planes => ({
  buffer: b.scratch(POINTS * (bytes + APART), hint),
  bytes: bytes + APART,
});

/** Bᵀd, row i; `at` is the patch's row. */
function patchRow(i: number, at: (row: number) => Expr): Expr {
  if (i === 0) return minus(at(0), at(2));
  if (i === 1) return plus(at(1), at(2));
  return i === 2 ? minus(at(2), at(1)) : minus(at(1), at(3));
}

/** Bᵀ d B of eight channels as i16; `at`: those of a pixel of the patch, `to`: their byte in each plane. */
export function transformPatch(
  b: Block,
  at: (row: number, column: number) => Expr,
  v: Planes,
  to: Expr,
): void {
  // Rows 1 and 2 are part of three results each.
  const kept = [1, 2].map((row) => SIDE.map((column) => b.bind(at(row, column), "d")));
  for (const i of SIDE) {
    const row = SIDE.map((column) =>
      b.bind(
        patchRow(i, (r) => kept[r - 1]?.[column] ?? at(r, column)),
        "t",
      ),
    );
    for (const j of SIDE)
      b.push(
        store(
          v.buffer,
          to,
          patchRow(j, (c) => row[c]!),
          { offset: (4 * i + j) * v.bytes },
        ),
      );
  }
}

/** Columns 0 and 1, then 2 and 3 of a vector of four K-quadruples as pairs of K: the first ones, and the last ones. */
const PAIRS = [
  [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27],
  [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31],
];

/** (2G)g, row i; `at` is the kernel's row. */
function tapRow(b: Block, i: number, at: (row: number) => Expr): Expr {
  if (i === 0) return twice(at(0));
  if (i === 3) return twice(at(2));
  const ends = b.bind(plus(at(0), at(2)), "e");
  return i === 1 ? plus(ends, at(1)) : minus(ends, at(1));
}

/** All rows of (2G)g of bound values. */
function tapRows(b: Block, [first, middle, last]: readonly [Expr, Expr, Expr]): readonly Expr[] {
  const ends = b.bind(plus(first, last), "e");
  return [twice(first), plus(ends, middle), minus(ends, middle), twice(last)];
}

/**
 * (2G) g (2G)ᵀ of a panel of eight channels: nine taps of K-groups [2][4 columns][4 k] of signed bytes from byte `from`, `depth` elements
 * each, become planes of K-groups [2][4 columns][2 k] of i16.
 */
export function transformPanel(b: Block, packed: string, from: Expr, depth: number, u: Planes): void {
  const tapBytes = (depth / 4) * GROUP_BYTES;
  b.loop(
    0,
    tapBytes,
    GROUP_BYTES,
    (q, groups) =>
      groups.loop(
        0,
        GROUP_BYTES,
        VECTOR_BYTES,
        (vector, inner) => {
          const source = inner.bind(add(add(from, q), vector), "from");
          const target = inner.bind(add(scale(q, 2), vector), "to");
          for (const i of SIDE) {
            const halves = [0, 8].map((half) => {
              const tap = (row: number, column: number): Expr =>
                load("i16x8", packed, source, (3 * row + column) * tapBytes + half, "load8x8_s");
              const row = TAPS.map((c) =>
                inner.bind(
                  tapRow(inner, i, (r) => tap(r, c)),
                  "g",
                ),
              );
              return tapRows(inner, row as [Expr, Expr, Expr]).map((v) => inner.bind(v, "u"));
            });
            for (const j of SIDE)
              PAIRS.forEach((lanes, pair) => {
                const packedPairs = op("shuffle.i16x8", [halves[0]![j]!, halves[1]![j]!], lanes);
                const offset = (4 * i + j) * u.bytes + pair * GROUP_BYTES;
                inner.push(store(u.buffer, target, packedPairs, { offset }));
              });
          }
        },
        "v",
      ),
    "q",
  );
}

/** One axis of Aᵀ M: two results of four. */
function outputs(b: Block, [m0, m1, m2, m3]: readonly Expr[]): readonly [Expr, Expr] {
  const [x1, x2] = [b.bind(m1!, "m"), b.bind(m2!, "m")];
  const sum = (a: Expr, c: Expr): Expr => op("add.i32x4", [a, c]);
  const less = (a: Expr, c: Expr): Expr => op("sub.i32x4", [a, c]);
  return [b.bind(sum(sum(m0!, x1), x2), "s"), b.bind(less(less(x1, x2), m3!), "s")];
}

/** Aᵀ M A / 4 of four channels at byte `at` of each plane: outputs (0, 0), (0, 1), (1, 0), (1, 1). */
export function outputsOf(b: Block, m: Planes, at: Expr, offset: number): readonly Expr[] {
  const point = (i: number, j: number): Expr => load("i32x4", m.buffer, at, (4 * i + j) * m.bytes + offset);
  const columns = SIDE.map((j) =>
    outputs(
      b,
      SIDE.map((i) => point(i, j)),
    ),
  );
  return [0, 1].flatMap((row) =>
    outputs(
      b,
      columns.map((c) => c[row]!),
    ).map((y) => b.bind(op("shr_s.i32x4", [y], [2]), "y")),
  );
}

/** A place along an axis whose tiles are two wide, as an address and a constant beside it. */
export interface Step {
  readonly at: Expr;
  readonly offset: number;
}

/**
 * Along an axis of `count` outputs, `step` bytes apart: where the `reach + 1` neighbours of tile `t` lie. Of an odd count the last tile
 * has one output only: its last neighbour is the one before.
 */
export function neighbours(b: Block, t: Expr, axis: Axis, step: number, reach: number): readonly Step[] {
  const first = scale(t, 2 * step);
  const inside = Array.from({ length: reach }, (_, i): Step => ({ at: first, offset: i * step }));
  if (axis.last === undefined) return [...inside, { at: first, offset: reach * step }];
  const last = b.bind(load("i32", axis.last, scale(t, 4)), "last");
  return [...inside, { at: scale(last, step), offset: (reach - 1) * step }];
}

/** `last`: of an odd count, the table of the last output of each tile. */
export interface Axis {
  readonly tiles: number;
  readonly last: string | undefined;
}

export function axisOf(b: Block, count: number): Axis {
  const tiles = Math.ceil(count / 2);
  if (count % 2 === 0) return { tiles, last: undefined };
  const table = Int32Array.from({ length: tiles }, (_, t) => Math.min(2 * t + 1, count - 1));
  return { tiles, last: b.constant(new Uint8Array(table.buffer), "last") };
}

/** Where rows × columns meet, from byte `base` on; each address is computed once. */
export function crossings(
  b: Block,
  base: Expr,
  rows: readonly Step[],
  columns: readonly Step[],
): (row: number, column: number) => { readonly addr: Expr; readonly offset: number } {
  const known = new Map<Expr, Map<Expr, Expr>>();
  return (r, c) => {
    const [row, column] = [rows[r]!, columns[c]!];
    const own = known.get(row.at) ?? new Map<Expr, Expr>();
    known.set(row.at, own);
    const addr = own.get(column.at) ?? b.bind(add(add(base, row.at), column.at), "at");
    own.set(column.at, addr);
    return { addr, offset: row.offset + column.offset };
  };
}
