/** Rows and columns around a tensor: every producer fills those of its result. */
import { add, c32, type Expr, load, scale } from "../../ir/kernel/ir.ts";
import { type Block, bytesOf } from "./block.ts";
import { storeElements } from "./epilogue-store.ts";
import { CONTAINER_BYTES, type Container, type Layout } from "./layout.ts";

/** Fills the halo of an NHWC layout or its frame, of its own channels only. Does nothing without halo. */
export function fillHalo(block: Block, { frame, ...own }: Layout): void {
  fillAround(block, frame ?? own);
}

function fillAround(block: Block, layout: Layout): void {
  const { halo } = layout;
  if (!halo) return;
  const [n, h, w, c] = layout.shape as [number, number, number, number];
  const [batch, row, pixel] = layout.strides as [number, number, number, number];
  const own = pixel === c * CONTAINER_BYTES[layout.container];
  /** `count` pixels of one row, from column `x` on. */
  const pixels = (b: Block, addr: Expr, offset: number, count: number): void => {
    if (count === 0) return;
    if (own) fillElements(b, layout, addr, offset, count * c, halo.value);
    else
      b.loop(0, count, 1, (i, inner) => {
        fillElements(inner, layout, inner.bind(add(addr, scale(i, pixel)), "h"), offset, c, halo.value);
      });
  };
  const { top, left, bottom, right } = halo;
  const joined = own && row === (left + w + right) * pixel;
  block.loop(0, n, 1, (image, b) => {
    const at = b.bind(scale(image, batch), "image");
    const first = layout.offset - left * pixel;
    const full = (from: number, rows: number): void => {
      if (joined) pixels(b, at, first + from * row, rows * (left + w + right));
      else
        b.loop(0, rows, 1, (y, inner) => {
          const start = inner.bind(add(at, scale(y, row)), "h");
          pixels(inner, start, first + from * row, left + w + right);
        });
    };
    full(-top, top);
    if (left + right > 0)
      b.loop(0, h, 1, (y, inner) => {
        const start = inner.bind(add(at, scale(y, row)), "h");
        pixels(inner, start, first, left);
        pixels(inner, start, layout.offset + w * pixel, right);
      });
    full(h, bottom);
  });
}

/** The byte that an element consists of, if they are all equal. */
function uniformByte(value: number, container: Container): number | undefined {
  const all = bytesOf([value], container === "f32" ? "f32" : "i32").subarray(0, CONTAINER_BYTES[container]);
  return all.every((b) => b === all[0]) ? all[0] : undefined;
}

/** Sets `count` consecutive elements at byte addr + offset to `value`. */
export function fillElements(
  block: Block,
  to: Pick<Layout, "buffer" | "container">,
  addr: Expr,
  offset: number,
  count: number,
  value: number,
): void {
  if (count === 0) return;
  const size = CONTAINER_BYTES[to.container];
  const byte = uniformByte(value, to.container);
  if (byte !== undefined) {
    block.push({ k: "fill", buf: to.buffer, addr, offset, byte, bytes: count * size });
    return;
  }
  const lanes = 16 / size;
  const data = bytesOf(
    new Array<number>(lanes).fill(value),
    size === 2 ? "i16" : to.container === "f32" ? "f32" : "i32",
  );
  const v = block.bind(load("i32x4", block.constant(data, "fill"), c32(0)), "fill");
  const whole = Math.floor(count / lanes) * lanes;
  block.loop(0, whole, lanes, (i, inner) => {
    storeElements(inner, to, inner.bind(add(addr, scale(i, size)), "at"), offset, [v], lanes);
  });
  if (whole < count) storeElements(block, to, addr, offset + whole * size, [v], count - whole);
}
