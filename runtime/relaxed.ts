/** Does this engine have relaxed SIMD, and what does its dot product do with a second operand above 127? */

/** (func (export "p") (param $w i32) (param $x i32) → lane 0 of relaxed_dot_i8x16_i7x16_add_s(splat w, splat x, 0)) */
const PROBE =
  "0061736d0100000001070160027f7f017f03020100070501017000000a240122002000fd0f2001fd0ffd0c" +
  "00000000000000000000000000000000fd9302fd1b000b";

/** 4·127·255, the dot product with x unsigned; −508 where the engine takes it as signed, 65534 where it saturates pairs. */
const U8S8 = 129540;

/** A reason why relaxed kernels that need `dot` cannot run here; `undefined` if they can. */
export function relaxedRefusal(dot: "any" | "u8s8"): string | undefined {
  const bytes = Uint8Array.from(PROBE.match(/../g)!, (h) => Number.parseInt(h, 16));
  if (!WebAssembly.validate(bytes)) return "this engine has no relaxed SIMD";
  if (dot === "any") return undefined;
  const probe = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.p as (
    w: number,
    x: number,
  ) => number;
  const got = probe(127, 255);
  return got === U8S8 ? undefined : `this engine's relaxed dot is not u8·s8 (probe gave ${got})`;
}
