/** Generated pages by path below the project root. */
export const pages: { readonly [path: string]: () => string };
