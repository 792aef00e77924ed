/** Shapes of graph inputs: the batch is fixed, everything else must be. */
import type { Diagnostic } from "../ir/diagnostics.ts";
import { emptyDimension, unknownDimension, unknownRank } from "../ir/messages.ts";
import type { ValueInfo } from "./onnx/model.ts";

/** Names of symbolic sizes that stand for the batch: those of axis 0 of any input. */
export function batchNames(inputs: readonly ValueInfo[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { shape } of inputs) if (typeof shape?.[0] === "string") names.add(shape[0]);
  return names;
}

/** The input's shape with the batch put in; undefined if it is not fixed, which is reported. */
export function inputShape(
  info: ValueInfo,
  batch: number,
  names: ReadonlySet<string>,
  diagnostics: Diagnostic[],
): readonly number[] | undefined {
  if (info.shape === undefined) {
    diagnostics.push(unknownRank(info.name));
    return undefined;
  }
  const shape: number[] = [];
  for (const [axis, dim] of info.shape.entries()) {
    const isBatch = typeof dim === "string" ? names.has(dim) : dim === undefined && axis === 0;
    if (typeof dim === "number") shape.push(dim);
    else if (isBatch) shape.push(batch);
    else {
      diagnostics.push(unknownDimension(info.name, info.shape, axis));
      return undefined;
    }
  }
  if (shape.some((d) => !(d > 0))) {
    diagnostics.push(emptyDimension(info.name, info.shape));
    return undefined;
  }
  return shape;
}
