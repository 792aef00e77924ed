/** Floats of 4 to 16 bits, each exactly representable as a float32. */

interface Format {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  /**
   * What the top codes mean. `ieee`: exponent all ones is infinity or NaN. `fn`: all ones is the only NaN, no infinity.
   * `fnuz`: the code of negative zero is the only NaN. `finite`: neither.
   */
  readonly special: "ieee" | "fn" | "fnuz" | "finite";
}

/** Open Compute Project (OCP) 8-bit and microscaling formats, and the `fnuz` variants of Graphcore and AMD. */
export const FORMATS = {
  float16: { exponentBits: 5, mantissaBits: 10, bias: 15, special: "ieee" },
  bfloat16: { exponentBits: 8, mantissaBits: 7, bias: 127, special: "ieee" },
  float8e4m3fn: { exponentBits: 4, mantissaBits: 3, bias: 7, special: "fn" },
  float8e4m3fnuz: { exponentBits: 4, mantissaBits: 3, bias: 8, special: "fnuz" },
  float8e5m2: { exponentBits: 5, mantissaBits: 2, bias: 15, special: "ieee" },
  float8e5m2fnuz: { exponentBits: 5, mantissaBits: 2, bias: 16, special: "fnuz" },
  float6e2m3: { exponentBits: 2, mantissaBits: 3, bias: 1, special: "finite" },
  float6e3m2: { exponentBits: 3, mantissaBits: 2, bias: 3, special: "finite" },
  float4e2m1: { exponentBits: 2, mantissaBits: 1, bias: 1, special: "finite" },
} as const satisfies Record<string, Format>;

export function decodeMinifloat(format: Format, code: number): number {
  const { exponentBits, mantissaBits, bias, special } = format;
  const mantissaMask = (1 << mantissaBits) - 1;
  const exponentMask = (1 << exponentBits) - 1;
  const mantissa = code & mantissaMask;
  const exponent = (code >> mantissaBits) & exponentMask;
  const sign = (code >> (mantissaBits + exponentBits)) & 1 ? -1 : 1;
  if (special === "ieee" && exponent === exponentMask)
    return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (special === "fn" && exponent === exponentMask && mantissa === mantissaMask) return Number.NaN;
  if (special === "fnuz" && sign < 0 && exponent === 0 && mantissa === 0) return Number.NaN;
  return exponent === 0
    ? sign * mantissa * 2 ** (1 - bias - mantissaBits)
    : sign * (mantissa + mantissaMask + 1) * 2 ** (exponent - bias - mantissaBits);
}

/** Power of two without sign or zero; code 255 is NaN. */
export const decodeE8M0 = (code: number): number => (code === 255 ? Number.NaN : 2 ** (code - 127));
