import { describe, expect, it } from "vitest";
import type { Program, Stmt } from "../../compiler/ir/kernel/ir.ts";
import { c32, konst, op, ref, store } from "../../compiler/ir/kernel/ir.ts";
import { parseProgram } from "../../compiler/ir/kernel/parser.ts";
import { printProgram } from "../../compiler/ir/kernel/printer.ts";
import { verifyProgram } from "../../compiler/ir/kernel/verifier.ts";

const head = `input @x bytes 64 align 16
output @y bytes 64 align 16
const @c bytes 2 align 1
`;
const tail = `data @c "0102"\n`;
const wrap = (body: string, kernel = "reads(@x, @c) writes(@y)"): string =>
  `${head}kernel @k ${kernel} {\n${body}\n}\n${tail}`;

describe("parser", () => {
  const cases: [string, string, number, number][] = [
    ["let %a = frob.i32(1)", `"frob.i32" is not an op`, 5, 10],
    ["let %a = load.f32 @x[0]", `"load.f32" is not a load`, 5, 10],
    ["let %a = %b", "%b is not defined", 5, 10],
    ["stash @y[0], 1", `"stash" is not a statement`, 5, 1],
    ["let %a = i32x4(%a)", "%a is not defined", 5, 16],
    ["let %a = i32x4(load.i32 @x[0])", "a constant has numbers", 5, 10],
    ["copy @y[0 + 1] from @x[0] bytes 1", "copy takes no offset", 5, 1],
    ["let %a 1", `Expecting token of type --> "=" <--`, 5, 8],
    ["let %a = $", "unexpected character", 5, 10],
  ];
  for (const [body, text, line, column] of cases)
    it(`locates: ${body}`, () => {
      const r = parseProgram(wrap(body), "t.qk");
      expect(r.ok).toBe(false);
      expect(r.diagnostics[0]!.message).toContain(text);
      expect(r.diagnostics[0]!.loc).toEqual({ kind: "text", file: "t.qk", line, column });
    });

  it("points at the end of text that stops early", () => {
    const r = parseProgram("kernel @k reads() writes() {\n");
    expect(r.diagnostics[0]!.loc).toMatchObject({ line: 1, column: 28 });
  });

  it("survives names of any characters and every form of statement", () => {
    const then: Stmt[] = [];
    const program: Program = {
      buffers: [
        { name: 'a/b:0 "q"', role: "input", bytes: 16, align: 16 },
        { name: "data", role: "temp", bytes: 16, align: 1 },
        { name: "ç", role: "const", bytes: 3, align: 4, data: Uint8Array.of(0, 127, 255) },
        { name: "e", role: "const", bytes: 0, align: 4, data: new Uint8Array() },
      ],
      kernels: [
        {
          name: "kernel",
          reads: ['a/b:0 "q"', "ç"],
          writes: ["data"],
          body: [
            { k: "let", name: "x y", value: konst("i64", -(2 ** 53) + 1) },
            { k: "comment", text: "" },
            { k: "comment", text: "// not # the end" },
            { k: "if", cond: c32(-1), then, else: [] },
            store(
              "data",
              c32(0),
              op(
                "shuffle.i8x16",
                [konst("i8x16", 1), konst("i8x16", 2)],
                Array.from({ length: 16 }, (_, i) => 31 - i),
              ),
              { offset: -3, op: "store16_lane", lane: 7 },
            ),
            store("data", c32(4), ref("x y", "i64"), { offset: 3 }),
          ],
        },
        { name: "empty", reads: [], writes: [], body: [] },
      ],
    };
    expect(parseProgram(printProgram(program))).toEqual({ ok: true, value: program, diagnostics: [] });
  });
});

describe("verifier", () => {
  const messages = (program: Program): string[] => verifyProgram(program).map((d) => d.message);
  const of = (body: string, kernel?: string): string[] => {
    const r = parseProgram(wrap(body, kernel));
    if (!r.ok) throw new Error(r.diagnostics[0]!.message);
    return messages(r.value);
  };
  const bad: [string, string][] = [
    ["let %a = add.i32(1, i64(2))", "a constant is i64, expected i32"],
    ["let %a = add.i32(1)", "add.i32 takes 2 arguments, not 1"],
    ["let %a = shl.i8x16(i8x16(1); 8)", "shl.i8x16: immediate 8 is not in 0 … 7"],
    ["let %a = shl.i8x16(i8x16(1))", "takes 1 immediates, not 0"],
    ["let %a = lane.i64x2(i64x2(1); 2)", "immediate 2 is not in 0 … 1"],
    [
      "let %a = shuffle.i8x16(i8x16(1), i8x16(1); 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,32)",
      "immediate 32 is not in 0 … 31",
    ],
    ["let %a = i8x16(256)", "256 does not fit a lane of i8x16"],
    ["let %a = i32x4(1, 2, 3)", "a constant i32x4 has 3 lanes"],
    ["let %a = 4294967296", "does not fit a lane of i32"],
    ["let %a = load8x8_u.i8x16 @x[0]", "load8x8_u cannot produce i8x16"],
    ["let %a = 1 let %a = 2", "%a is defined twice"],
    ["let %a = 1 set %a = 2", "%a is not a variable visible here"],
    ["for %i = 0 to 2 step 1 { set %i = 1 }", "%i is not a variable visible here"],
    ["for %i = 0 to 2 step 1 { let %a = 1 } let %b = %a", "%a is not visible here"],
    ["for %i = 2 to 2 step 1 {}", "for %i from 2 to 2 is empty"],
    ["for %i = 0 to 2 step 0 {}", "step 0 of %i is not positive"],
    ["var %v = 1 set %v = i64(1)", "a constant is i64, expected i32"],
    ["store @x[0], 1", `buffer "x" is written but not in writes`],
    ["store @y[-4], 1", "address -4 is negative: use the offset"],
    ["store8 @y[0], i64(1)", "store8 cannot store i64"],
    ["store32_lane @y[0], i8x16(1) lane 4", "store32_lane: lane 4 is not in 0 … 3"],
    ["fill @y[0] with 256 bytes 1", "fill with 256 is not a byte"],
    ["if i64(1) {}", "a constant is i64, expected i32"],
  ];
  for (const [body, text] of bad)
    it(`rejects ${body.slice(0, 60)}`, () => {
      expect(of(body).join("\n")).toContain(text);
    });

  it("accepts what is right", () => {
    expect(of("var %v = 1 for %i = 0 to 2 step 1 { set %v = %i } store @y[0], %v")).toEqual([]);
  });

  it("checks buffers and kernels", () => {
    expect(of("", "reads(@z) writes(@c)").join("\n")).toMatch(
      /"z" is not declared[\s\S]*constant "c" is written/,
    );
    const b = { name: "b", role: "temp", bytes: 4, align: 4 } as const;
    const k = { name: "k", reads: [], writes: [], body: [] as Stmt[] };
    const found = messages({
      buffers: [
        b,
        b,
        { ...b, name: "d", align: 3 },
        { ...b, name: "e", role: "const" },
        { ...b, name: "f", role: "const", data: new Uint8Array(3) },
      ],
      kernels: [k, k],
    }).join("\n");
    for (const text of [
      "declared twice",
      "alignment 3",
      "has no data",
      "3 bytes of data, 4 declared",
      "the name is used twice",
    ])
      expect(found).toContain(text);
  });
});
