/** Random kernel programs for property tests: well typed, every access in bounds, no division. */
import fc from "fast-check";
import {
  add,
  c32,
  type Expr,
  type KType,
  konst,
  type LoadOp,
  load,
  type OpName,
  op,
  type Program,
  ref,
  type Stmt,
  scale,
  signatures,
  store,
} from "../../compiler/ir/kernel/ir.ts";
import { immediateBound, loadTypes } from "../../compiler/ir/kernel/verifier.ts";

/** All but arithmetic on floats, whose NaNs have unspecified bits: float.test.ts has those. */
export const opNames = (Object.keys(signatures) as OpName[]).filter(
  (n) => !/^f(add|sub|mul|div|min|max|sqrt|ceil|floor|trunc|nearest)\./.test(n),
);
export const types: readonly KType[] = ["i32", "i64", "i8x16", "i16x8", "i32x4", "i64x2"];
/** Ops that can trap. */
export const traps = (name: OpName): boolean => /^(div|rem)_/.test(name);

/** Bytes of the random inputs and outputs. */
export const SIZE = 256;

const laneValue = (type: KType): fc.Arbitrary<number> => {
  const bits = Number(type.split("x")[0]!.slice(1));
  if (bits === 64) return fc.maxSafeInteger();
  const lo = -(2 ** (bits - 1));
  return fc.oneof(
    fc.integer({ min: lo, max: -lo - 1 }),
    fc.constantFrom(0, 1, -1, lo, -lo - 1, 2 ** bits - 1),
  );
};

export const constant = (type: KType): fc.Arbitrary<Expr> => {
  const lanes = Number(type.split("x")[1] ?? 1);
  const one = laneValue(type).map((v) => konst(type, v));
  if (lanes === 1) return one;
  return fc.oneof(
    one,
    fc.array(laneValue(type), { minLength: lanes, maxLength: lanes }).map((v) => konst(type, v)),
  );
};

export const immediates = (name: OpName): fc.Arbitrary<number[]> => {
  const n = signatures[name].imm;
  if (n === 0) return fc.constant([]);
  return fc.array(fc.integer({ min: 0, max: immediateBound(name) - 1 }), { minLength: n, maxLength: n });
};

const loadOps = Object.keys(loadTypes) as LoadOp[];
/** Loads at any alignment; `index` is a loop variable below 15 or absent. */
export const anyLoad = (type: KType, buf: string, index?: Expr): fc.Arbitrary<Expr> =>
  fc
    .record({
      op: fc.constantFrom(...loadOps.filter((o) => loadTypes[o].includes(type))),
      at: fc.integer({ min: 0, max: SIZE - 16 - 64 }),
      form: fc.constantFrom("constant", "index", "linear"),
      factor: fc.integer({ min: 1, max: 4 }),
    })
    .map(({ op, at, form, factor }) => {
      if (!index || form === "constant") return load(type, buf, c32(at + 5), -5, op);
      if (form === "index") return load(type, buf, index, at, op);
      return load(type, buf, add(scale(index, factor), at), at % 3, op);
    });

interface Env {
  readonly index: Expr | undefined;
  readonly names: ReadonlyMap<KType, readonly string[]>;
}

const producers = new Map<KType, OpName[]>(
  types.map((t) => [t, opNames.filter((n) => signatures[n].out === t && !traps(n))]),
);

export function expression(type: KType, depth: number, env: Env): fc.Arbitrary<Expr> {
  const leaves: fc.Arbitrary<Expr>[] = [constant(type), anyLoad(type, "in", env.index)];
  const names = env.names.get(type) ?? [];
  if (names.length) leaves.push(fc.constantFrom(...names).map((n) => ref(n, type)));
  if (type === "i32" && env.index) leaves.push(fc.constant(env.index));
  if (depth === 0) return fc.oneof(...leaves);
  const node = fc
    .constantFrom(...producers.get(type)!)
    .chain((name) =>
      fc
        .tuple(fc.tuple(...signatures[name].args.map((t) => expression(t, depth - 1, env))), immediates(name))
        .map(([args, imm]) => op(name, args, imm)),
    );
  return fc.oneof({ weight: 2, arbitrary: fc.oneof(...leaves) }, { weight: 3, arbitrary: node });
}

const vectorTypes: readonly KType[] = types.slice(2);
/** Accumulators the random statements update, one per type. */
const variables = types.map((type) => ({ type, name: `v_${type}` }));

