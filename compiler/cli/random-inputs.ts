/** Seeded inputs for `qc verify`: on the input's grid, and the extremes. */
import { carrierOf, rawDtype, type TensorData } from "../../runtime/elements.ts";
import type { PortLayout } from "../../runtime/format.ts";
import type { Tensors } from "./tensors.ts";

/** mulberry32: uniform on [0, 1) in steps of 2^-32. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Least and greatest grid point of an input and the number a grid point stands for. */
function grid(port: PortLayout): { lo: number; hi: number; value: (q: number) => number } {
  const slot = port.slots[0]!;
  const b = slot.boundary;
  if (b.kind === "quantize")
    return { lo: b.lo, hi: b.hi, value: (q) => Math.fround((q - b.zeroPoint) * b.scale) };
  if (b.kind === "thresholds") {
    const [first = 0] = b.thresholds;
    const below = first - Math.max(1, Math.abs(first));
    return { lo: b.lo, hi: b.hi, value: (q) => b.sign * (b.thresholds[q - b.lo - 1] ?? below) };
  }
  const own = carrierOf(rawDtype(slot));
  const declared = carrierOf(port.dtype);
  return { lo: Math.max(own.lo, declared.lo), hi: Math.min(own.hi, declared.hi), value: (q) => q };
}

function fill(port: PortLayout, q: (i: number, lo: number, hi: number) => number): TensorData {
  const { lo, hi, value } = grid(port);
  const count = port.shape.reduce((a, b) => a * b, 1);
  const { array } = carrierOf(port.dtype);
  const big = array.name.startsWith("Big");
  const out = new array(count) as { [i: number]: number | bigint } & TensorData;
  for (let i = 0; i < count; i++) {
    const x = value(q(i, lo, hi));
    out[i] = big ? BigInt(x) : x;
  }
  return out;
}

/** All at the least value, all at the greatest, alternating, then `samples` uniform ones. */
export function randomInputs(
  ports: readonly PortLayout[],
  samples: number,
  seed: number,
): readonly Tensors[] {
  const next = random(seed);
  const all = (q: (i: number, lo: number, hi: number) => number): Tensors =>
    new Map(ports.map((p) => [p.name, fill(p, q)]));
  return [
    all((_, lo) => lo),
    all((_, __, hi) => hi),
    all((i, lo, hi) => (i % 2 === 0 ? lo : hi)),
    ...Array.from({ length: samples }, () => all((_, lo, hi) => lo + Math.floor(next() * (hi - lo + 1)))),
  ];
}
