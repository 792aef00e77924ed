/** Seeded damage to ONNX files: to their bytes, and to the fields they consist of. */
import { encodeTree, type Field, type Place, parseTree, places } from "./wire-tree.ts";

/** Uniform on [0, 1). */
export type Random = () => number;

/** An element of a list that is not empty. */
const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
const below = (random: Random, n: number): number => Math.floor(random() * n);

const FLOATS = [0, -0, 1, -1, 0.5, 2, 3, 1 / 3, 255, 1e-45, 1e-38, 1.18e-38, 3.4e38, 2 ** -20, 2 ** 20];
const ODD_FLOATS = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
const INTS = [0n, 1n, 2n, 3n, 4n, 5n, 7n, 8n, 9n, 16n, 17n, 64n, 127n, 128n, 255n, 1000n, 65_535n, 65_536n];
const ODD_INTS = [
  -1n,
  -2n,
  -128n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];

type Bytes = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;
type Tree = (all: readonly Place[], random: Random) => void;

const bytesMutations: Readonly<Record<string, Bytes>> = {
  "bit flips": (bytes, random) => {
    const out = bytes.slice();
    for (let n = 1 + below(random, 4); n > 0; n--) out[below(random, out.length)]! ^= 1 << below(random, 8);
    return out;
  },
  "flip near the end": (bytes, random) => {
    const out = bytes.slice();
    out[out.length - 1 - below(random, Math.min(600, out.length))]! ^= 1 << below(random, 8);
    return out;
  },
  truncation: (bytes, random) => bytes.slice(0, below(random, bytes.length)),
  "bytes overwritten": (bytes, random) => {
    const out = bytes.slice();
    const at = below(random, out.length);
    for (let i = at; i < Math.min(out.length, at + 1 + below(random, 8)); i++) out[i] = below(random, 256);
    return out;
  },
  "piece of another file": (bytes, random, other) => {
    const from = below(random, other.length);
    const piece = other.subarray(from, from + 1 + below(random, 200));
    const at = below(random, bytes.length);
    const out = new Uint8Array(bytes.length + piece.length);
    out.set(bytes.subarray(0, at));
    out.set(piece, at);
    out.set(bytes.subarray(at), at + piece.length);
    return out;
  },
};

const of = <K extends Field["kind"]>(all: readonly Place[], kind: K) =>
  all.filter((p): p is Place & { readonly field: Extract<Field, { kind: K }> } => p.field.kind === kind);

/** Places worth changing: a file is mostly weights. */
const structure = (all: readonly Place[]): readonly Place[] => {
  const inner = all.filter((p) => p.parent !== "model");
  return inner.length > 0 ? inner : all;
};

function newInt(random: Random, old: bigint): bigint {
  const r = random();
  return r < 0.3 ? old + pick(random, [1n, -1n, 2n]) : r < 0.8 ? pick(random, INTS) : pick(random, ODD_INTS);
}

function change(
  random: Random,
  list: readonly { readonly field: Extract<Field, { kind: "varint" }> }[],
): void {
  if (list.length === 0) return;
  const { field } = pick(random, list);
  field.value = newInt(random, field.value);
}

function setFloat(bytes: Uint8Array, at: number, random: Random): Uint8Array {
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  const old = view.getFloat32(at, true);
  const r = random();
  const value =
    r < 0.4
      ? old * pick(random, [2, 0.5, 1.0001, 3, -1, 1e10, 1e-10])
      : pick(random, r < 0.85 ? FLOATS : ODD_FLOATS);
  view.setFloat32(at, value, true);
  return out;
}

const isText = (p: Place): boolean =>
  p.field.kind === "bytes" &&
  ((p.parent === "node" && p.field.number <= 4) ||
    (p.parent === "value" && p.field.number === 1) ||
    (p.parent === "tensor" && p.field.number === 8) ||
    (p.parent === "attribute" && p.field.number === 1));

