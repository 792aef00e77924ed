/** One graph of the differential test, and the beginnings and ends they share. */
import { type GraphBuilder, graphBuilder } from "./builder.ts";

export interface GraphCase {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly batch?: number;
  /** Codes of the errors it gives, where exact integers are impossible or not yet made. */
  readonly errors?: readonly string[];
  /** Products of whole bytes: relaxed modules run only where pairs of them do not saturate. */
  readonly saturates?: boolean;
}

export const S = 0.05;
export const many = (n: number, f: (i: number) => number): number[] =>
  Array.from({ length: n }, (_, i) => f(i));

interface Options {
  readonly opset?: number;
  readonly batch?: number;
  readonly errors?: readonly string[];
  readonly saturates?: boolean;
}

/** `build` returns the outputs. */
export const graphCase = (
  name: string,
  build: (g: GraphBuilder) => readonly string[],
  { opset = 21, batch, errors, saturates }: Options = {},
): GraphCase => {
  const g = graphBuilder();
  const outputs = build(g);
  return {
    name,
    bytes: g.finish(outputs, opset),
    ...(batch === undefined ? {} : { batch }),
    ...(errors === undefined ? {} : { errors }),
    ...(saturates === undefined ? {} : { saturates }),
  };
};

type Shape = readonly number[];
export const image: Shape = [1, 4, 6, 6];
export const x = (g: GraphBuilder, shape: Shape = image, scale = 0.1, zero = 128) =>
  g.dq(g.input(shape), scale, zero);
export const y = (g: GraphBuilder, t: string, scale = 0.07, zero = 100) => [g.q(t, scale, zero)];
export const f = (g: GraphBuilder, v: number) => g.floats([], v);
export const pool = (g: GraphBuilder, op: string, t: string, attributes = {}) =>
  g.op(op, [t], { kernel_shape: [3, 3], strides: [2, 2], ...attributes });
