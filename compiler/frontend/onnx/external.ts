/** Locations of external data: which ones a model may name, independent of any file system. */

/**
 * A location as a normalised relative path with `/` separators, or the reason why it is refused. Stricter than any one
 * platform needs, so that a model is accepted or refused alike everywhere.
 */
export function checkLocation(
  location: string,
): { readonly ok: true; readonly path: string } | { readonly ok: false; readonly reason: string } {
  const no = (reason: string) => ({ ok: false, reason }) as const;
  if (location === "") return no("the path is empty");
  if (location.length > 4096) return no("the path is longer than 4096 characters");
  if (/\p{Cc}/u.test(location)) return no("the path contains a control character");
  if (location.startsWith("/")) return no("the path is absolute");
  if (location.includes("\\")) return no("the path contains a backslash");
  if (location.includes(":")) return no("the path contains a colon (a drive, a stream or a URL)");
  const segments = location.split("/").filter((segment) => segment !== "" && segment !== ".");
  if (segments.includes("..")) return no("the path climbs out of the model's folder (..)");
  if (segments.length === 0) return no("the path names a folder");
  if (segments.some((segment) => /[. ]$/.test(segment))) return no("a path segment ends in a dot or a space");
  return { ok: true, path: segments.join("/") };
}

/** Bytes `offset` and `length` of an external tensor: decimal, safe integers; undefined for anything else. */
export function parseByteCount(text: string): number | undefined {
  if (!/^[0-9]{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
