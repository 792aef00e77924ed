/** Resize and Upsample, with exact coordinates. */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { floatOf, floatsOf, intOf, intsOf, stringOf } from "./attributes.ts";
import { gatherBy } from "./gather.ts";
import { cubic, interpolateAxis, LINEAR } from "./interpolate.ts";
import { normalizeAxis, numbersOf } from "./move.ts";
import {
  add,
  divide,
  floor,
  fromNumber,
  multiply,
  type Rational,
  rational,
  subtract,
  toNumber,
} from "./rational.ts";
import { type Tensor, toReal } from "./tensor.ts";

const HALF = rational(1n, 2n);
const whole = (n: number): Rational => rational(BigInt(n));

/** Position in the input of output index `i`. */
function source(mode: string, i: number, scale: Rational, from: number, to: number): Rational {
  const centred = () => subtract(divide(add(whole(i), HALF), scale), HALF);
  switch (mode) {
    case "asymmetric":
      return divide(whole(i), scale);
    case "half_pixel":
      return centred();
    case "pytorch_half_pixel":
      return to > 1 ? centred() : rational(0n);
    case "align_corners":
      return to > 1 ? rational(BigInt(i * (from - 1)), BigInt(to - 1)) : rational(0n);
    case "half_pixel_symmetric": {
      const adjustment = divide(whole(to), multiply(scale, whole(from)));
      const offset = multiply(rational(BigInt(from), 2n), subtract(rational(1n), adjustment));
      return add(offset, centred());
    }
    default:
      throw new Error(`Resize with ${mode} is not covered`);
  }
}

function nearest(mode: string, at: Rational): number {
  const below = Number(floor(at));
  const fraction = subtract(at, whole(below));
  const twice = 2n * fraction.num;
  switch (mode) {
    case "floor":
      return below;
    case "ceil":
      return fraction.num === 0n ? below : below + 1;
    case "round_prefer_floor":
      return twice <= fraction.den ? below : below + 1;
    case "round_prefer_ceil":
      return twice < fraction.den ? below : below + 1;
    default:
      throw new Error(`Resize with ${mode} is not covered`);
  }
}

export function resize(node: OnnxNode, inputs: readonly (Tensor | undefined)[], opset: number): Tensor {
  const x = inputs[0]!;
  const rank = x.shape.length;
  const method = stringOf(node, "mode") ?? "nearest";
  if (method !== "nearest" && method !== "linear" && method !== "cubic")
    throw new Error(`Resize by ${method} is not covered`);
  if ((stringOf(node, "keep_aspect_ratio_policy") ?? "stretch") !== "stretch")
    throw new Error("Resize that keeps the aspect ratio is not covered");
  const old = node.op === "Upsample" || opset < 11;
  const transform = old ? "asymmetric" : (stringOf(node, "coordinate_transformation_mode") ?? "half_pixel");
  const rounding = old ? "floor" : (stringOf(node, "nearest_mode") ?? "round_prefer_floor");
  const axes = intsOf(node, "axes")?.map((axis) => normalizeAxis(axis, rank)) ?? x.shape.map((_, d) => d);
  const scaleInput = inputs[old ? 1 : 2];
  const given = scaleInput === undefined ? floatsOf(node, "scales") : numbersOf(scaleInput);
  const sizes = inputs[3] === undefined ? undefined : numbersOf(inputs[3]);
  const axisScale = (d: number): { readonly scale: Rational; readonly to: number } | undefined => {
    const at = axes.indexOf(d);
    if (at < 0) return undefined;
    const dim = whole(x.shape[d]!);
    if (!given?.length) return { scale: divide(whole(sizes![at]!), dim), to: sizes![at]! };
    const scale = fromNumber(given[at]!);
    return { scale, to: Number(floor(multiply(scale, dim))) };
  };
  if (method !== "nearest") {
    if (x.kind === "approx") throw new Error("Resize of irrational numbers is not covered");
    if (intOf(node, "antialias") === 1) throw new Error("Resize with antialias is not covered");
    const profile = method === "linear" ? LINEAR : cubic(fromNumber(floatOf(node, "cubic_coeff_a") ?? -0.75));
    const exclude = intOf(node, "exclude_outside") === 1;
    return x.shape.reduce((y, from, d) => {
      const a = axisScale(d);
      if (a === undefined) return y;
      const to = a.to;
      // The standard divides by the size before rounding, runtimes by the size.
      if (transform === "align_corners" && Math.abs(toNumber(a.scale) * from - to) > 1e-3)
        throw new Error("Resize with align_corners to a rounded size is not covered");
      // A ratio of sizes that was rounded to float32 means the ratio.
      const rounded = Math.abs(toNumber(a.scale) * from - to) <= to * 2 ** -22;
      const scale = rounded ? divide(whole(to), whole(from)) : a.scale;
      const positions = Array.from({ length: to }, (_, i) => source(transform, i, scale, from, to));
      return interpolateAxis(y, d, positions, profile, exclude);
    }, toReal(x));
  }
  const shape = [...x.shape];
  const picks = x.shape.map((dim, d): number[] => {
    const a = axisScale(d);
    if (a === undefined) return Array.from({ length: dim }, (_, i) => i);
    const { scale, to } = a;
    shape[d] = to;
    return Array.from({ length: to }, (_, i) => {
      const pick = nearest(rounding, source(transform, i, scale, dim, to));
      return Math.min(Math.max(pick, 0), dim - 1);
    });
  });
  return gatherBy(x, shape, (at) => at.map((c, d) => picks[d]![c]!));
}
