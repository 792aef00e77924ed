/**
 * The right operand of a product, packed into panels while the kernel runs: [N / 8][K / group][2][4 columns][group], four bytes
 * per column and K-group – four bytes, or two i16. Elements past K are zero, columns past N hold anything.
 */
import { add, c32, type Expr, konst, type LoadOp, load, op, scale, store } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import { CONTAINER_BYTES, type Container } from "./layout.ts";

/** Columns of a panel, and bytes of one of its K-groups. */
export const PANEL = 8;
export const GROUP_BYTES = 32;
const VECTOR_BYTES = 16;

/** `byte`: packed as they lie in memory; `pair`: widened to i16. */
export type Form = "byte" | "pair";

/** Elements of a K-group, and elements that fill a vector. */
export const groupSize = (form: Form): number => (form === "byte" ? 4 : 2);
const lanes = (form: Form): number => (form === "byte" ? 16 : 8);

/** Bytes of a panel: whole vectors of K. */
export const panelBytes = (form: Form, k: number): number =>
  Math.ceil(k / lanes(form)) * (lanes(form) / groupSize(form)) * GROUP_BYTES;

/** Bytes of all panels of `n` columns, an even number of them. */
export const packedBytes = (form: Form, k: number, n: number): number =>
  2 * Math.ceil(n / (2 * PANEL)) * panelBytes(form, k);

/**
 * Vectors made in registers. Unlike constants in memory they may differ between the modules of one artifact, which
 * multiply in different forms.
 */
export interface Held {
  readonly splat: (value: number, type: "i8x16" | "i16x8" | "i32x4") => Expr;
  /** Sixteen bytes as i8x16, or as i16x8. */
  readonly vector: (bytes: readonly number[], type: "i8x16" | "i16x8") => Expr;
}

/** `block` encloses every use, outside of the loops. */
export function heldIn(block: Block): Held {
  const known = new Map<string, Expr>();
  const once = (key: string, make: () => Expr): Expr => {
    const made = known.get(key) ?? block.bind(make(), "h");
    known.set(key, made);
    return made;
  };
  return {
    splat: (value, type) => once(`${type} ${value}`, () => op(`splat.${type}`, [c32(value)])),
    vector: (bytes, type) =>
      once(`${type} ${bytes.join()}`, () => {
        const pairs = bytes.flatMap((x, i) =>
          i % 2 === 0 ? [((x | (bytes[i + 1]! << 8)) << 16) >> 16] : [],
        );
        const signed = bytes.map((x) => (x << 24) >> 24);
        return konst(type, type === "i8x16" ? signed : pairs);
      }),
  };
}

/** Rows of elements in memory, `stride` bytes apart, from which `zero` is taken. */
export interface Rows {
  readonly buffer: string;
  readonly container: Container;
  readonly offset: number;
  readonly stride: number;
  readonly zero: number;
}

const WIDENING: { readonly [c in Container]?: LoadOp } = {
  u8: "load8x8_u",
  i8: "load8x8_s",
  i16: "load",
  u16: "load",
};

/** A vector of consecutive elements less the zero point, modulo the lane. May read up to 15 bytes past them. */
export function loadLanes(b: Block, form: Form, rows: Rows, addr: Expr, offset: number, held: Held): Expr {
  const type = form === "byte" ? "i8x16" : "i16x8";
  const from = rows.offset + offset;
  const raw = load(type, rows.buffer, addr, from, form === "byte" ? "load" : WIDENING[rows.container]!);
  const same = form === "byte" ? (rows.zero & 255) === 0 : rows.zero === 0;
  return b.bind(same ? raw : op(`sub.${type}`, [raw, held.splat(rows.zero, type)]), "x");
}

const units = (bytes: number, order: readonly number[]): number[] =>
  order.flatMap((u) => Array.from({ length: bytes }, (_, i) => u * bytes + i));

function shuffled(b: Block, x: Expr, y: Expr, bytes: number, order: readonly number[]): Expr {
  const name = x.type === "i8x16" ? "shuffle.i8x16" : "shuffle.i16x8";
  return b.bind(op(name, [x, y], units(bytes, order)), "x");
}

/** Four vectors of four units to four vectors of the units at one place. */
function transposed(b: Block, [r0, r1, r2, r3]: readonly [Expr, Expr, Expr, Expr]): Expr[] {
  const low = [0, 4, 1, 5];
  const high = [2, 6, 3, 7];
  const [t0, t1] = [low, high].map((o) => shuffled(b, r0, r1, 4, o)) as [Expr, Expr];
  const [t2, t3] = [low, high].map((o) => shuffled(b, r2, r3, 4, o)) as [Expr, Expr];
  return [
    shuffled(b, t0, t2, 8, [0, 2]),
    shuffled(b, t0, t2, 8, [1, 3]),
    shuffled(b, t1, t3, 8, [0, 2]),
    shuffled(b, t1, t3, 8, [1, 3]),
  ];
}

export interface Packing {
  readonly form: Form;
  readonly k: number;
  readonly n: number;
  /** Whether a row in memory is a column of the matrix: n rows of k elements, otherwise k rows of n. */
  readonly byColumn: boolean;
  readonly rows: Rows;
  readonly held: Held;
}

