/** Rotary position embeddings: pairs of elements turned by the angles of their position. */
import { badOperands, unsupportedForm } from "../../../ir/messages.ts";
import { elementwise, move, named, reshape } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import {
  constantInts,
  flagAttr,
  floatAttr,
  input,
  intAttr,
  type NodeImport,
  reject,
} from "../../node-import.ts";
import type { Operand } from "../../operand.ts";

/** Elements `from`, `from + step`, … of the last axis, before `to`. */
function columns(n: NodeImport, x: Operand, from: number, to: number, step = 1): Operand {
  const axis = x.shape.length - 1;
  if (from === 0 && to === x.shape[axis] && step === 1) return x;
  return move(n, "layout.slice", [x], { starts: [from], ends: [to], steps: [step], axes: [axis] });
}

const joined = (n: NodeImport, parts: readonly Operand[]): Operand =>
  move(n, "layout.concat", parts, { axis: parts[0]!.shape.length - 1 });

/** A table's rows, one per position: [batch or 1, length, width]. */
function rowsOf(n: NodeImport, table: Operand, positions: Operand | undefined, length: number): Operand {
  const width = table.shape.at(-1)!;
  if (positions === undefined) return table;
  const given = constantInts(n, positions, "positions");
  const first = given[0] ?? 0;
  // One number is where the sequence begins.
  const whole = positions.shape.length < 2;
  const indices = whole ? Array.from({ length }, (_, i) => first + i) : given;
  if (table.shape.length !== 2 || indices.some((i) => !(i >= 0 && i < table.shape[0]!)))
    reject(badOperands(n.loc, "a position is outside the tables", []));
  const rows = move(n, "layout.gather", [table], { axis: 0, indices });
  return reshape(n, rows, [whole ? 1 : positions.shape[0]!, length, width]);
}

function rotated(
  n: NodeImport,
  { x, positions, tables }: { x: Operand; positions: Operand | undefined; tables: readonly Operand[] },
): Operand {
  const interleaved = flagAttr(n, "interleaved", false);
  const heads = intAttr(n, "num_heads", 0);
  const flat = x.shape.length === 3;
  const [batch, length] = (flat ? x.shape : [x.shape[0], x.shape[2]]) as [number, number];
  const given = intAttr(n, "rotary_embedding_dim", 0);
  if (x.shape.length !== 4 && !flat)
    reject(unsupportedForm(n.loc, `RotaryEmbedding of ${x.shape.length} axes`));
  const turned = tables.map((t) => rowsOf(n, t, positions, length));
  const half = turned[0]!.shape.at(-1)!;
  const width = given > 0 ? given : 2 * half;
  const size = !flat ? x.shape[3]! : heads > 0 ? x.shape[2]! / heads : width;
  const fits = turned.every(
    (t) =>
      t.shape.length === 3 &&
      [1, batch].includes(t.shape[0]!) &&
      t.shape[1] === length &&
      t.shape[2] === half,
  );
  if (!fits || width !== 2 * half || width > size || (flat && x.shape[2]! % size !== 0))
    reject(badOperands(n.loc, `tables of ${half} angles do not fit [${x.shape.join(", ")}]`, []));
  const split = flat ? reshape(n, x, [batch, length, x.shape[2]! / size, size]) : x;
  const [cos, sin] = turned.map((t, i) => {
    const shape = flat ? [t.shape[0]!, length, 1, half] : [t.shape[0]!, 1, length, half];
    return named(n, reshape(n, t, shape), ["cos", "sin"][i]!);
  }) as [Operand, Operand];
  const [a, b] = interleaved
    ? [columns(n, split, 0, width, 2), columns(n, split, 1, width, 2)]
    : [columns(n, split, 0, half), columns(n, split, half, width)];
  const times = (v: Operand, t: Operand): Operand => elementwise(n, "float.mul", [v, t]);
  const left = elementwise(n, "float.sub", [times(a, cos), times(b, sin)]);
  const right = elementwise(n, "float.add", [times(a, sin), times(b, cos)]);
  const shape = split.shape.slice(0, 3);
  const pairs = (v: Operand): Operand => reshape(n, v, [...shape, half, 1]);
  const turnedPart = interleaved
    ? reshape(n, joined(n, [pairs(left), pairs(right)]), [...shape, width])
    : joined(n, [left, right]);
  const rest = width < size ? [columns(n, split, width, size)] : [];
  return reshape(n, rest.length > 0 ? joined(n, [turnedPart, ...rest]) : turnedPart, x.shape);
}

export const rotaryImporters: readonly Importer[] = [
  {
    op: "RotaryEmbedding",
    since: 23,
    inputs: [3, 4],
    attributes: { interleaved: "int", num_heads: "int", rotary_embedding_dim: "int" },
    run: (n) => rotated(n, { x: input(n, 0), positions: n.inputs[3], tables: [input(n, 1), input(n, 2)] }),
  },
  {
    op: "RotaryEmbedding",
    domains: ["com.microsoft"],
    inputs: [4, 4],
    attributes: {
      interleaved: "int",
      is_packed_batching: "int",
      num_heads: "int",
      rotary_embedding_dim: "int",
      scale: "float",
    },
    run: (n) => {
      if (flagAttr(n, "is_packed_batching", false) || floatAttr(n, "scale", 1) !== 1)
        reject(unsupportedForm(n.loc, "RotaryEmbedding of packed batches, or with a scale"));
      return rotated(n, { x: input(n, 0), positions: input(n, 1), tables: [input(n, 2), input(n, 3)] });
    },
  },
];
