/** `stem.json`. */

/** JSON with one member per line; lists of plain values stay on their line, so long certificates remain readable. */
export function manifestJson(value: unknown, indent = ""): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.every(isFlat)) return JSON.stringify(value);
    return `[\n${value.map((v) => inner + manifestJson(v, inner)).join(",\n")}\n${indent}]`;
  }
  const entries = Object.entries(value).filter(([, v]) => v !== undefined);
  if (entries.length === 0) return "{}";
  const lines = entries.map(([k, v]) => `${inner}${JSON.stringify(k)}: ${manifestJson(v, inner)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

const isFlat = (v: unknown): boolean =>
  v === null ||
  typeof v !== "object" ||
  (Array.isArray(v) && v.every((x) => x === null || typeof x !== "object"));

/** SHA-256 in lower-case hex. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, "0")).join("");
}
