/**
 * Pooling the results of a convolution before they reach memory: the tiles of one window are combined in registers. Windows do
 * not overlap and are not padded, so that no result is computed twice.
 */
import { add, type Expr, konst, op, scale } from "../../ir/kernel/ir.ts";
import type { Func, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import type { IntType } from "../../ir/types.ts";
import type { Block, Mutable } from "./block.ts";
import { epilogueOf, stepsOf } from "./epilogue-stage.ts";
import { storeChannels } from "./epilogue-store.ts";
import { containerOf, denseLayout, type Layout } from "./layout.ts";
import type { Stage } from "./stage.ts";

const pools = new Set(["qc.max_pool", "qc.sum_pool", "qc.reduce_sum"]);

/** The stage up to the pool, as if its result were stored, and the pool with what follows it. */
export interface Split {
  readonly before: Stage;
  readonly pool: Op;
  readonly after: Stage;
}

export function splitAtPool(stage: Stage): Split | undefined {
  const steps = stepsOf(stage);
  const at = steps.findIndex((o, i) => i > 0 && pools.has(o.name));
  if (at < 0) return undefined;
  const pool = steps[at]!;
  const v = pool.operands[0]!;
  const part = (ops: readonly Op[], results: Func["results"]): Func => ({ ...stage.func, ops, results });
  const consts = stage.func.ops.filter((o) => o.name === "const");
  const port = stage.func.results[0]!;
  return {
    before: {
      ...stage,
      func: part([...consts, ...steps.slice(0, at)], [{ ...port, value: v }]),
      outputs: [denseLayout("", v.type, containerOf(v.type))],
    },
    pool,
    after: { ...stage, func: part([...consts, ...steps.slice(at)], stage.func.results) },
  };
}

/** How tiles of packed bytes are combined into one pooled result of eight channels. */
export interface Pooling {
  readonly y: Layout;
  readonly window: readonly [number, number];
  readonly strides: readonly [number, number];
  /** Pooled rows and pixels of an image, and bytes between them. */
  readonly rows: number;
  readonly pixels: number;
  readonly rowBytes: number;
  readonly pixelBytes: number;
  readonly start: (b: Block, channel: Expr) => readonly Mutable[];
  /** Takes in `n` pixels of eight channels, two per vector. */
  readonly take: (b: Block, state: readonly Mutable[], packed: readonly Expr[], n: number) => void;
  readonly finish: (b: Block, state: readonly Mutable[], channel: Expr) => readonly Expr[];
}

const LOW_TWICE = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7];
const SWAP = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7];

/** Rows and pixels that a pooled result combines. */
export function windowOf({ pool }: Split): readonly [number, number] {
  const [, h, w] = pool.operands[0]!.type.shape as [number, number, number, number];
  return pool.name === "qc.reduce_sum" ? [h, w] : attr<readonly [number, number]>(pool, "kernel");
}

/** Constants of the pool's epilogue are bound in `block`; `size` covers every channel a tile touches. */
export function poolingOf(split: Split, block: Block, size: number): Pooling {
  const { pool, after } = split;
  const y = after.outputs[0]!;
  const window = windowOf(split);
  const strides = pool.name === "qc.reduce_sum" ? window : attr<readonly [number, number]>(pool, "strides");
  const image = y.shape.length === 4;
  const place = {
    y,
    window,
    strides,
    rows: image ? y.shape[1]! : 1,
    pixels: image ? y.shape[2]! : 1,
    rowBytes: image ? y.strides[1]! : 0,
    pixelBytes: image ? y.strides[2]! : 0,
  };
  const sign = (pool.operands[0]!.type.elem as IntType).signed ? "s" : "u";
  return pool.name === "qc.max_pool"
    ? { ...place, ...maximum(sign) }
    : { ...place, ...sum(sign, after, block, size) };
}

const maximum = (sign: "s" | "u"): Pick<Pooling, "start" | "take" | "finish"> => ({
  start: (b) => [b.variable(konst("i8x16", sign === "s" ? -128 : 0), "most")],
  take: (b, [most], packed, n) => {
    packed.forEach((v, i) => {
      // An odd last pixel has no partner in its vector.
      const pair = 2 * i + 1 < n ? v : op("shuffle.i8x16", [v, v], LOW_TWICE);
      b.set(most!, op(`max_${sign}.i8x16`, [most!.ref, pair]));
    });
  },
  finish: (b, [most]) => {
    const m = b.bind(most!.ref, "m");
    return [op(`max_${sign}.i8x16`, [m, op("shuffle.i8x16", [m, m], SWAP)])];
  },
});

function sum(
  sign: "s" | "u",
  after: Stage,
  block: Block,
  size: number,
): Pick<Pooling, "start" | "take" | "finish"> {
  const epilogue = epilogueOf(after, block, size);
  return {
    start: (b, channel) =>
      [0, 1].map((j) => b.variable(epilogue.initial(b, channel, j) ?? konst("i32x4", 0), `sum${j}`)),
    take: (b, [low, high], packed, n) => {
      packed.forEach((v, i) => {
        const x = b.bind(v, "x");
        const first = op(`extend_low_${sign}.i16x8`, [x]);
        const both = 2 * i + 1 < n ? op("add.i16x8", [first, op(`extend_high_${sign}.i16x8`, [x])]) : first;
        const s = b.bind(both, "s");
        b.set(low!, op("add.i32x4", [low!.ref, op(`extend_low_${sign}.i32x4`, [s])]));
        b.set(high!, op("add.i32x4", [high!.ref, op(`extend_high_${sign}.i32x4`, [s])]));
      });
    },
    finish: (b, state, channel) => epilogue.emit(b, [[state.map((v) => v.ref)]], channel),
  };
}

/** Packed results of `n` pixels of the convolution, from `pixel` of `row` on. */
export type ComputeTile = (b: Block, n: number, row: Expr, pixel: Expr) => readonly Expr[];

/** All pooled pixels of eight channels, `count` of which exist; `yc`: byte of the first in the output. */
export function emitPooled(
  b: Block,
  p: Pooling,
  most: number,
  yc: Expr,
  channel: Expr,
  count: number,
  compute: ComputeTile,
): void {
  const [kh, kw] = p.window;
  const tiles = Math.ceil(kw / most);
  const n = Math.ceil(kw / tiles);
  const main = Math.floor(kw / n) * n;
  const columns = 8;
  const stored = columns - count <= (p.y.spare ?? 0) ? columns : count;
  b.loop(
    0,
    p.rows,
    1,
    (py, rows) => {
      rows.loop(
        0,
        p.pixels,
        1,
        (px, inner) => {
          const state = p.start(inner, channel);
          inner.loop(
            0,
            kh,
            1,
            (dy, window) => {
              const row = window.bind(add(scale(py, p.strides[0]), dy), "row");
              const from = window.bind(scale(px, p.strides[1]), "from");
              window.loop(
                0,
                main,
                n,
                (dx, to) => p.take(to, state, compute(to, n, row, to.bind(add(from, dx), "pixel")), n),
                "dx",
              );
              if (main < kw)
                p.take(
                  window,
                  state,
                  compute(window, kw - main, row, window.bind(add(from, main), "pixel")),
                  kw - main,
                );
            },
            "dy",
          );
          const address = inner.bind(add(add(yc, scale(py, p.rowBytes)), scale(px, p.pixelBytes)), "yp");
          const packed = p.finish(inner, state, channel);
          storeChannels(inner, p.y, packed, { rows: 1, columns, count: stored, address, rowStep: 0 });
        },
        "px",
      );
    },
    "py",
  );
}
