/** Errors are told apart by `name`: a page may hold several inlined runtimes, so `instanceof` would mislead. */

/** The artifact could not be loaded: missing file, wrong hash, unsupported engine. */
export interface LoadError extends Error {
  readonly name: "LoadError";
}

/** `run` was called wrongly: missing or unknown input, wrong length, wrong kind of array, disposed model. */
export interface RunError extends Error {
  readonly name: "RunError";
}

const named = <N extends string>(name: N, message: string, cause?: unknown): Error & { readonly name: N } =>
  Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { name });

export const loadError = (message: string, cause?: unknown): LoadError => named("LoadError", message, cause);
export const runError = (message: string): RunError => named("RunError", message);
