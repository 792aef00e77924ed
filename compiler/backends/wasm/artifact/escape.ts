/** Untrusted text in generated sources. Only string literals carry it; comments and identifiers never do. */

/**
 * JSON that is safe inside JavaScript and TypeScript sources, also when a page inlines them: `<`, `>`, line separators,
 * bidirectional controls and other invisible characters are escaped. Strings are the only place where they can occur.
 */
export const sourceJson = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[<>\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** The part of a relative URL that names this file. */
export const urlPart = (fileName: string): string => encodeURIComponent(fileName);
