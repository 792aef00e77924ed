import { expect, test } from "vitest";
import { add, c32, type Expr, load, ref, type Stmt, store } from "../../ir/kernel/ir.ts";
import { endsOf, localPool } from "./locals.ts";

const bind = (name: string, value: Expr): Stmt => ({ k: "let", name, value });
const variable = (name: string, value: Expr): Stmt => ({ k: "var", name, value });
const set = (name: string, value: Expr): Stmt => ({ k: "set", name, value });
const put = (at: Expr, value: Expr): Stmt => store("y", at, value, { op: "store32_lane" });
const loop = (i: string, body: readonly Stmt[]): Stmt => ({
  k: "for",
  i,
  start: c32(0),
  end: c32(4),
  step: 1,
  body,
});
const x = (at: Expr): Expr => load("i32x4", "x", at);

const ends = (body: readonly Stmt[], waiting: readonly string[] = []): Record<number, readonly string[]> =>
  Object.fromEntries(endsOf(body, (s) => waiting.includes(s.name)));

test("a name ends with the last statement that mentions it", () => {
  const body = [
    bind("a", x(c32(0))),
    bind("b", add(ref("a"), 1)),
    put(c32(0), ref("b")),
    put(c32(4), c32(0)),
  ];
  expect(ends(body)).toEqual({ 1: ["a"], 2: ["b"] });
});

test("what a loop reads or sets lives to the end of the loop, what it declares does not", () => {
  const body = [
    variable("s", c32(0)),
    bind("a", c32(7)),
    loop("i", [bind("t", add(ref("a"), ref("i"))), set("s", add(ref("s"), ref("t"))), put(c32(0), c32(1))]),
    put(c32(0), ref("s")),
  ];
  expect(ends(body)).toEqual({ 2: ["a", "i"], 4: ["t"], 6: ["s"] });
});

test("what a value reads that is computed later lives until then", () => {
  const body = [
    bind("a", x(c32(0))),
    bind("b", add(ref("a"), 1)),
    put(c32(0), c32(1)),
    put(c32(0), ref("b")),
  ];
  expect(ends(body)).toEqual({ 1: ["a"], 3: ["b"] });
  expect(ends(body, ["b"])).toEqual({ 3: ["b", "a"].sort() });
});

test("a name declared twice never ends", () => {
  const twice = (name: string): Stmt => loop(`i${name}`, [bind("t", c32(1)), put(c32(0), ref("t"))]);
  expect(ends([twice("a"), twice("b")])).toEqual({ 0: ["ia"], 3: ["ib"] });
});

test("locals that were given back are taken again, of their type, the lowest first", () => {
  const [i32, v128] = [1, 2];
  const pool = localPool(3);
  expect([i32, v128, i32, i32].map(pool.take)).toEqual([3, 4, 5, 6]);
  [6, 3, 4].forEach(pool.give);
  expect([i32, i32, i32, v128].map(pool.take)).toEqual([3, 6, 7, 4]);
  expect(pool.types).toEqual([i32, v128, i32, i32, i32]);
});