const treeMutations: Readonly<Record<string, Tree>> = {
  "field duplicated": (all, random) => {
    const { field, list } = pick(random, structure(all));
    list.splice(below(random, list.length + 1), 0, field);
  },
  "field removed": (all, random) => {
    const { field, list } = pick(random, structure(all));
    list.splice(list.indexOf(field), 1);
  },
  "fields exchanged": (all, random) => {
    const a = pick(random, structure(all));
    const b = pick(
      random,
      structure(all).filter((p) => p.parent === a.parent),
    );
    const [i, j] = [a.list.indexOf(a.field), b.list.indexOf(b.field)];
    a.list[i] = b.field;
    b.list[j] = a.field;
  },
  "integer changed": (all, random) => {
    change(random, of(structure(all), "varint"));
  },
  "dimension changed": (all, random) => {
    const dims = of(all, "varint").filter(
      (p) => p.parent === "dim" || (p.parent === "tensor" && p.field.number === 1),
    );
    change(random, dims);
  },
  "attribute changed": (all, random) => {
    const values = of(all, "varint").filter((p) => p.parent === "attribute" && p.field.number !== 20);
    change(random, values);
  },
  "data type changed": (all, random) => {
    const types = of(all, "varint").filter(
      (p) =>
        (p.parent === "tensor" && p.field.number === 2) ||
        (p.parent === "tensorType" && p.field.number === 1),
    );
    if (types.length > 0) pick(random, types).field.value = BigInt(below(random, 26));
  },
  "scale or other float changed": (all, random) => {
    const floats = of(all, "message").flatMap(({ field }) => {
      if (
        field.type !== "tensor" ||
        !field.fields.some((f) => f.number === 2 && f.kind === "varint" && f.value === 1n)
      )
        return [];
      return field.fields.filter(
        (f) => f.kind === "bytes" && (f.number === 9 || f.number === 4) && f.bytes.length >= 4,
      );
    });
    const loose = of(all, "fixed").filter((p) => p.field.bytes.length === 4);
    if (floats.length + loose.length === 0) return;
    const field = pick(random, [...floats, ...loose.map((p) => p.field)]) as Field & { bytes: Uint8Array };
    field.bytes = setFloat(field.bytes, 4 * below(random, field.bytes.length >> 2), random);
  },
  "zero point or other byte changed": (all, random) => {
    const data = of(all, "bytes").filter(
      (p) => p.parent === "tensor" && p.field.number === 9 && p.field.bytes.length > 0,
    );
    if (data.length === 0) return;
    const { field } = pick(random, data);
    field.bytes = field.bytes.slice();
    field.bytes[below(random, field.bytes.length)] = pick(random, [0, 1, 127, 128, 255, below(random, 256)]);
  },
  "name replaced by another": (all, random) => {
    const names = of(all, "bytes").filter(isText);
    if (names.length > 0) pick(random, names).field.bytes = pick(random, names).field.bytes;
  },
  "operator replaced by another": (all, random) => {
    const ops = of(all, "bytes").filter((p) => p.parent === "node" && p.field.number === 4);
    const extra = [
      "Relu",
      "Sigmoid",
      "Neg",
      "Abs",
      "Softmax",
      "Transpose",
      "Flatten",
      "Identity",
      "MaxPool",
      "Mul",
      "Clip",
    ];
    if (ops.length === 0) return;
    const name =
      random() < 0.5 ? pick(random, ops).field.bytes : new TextEncoder().encode(pick(random, extra));
    pick(random, ops).field.bytes = name;
  },
};

const onBytes = Object.keys(bytesMutations);
/** Changes of values leave most files meaningful, so they come more often. */
const onFields = Object.keys(treeMutations).flatMap((name) =>
  name.includes("changed") ? [name, name] : [name],
);

export interface Mutant {
  readonly bytes: Uint8Array;
  /** What was done, in order. */
  readonly done: readonly string[];
}

/** One to three mutations of `bytes`; `other` lends pieces. */
export function mutate(bytes: Uint8Array, other: Uint8Array, random: Random): Mutant {
  const done: string[] = [];
  let now = bytes;
  for (let n = random() < 0.6 ? 1 : 2 + below(random, 2); n > 0 && now.length > 0; n--) {
    const name = pick(random, random() < 0.25 ? onBytes : onFields);
    done.push(name);
    const damage = bytesMutations[name];
    if (damage !== undefined) {
      now = damage(now, random, other);
      continue;
    }
    let tree: Field[];
    try {
      tree = parseTree(now);
    } catch {
      continue;
    }
    const all = places(tree);
    if (all.length > 0) treeMutations[name]!(all, random);
    now = encodeTree(tree);
  }
  return { bytes: now, done };
}
