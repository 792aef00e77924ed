import { expect, test } from "vitest";
import { add, c32, type Expr, type Kernel, load, ref, type Stmt, store } from "../../ir/kernel/ir.ts";
import { anchorPointers, MEMORY } from "./anchors.ts";

const ADDRESSES = new Map([
  ["x", 1000],
  ["y", 2000],
]);
const bind = (name: string, value: Expr): Stmt => ({ k: "let", name, value });
const variable = (name: string, value: Expr): Stmt => ({ k: "var", name, value });
const advance = (name: string, step: number): Stmt => ({ k: "set", name, value: add(ref(name), step) });
const x = (at: Expr, offset = 0): Expr => load("i8x16", "x", at, offset);
const put = (at: Expr, value: Expr, offset = 0): Stmt => store("y", at, value, { offset });
const loop = (i: string, start: Expr, end: Expr, body: readonly Stmt[]): Stmt => ({
  k: "for",
  i,
  start,
  end,
  step: 16,
  body,
});
const anchored = (body: readonly Stmt[]): readonly Stmt[] => {
  const kernel: Kernel = { name: "k", reads: ["x"], writes: ["y"], body };
  return anchorPointers(kernel, ADDRESSES).body;
};
const all = (at: Expr, offset: number): Expr => load("i8x16", MEMORY, at, offset);
const putAll = (at: Expr, value: Expr, offset: number): Stmt => store(MEMORY, at, value, { offset });

test("a pointer into one buffer starts at its place, the accesses count from the first byte it reaches", () => {
  expect(
    anchored([
      variable("p", ref("n")),
      loop("i", c32(0), c32(64), [
        put(ref("i"), x(ref("p"), 32), 8),
        put(ref("i"), x(ref("p"), 48)),
        advance("p", 16),
      ]),
    ]),
  ).toEqual([
    variable("p", add(ref("n"), 1032)),
    loop("i", c32(2000), c32(2064), [
      putAll(ref("i"), all(ref("p"), 0), 8),
      putAll(ref("i"), all(ref("p"), 16), 0),
      advance("p", 16),
    ]),
  ]);
});

test("offsets below the pointer become ones above it", () => {
  expect(
    anchored([bind("p", ref("n")), put(ref("n"), x(ref("p"), -16)), put(ref("n"), x(ref("p")))]),
  ).toEqual([
    bind("p", add(ref("n"), 984)),
    put(ref("n"), all(ref("p"), 0)),
    put(ref("n"), all(ref("p"), 16)),
  ]);
});

test.each<[string, readonly Stmt[]]>([
  ["read through once", [bind("p", ref("n")), put(ref("n"), x(ref("p")))]],
  ["in two buffers", [bind("p", ref("n")), put(ref("p"), x(ref("p")))]],
  ["in a sum as well", [bind("p", ref("n")), put(add(ref("p"), 1), x(ref("p"))), put(ref("n"), x(ref("p")))]],
  [
    "set to something else",
    [
      variable("p", ref("n")),
      put(ref("n"), x(ref("p"))),
      { k: "set", name: "p", value: ref("n") },
      put(ref("n"), x(ref("p"))),
    ],
  ],
  ["a parameter", [put(ref("n"), x(ref("p"))), put(ref("n"), x(ref("p")))]],
])("a pointer stays: %s", (_, body) => {
  expect(anchored(body)).toEqual(body);
});

test("many accesses at constant places share a local", () => {
  const read = (count: number): Stmt[] =>
    Array.from({ length: count }, (_, i) => put(add(ref("n"), i), x(c32(64), 16 * i)));
  expect(anchored(read(7))).toEqual(read(7));
  expect(anchored(read(8))).toEqual([
    variable("$base0", c32(1064)),
    ...Array.from({ length: 8 }, (_, i) => put(add(ref("n"), i), all(ref("$base0"), 16 * i))),
  ]);
});
