/** Constants of an epilogue: splats bound outside of all loops, or vectors loaded by channel. */
import { c32, type Expr, load, scale } from "../../ir/kernel/ir.ts";
import { type Block, bytesOf } from "./block.ts";

/** How channels meet lanes: `lanes`: lane i of group j is channel + 4j + i; `row`: all lanes are the one channel. */
export type ChannelAxis = "lanes" | "row";

/** One place in the kernel where constants are read: each is read once there and shared by all rows. */
export interface Site {
  readonly block: Block;
  /** Byte offset of the first channel in a table of `bytes` per channel. */
  readonly at: (bytes: 2 | 4 | 8) => Expr;
  readonly cached: (key: string, make: () => Expr) => Expr;
}

export function siteAt(block: Block, channel: Expr): Site {
  const seen = new Map<string, Expr>();
  const cached = (key: string, make: () => Expr): Expr => {
    const known = seen.get(key);
    if (known) return known;
    const made = make();
    seen.set(key, made);
    return made;
  };
  return {
    block,
    at: (bytes) => cached(`at ${bytes}`, () => block.bind(scale(channel, bytes), "ch")),
    cached,
  };
}

/** The constant of group `j` (four channels); for 64-bit tables `half` chooses its first or last two. */
export type Constant = (site: Site, j: number, half?: 0 | 1) => Expr;

export interface ConstantPool {
  /** All lanes hold `value`. */
  readonly splat: (value: number, type?: "i32x4" | "i16x8" | "i8x16") => Expr;
  /** One i32 per channel. */
  readonly table32: (values: readonly number[], hint: string) => Constant;
  /** One i16 per channel, as the `i16x8` of groups j and j + 1. */
  readonly table16: (values: readonly number[], hint: string) => Constant;
  /** One i64 per channel, as `i64x2` halves. */
  readonly table64: (values: readonly bigint[], hint: string) => Constant;
}

const WIDTH = {
  i16x8: { bytes: 2, splatted: "load16_splat" },
  i32x4: { bytes: 4, splatted: "load32_splat" },
  i64x2: { bytes: 8, splatted: "load64_splat" },
} as const;

export const uniform = <T>(values: readonly T[]): boolean => values.every((v) => v === values[0]);

/** Constants in memory; splats are bound in `block`, the same value once. Tables are zero up to a multiple of `pad` channels. */
export function constantPool(block: Block, channels: number, pad: number, axis: ChannelAxis): ConstantPool {
  const bound = new Map<string, Expr>();
  const bind = (key: string, make: () => Expr): Expr => {
    const known = bound.get(key);
    if (known) return known;
    const made = block.bind(make(), "k");
    bound.set(key, made);
    return made;
  };
  const size = Math.ceil(channels / pad) * pad;
  const padded = (values: readonly number[]): number[] =>
    Array.from({ length: size }, (_, c) => values[c] ?? 0);
  const byChannel = (type: keyof typeof WIDTH, buffer: string, hint: string): Constant => {
    const { bytes, splatted } = WIDTH[type];
    const read = (site: Site, offset: number): Expr =>
      axis === "row"
        ? load(type, buffer, site.at(bytes), 0, splatted)
        : load(type, buffer, site.at(bytes), offset);
    return (site, j, half = 0) => {
      const offset = axis === "row" ? 0 : j * 4 * bytes + half * 16;
      return site.cached(`${buffer} ${offset}`, () => site.block.bind(read(site, offset), hint));
    };
  };
  const splat: ConstantPool["splat"] = (value, type = "i32x4") =>
    bind(`${type} ${value}`, () => {
      const [element, lanes] = { i32x4: ["i32", 4], i16x8: ["i16", 8], i8x16: ["i8", 16] }[type] as [
        "i32" | "i16" | "i8",
        number,
      ];
      const data = bytesOf(new Array<number>(lanes).fill(value), element);
      return load(type, block.constant(data, "splat"), c32(0));
    });
  return {
    splat,
    table32: (values, hint) => {
      if (uniform(values)) {
        const all = splat(values[0] ?? 0);
        return () => all;
      }
      return byChannel("i32x4", block.constant(bytesOf(padded(values), "i32"), hint), hint);
    },
    table16: (values, hint) => {
      if (uniform(values)) {
        const all = splat(values[0] ?? 0, "i16x8");
        return () => all;
      }
      return byChannel("i16x8", block.constant(bytesOf(padded(values), "i16"), hint), hint);
    },
    table64: (values, hint) => {
      if (uniform(values)) {
        const all = bind(`i64x2 ${values[0]}`, () =>
          load("i64x2", block.constant(bytes64([values[0]!, values[0]!]), "splat"), c32(0)),
        );
        return () => all;
      }
      const data = bytes64(Array.from({ length: size }, (_, c) => values[c] ?? 0n));
      return byChannel("i64x2", block.constant(data, hint), hint);
    },
  };
}

function bytes64(values: readonly bigint[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 8));
  values.forEach((v, i) => {
    view.setBigInt64(i * 8, BigInt.asIntN(64, v), true);
  });
  return new Uint8Array(view.buffer);
}