/** Fills the panels at `to` from the matrix at `from`, both i32 addresses. */
export function packPanels(b: Block, p: Packing, from: Expr, buffer: string): void {
  if (p.byColumn) packColumns(b, p, from, buffer);
  else packRows(b, p, from, buffer);
}

/** Zeroes all but the first `count` elements of a vector. */
export function head(b: Block, { form, held }: Packing, x: Expr, count: number): Expr {
  const bytes = (count * VECTOR_BYTES) / lanes(form);
  const type = form === "byte" ? "i8x16" : "i16x8";
  const mask = held.vector(
    Array.from({ length: VECTOR_BYTES }, (_, i) => (i < bytes ? 255 : 0)),
    type,
  );
  return b.bind(op(`and.${type}`, [x, mask]), "x");
}

function packColumns(block: Block, p: Packing, from: Expr, buffer: string): void {
  const { rows, k, n, form, held } = p;
  const step = lanes(form);
  const e = CONTAINER_BYTES[rows.container];
  const size = panelBytes(form, k);
  const panel = (b: Block, index: Expr, count: number): void => {
    const source = b.bind(add(from, scale(index, PANEL * rows.stride)), "from");
    const target = b.bind(scale(index, size), "to");
    const chunk = (inner: Block, x: Expr, to: Expr, elements: number): void => {
      const columns: Expr[] = [];
      for (let c = 0; c < count; c++) {
        const v = loadLanes(inner, form, rows, x, c * rows.stride, held);
        columns.push(elements < step ? head(inner, p, v, elements) : v);
      }
      while (columns.length < PANEL) columns.push(columns[0]!);
      [columns.slice(0, 4), columns.slice(4)].forEach((four, half) => {
        transposed(inner, four as [Expr, Expr, Expr, Expr]).forEach((v, g) => {
          inner.push(store(buffer, to, v, { offset: g * GROUP_BYTES + half * VECTOR_BYTES }));
        });
      });
    };
    const whole = Math.floor(k / step) * step;
    b.loop(0, whole, step, (i, inner) => {
      const x = inner.bind(add(source, scale(i, e)), "from");
      chunk(inner, x, inner.bind(add(target, scale(i, GROUP_BYTES / groupSize(form))), "to"), step);
    });
    if (whole < k)
      chunk(
        b,
        b.bind(add(source, whole * e), "from"),
        b.bind(add(target, (whole * GROUP_BYTES) / groupSize(form)), "to"),
        k - whole,
      );
  };
  const full = Math.floor(n / PANEL);
  block.loop(0, full, 1, (i, b) => panel(b, i, PANEL), "panel");
  if (full * PANEL < n) panel(block, c32(full), n - full * PANEL);
}

/** The elements of two vectors in turn: of their first halves, or of their last. */
function interleaved(b: Block, x: Expr, y: Expr, bytes: number, last: boolean): Expr {
  const n = VECTOR_BYTES / bytes;
  const first = last ? n / 2 : 0;
  const order = Array.from({ length: n / 2 }, (_, i) => [first + i, n + first + i]).flat();
  return shuffled(b, x, y, bytes, order);
}

function packRows(block: Block, p: Packing, from: Expr, buffer: string): void {
  const { rows, k, n, form, held } = p;
  const width = lanes(form);
  const each = groupSize(form);
  const size = panelBytes(form, k);
  const zero = konst(form === "byte" ? "i8x16" : "i16x8", 0);
  /** `width` columns of one K-group. */
  const group = (b: Block, x: Expr, to: Expr, count: number): void => {
    const at = Array.from({ length: each }, (_, i) =>
      i < count ? loadLanes(b, form, rows, x, i * rows.stride, held) : zero,
    );
    const put = (v: Expr, offset: number): void => b.push(store(buffer, to, v, { offset }));
    if (form === "pair") {
      [false, true].forEach((last, half) => {
        put(interleaved(b, at[0]!, at[1]!, 2, last), half * VECTOR_BYTES);
      });
      return;
    }
    [false, true].forEach((last, panel) => {
      const front = interleaved(b, at[0]!, at[1]!, 1, last);
      const back = interleaved(b, at[2]!, at[3]!, 1, last);
      [false, true].forEach((end, half) => {
        put(interleaved(b, front, back, 2, end), panel * size + half * VECTOR_BYTES);
      });
    });
  };
  block.loop(
    0,
    Math.ceil(n / width),
    1,
    (q, b) => {
      const source = b.bind(add(from, scale(q, width * CONTAINER_BYTES[rows.container])), "from");
      const target = b.bind(scale(q, (width / PANEL) * size), "to");
      const whole = Math.floor(k / each);
      b.loop(0, whole, 1, (g, inner) => {
        const x = inner.bind(add(source, scale(g, each * rows.stride)), "from");
        group(inner, x, inner.bind(add(target, scale(g, GROUP_BYTES)), "to"), each);
      });
      if (whole * each < k)
        group(
          b,
          b.bind(add(source, whole * each * rows.stride), "from"),
          b.bind(add(target, whole * GROUP_BYTES), "to"),
          k - whole * each,
        );
    },
    "q",
  );
}
