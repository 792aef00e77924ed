/** Does this engine have relaxed SIMD, and what does its dot product do with a second operand above 127? */
import type { ExactOn, RelaxedDot } from "./format.ts";

/** (func (export "p") (param $w i32) (param $x i32) → lane 0 of relaxed_dot_i8x16_i7x16_add_s(splat w, splat x, 0)) */
const PROBE =
  "0061736d0100000001070160027f7f017f03020100070501017000000a240122002000fd0f2001fd0ffd0c" +
  "00000000000000000000000000000000fd9302fd1b000b";

/** dot(127, 255): 4·127·255; 4·127·(−1); 2·32767. An engine that wraps on s8s8 does so in some of its tiers only: no probe. */
const ANSWERS: { readonly [got: number]: RelaxedDot } = { 129540: "u8s8", [-508]: "s8s8", 65534: "pairs16" };

export interface Engine {
  /** Undefined where it is none of the known ones. */
  readonly dot: RelaxedDot | undefined;
  /** What dot(127, 255) gave. */
  readonly probe: number;
}

/** Undefined without relaxed SIMD. */
export function relaxedEngine(): Engine | undefined {
  const bytes = Uint8Array.from(PROBE.match(/../g)!, (h) => Number.parseInt(h, 16));
  if (!WebAssembly.validate(bytes)) return undefined;
  const run = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.p as (
    w: number,
    x: number,
  ) => number;
  const probe = run(127, 255);
  return { dot: ANSWERS[probe], probe };
}

export const isExact = (on: ExactOn | undefined, { dot }: Engine): boolean =>
  on === "any" || (dot !== undefined && (on?.includes(dot) ?? false));

/** A reason why relaxed kernels that are exact on `on` cannot run here; `undefined` if they can. */
export function relaxedRefusal(on: ExactOn | RelaxedDot, engine = relaxedEngine()): string | undefined {
  if (engine === undefined) return "this engine has no relaxed SIMD";
  const list = on === "any" || Array.isArray(on) ? (on as ExactOn) : [on as RelaxedDot];
  if (isExact(list, engine)) return undefined;
  return `this engine's relaxed dot is not ${(list as readonly string[]).map(dotText).join(" or ") || "one it is exact on"} (probe gave ${engine.probe})`;
}

const dotText = (dot: string): string =>
  dot === "pairs16" ? "saturating pairs" : `${dot.slice(0, 2)}·${dot.slice(2)}`;
