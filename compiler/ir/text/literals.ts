/** Literals of the text format: numbers, strings, base64. Every function here is exact both ways. */

/**
 * Shortest text of a double that reads back as the same double. A float32 value whose shortest float32 decimal is
 * shorter is printed as that decimal with suffix `f`: `0.1f` is the float32 nearest to 0.1.
 */
export function printNumber(x: number): string {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x < 0 ? "-inf" : "inf";
  if (Object.is(x, -0)) return "-0";
  const text = String(x);
  if (text.length <= 8 || Number.isInteger(x) || Math.fround(x) !== x) return text;
  for (let digits = 1; digits <= 9; digits++) {
    const short = String(Number(x.toPrecision(digits)));
    if (Math.fround(Number(short)) === x) return short.length + 1 < text.length ? `${short}f` : text;
  }
  return text;
}

/** Inverse of `printNumber` on the images of the number token. */
export function readNumber(text: string): number {
  if (text === "nan") return Number.NaN;
  if (text === "inf") return Number.POSITIVE_INFINITY;
  if (text === "-inf") return Number.NEGATIVE_INFINITY;
  return text.endsWith("f") ? Math.fround(Number(text.slice(0, -1))) : Number(text);
}

/** A JSON string in which control characters and bidirectional overrides are escaped too. */
export const printString = (s: string): string =>
  JSON.stringify(s).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

const CHUNK = 0x6000;

/** Standard base64 with padding. */
export function toBase64(bytes: Uint8Array): string {
  let out = "";
  // The chunk is a multiple of 3, so chunks join without padding.
  for (let i = 0; i < bytes.length; i += CHUNK)
    out += btoa(String.fromCharCode(...bytes.subarray(i, i + CHUNK)));
  return out;
}

/** Inverse of `toBase64`; `undefined` for malformed text. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    return undefined;
  }
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}

/** 64-bit FNV-like fingerprint in hex, for elided constants. */
export function fingerprint(bytes: Uint8Array): string {
  let a = 0x811c9dc5;
  let b = 0x01000193;
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x85ebca6b) + 0x9e3779b9;
  }
  return [a, b].map((w) => (w >>> 0).toString(16).padStart(8, "0")).join("");
}