/** Statements that know the given names; `prefix` keeps theirs unique. */
function statements(depth: number, prefix: string, env: Env): fc.Arbitrary<Stmt[]> {
  const value = (type: KType): fc.Arbitrary<Expr> => expression(type, 2, env);
  const update = fc
    .constantFrom(...variables)
    .chain(({ type, name }) => value(type).map((v): Stmt => ({ k: "set", name, value: v })));
  const dot4s = ["dot4_s8u8.i32x4", "dot4_s8s8.i32x4"] as const;
  const dot = fc.tuple(fc.constantFrom(...dot4s), value("i8x16"), value("i8x16")).map(
    ([name, w, x]): Stmt => ({
      k: "set",
      name: "acc",
      value: op(name, [ref("acc", "i32x4"), w, x]),
    }),
  );
  const write = fc
    .tuple(fc.constantFrom("out", "both"), fc.constantFrom(...vectorTypes), fc.integer({ min: 0, max: 100 }))
    .chain(([buf, type, at]) => value(type).map((v) => store(buf, env.index ?? c32(0), v, { offset: at })));
  const readBack = fc
    .tuple(fc.constantFrom(...vectorTypes), fc.integer({ min: 0, max: 100 }))
    .map(([type, at]): Stmt => ({ k: "set", name: `v_${type}`, value: load(type, "both", c32(at)) }));
  const fill = fc
    .record({
      at: fc.integer({ min: 0, max: 40 }),
      byte: fc.integer({ min: 0, max: 255 }),
      bytes: fc.integer({ min: 0, max: 200 }),
    })
    .map(({ at, byte, bytes }): Stmt => ({ k: "fill", buf: "both", addr: c32(at), offset: 0, byte, bytes }));
  const copy = fc
    .record({ at: fc.integer({ min: 0, max: 40 }), bytes: fc.integer({ min: 0, max: 200 }) })
    .map(
      ({ at, bytes }): Stmt => ({
        k: "copy",
        to: "both",
        toAddr: c32(at),
        from: "in",
        fromAddr: c32(3),
        bytes,
      }),
    );
  const simple: fc.Arbitrary<Stmt>[] = [update, dot, write, readBack, fill, copy];
  // A let that the rest of the block may use.
  const bound = fc.constantFrom(...types).chain((type) => {
    const name = `${prefix}l`;
    const names = new Map(env.names).set(type, [...(env.names.get(type) ?? []), name]);
    return fc
      .tuple(
        value(type),
        fc.array(fc.oneof(...rest(depth, prefix, { ...env, names }, simple)), { maxLength: 4 }),
      )
      .map(([v, body]): Stmt[] => [{ k: "let", name, value: v }, ...body]);
  });
  const plain = fc.array(fc.oneof(...rest(depth, prefix, env, simple)), { minLength: 1, maxLength: 5 });
  return fc.tuple(plain, bound).map(([a, b]) => unique([...a, ...b], prefix));
}

function rest(depth: number, prefix: string, env: Env, simple: fc.Arbitrary<Stmt>[]): fc.Arbitrary<Stmt>[] {
  if (depth === 0) return simple;
  const loop = fc
    .record({ end: fc.integer({ min: 1, max: 5 }), step: fc.integer({ min: 1, max: 3 }) })
    .chain(({ end, step }) =>
      statements(depth - 1, `${prefix}f`, { ...env, index: ref(`${prefix}i`) }).map(
        (body): Stmt => ({ k: "for", i: `${prefix}i`, start: c32(0), end: c32(end * 3), step, body }),
      ),
    );
  const branch = fc
    .tuple(
      expression("i32", 1, env),
      statements(depth - 1, `${prefix}t`, env),
      statements(depth - 1, `${prefix}e`, env),
    )
    .map(([cond, then, otherwise]): Stmt => ({ k: "if", cond, then, else: otherwise }));
  return [...simple, loop, branch];
}

/** Renames what a list of statements binds, so that siblings do not bind the same name. */
function unique(stmts: Stmt[], prefix: string): Stmt[] {
  let n = 0;
  const rename = new Map<string, string>();
  const expr = (e: Expr): Expr => {
    if (e.k === "var") return rename.has(e.name) ? { ...e, name: rename.get(e.name)! } : e;
    if (e.k === "load") return { ...e, addr: expr(e.addr) };
    return e.k === "op" ? { ...e, args: e.args.map(expr) } : e;
  };
  const fresh = (name: string): string => {
    const to = `${name}_${n++}`;
    rename.set(name, to);
    return to;
  };
  const all = (list: readonly Stmt[]): Stmt[] =>
    list.map((s): Stmt => {
      switch (s.k) {
        case "let": {
          const value = expr(s.value);
          return { ...s, value, name: fresh(s.name) };
        }
        case "for": {
          const i = fresh(s.i);
          return { ...s, i, body: all(s.body) };
        }
        case "if": {
          const then = all(s.then);
          return { ...s, cond: expr(s.cond), then, else: all(s.else) };
        }
        case "var":
        case "set":
          return { ...s, value: expr(s.value) };
        case "store":
          return { ...s, addr: expr(s.addr), value: expr(s.value) };
        default:
          return s;
      }
    });
  return prefix === "" ? all(stmts) : stmts;
}

/** A whole program; all its variables end up in `out`. */
export const anyProgram: fc.Arbitrary<Program> = fc
  .tuple(
    statements(2, "", { index: undefined, names: new Map(variables.map((v) => [v.type, [v.name]])) }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  )
  .map(([body, data]) => ({
    buffers: [
      { name: "in", role: "input", bytes: SIZE, align: 16 },
      { name: "both", role: "temp", bytes: SIZE, align: 16 },
      { name: "out", role: "output", bytes: SIZE, align: 16 },
      { name: "k", role: "const", bytes: 16, align: 16, data: data.slice() },
    ],
    kernels: [
      {
        name: "main",
        reads: ["in", "k"],
        writes: ["both", "out"],
        body: [
          { k: "fill", buf: "both", addr: c32(0), offset: 0, byte: 7, bytes: SIZE },
          { k: "comment", text: "accumulators" },
          { k: "var", name: "acc", value: load("i32x4", "k", c32(0)) },
          ...variables.map(({ type, name }): Stmt => ({ k: "var", name, value: load(type, "in", c32(16)) })),
          ...body,
          store("out", c32(0), ref("acc", "i32x4")),
          ...variables.map(({ type, name }, i) => store("out", c32(16 * (i + 1)), ref(name, type))),
        ],
      },
    ],
  }));
