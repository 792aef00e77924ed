import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { liteRtVersion, withInt8 } from "../../bench/litert-files.ts";
import { requireOrSkip } from "../require.ts";

const table = `var T = [
  { dtype: "int32", typedArrayConstructor: Int32Array, elementType: ElementType.INT32 },
  {
    dtype: "uint8",
    typedArrayConstructor: Uint8Array,
    elementType: ElementType.UINT8
  }
];`;

const installed = requireOrSkip(
  "LiteRT.js",
  liteRtVersion() !== undefined,
  "@litertjs/core is not installed",
);

describe("the table of element types", () => {
  test("gets a row for int8 and keeps the others", () => {
    const run = new Function("ElementType", `${withInt8(table)} return T;`);
    const rows = run({ INT32: 2, UINT8: 3, INT8: 9 }) as readonly { readonly elementType: number }[];
    expect(rows.map((r) => r.elementType)).toEqual([2, 3, 9]);
    expect(rows[2]).toEqual({ dtype: "int8", typedArrayConstructor: Int8Array, elementType: 9 });
  });

  test("is missed where it is not", () => {
    expect(() => withInt8("var T = [];")).toThrow("no table of element types");
  });

  test.skipIf(!installed)("is in the installed package", () => {
    const path = new URL("../../node_modules/@litertjs/core/dist/index.js", import.meta.url);
    expect(withInt8(readFileSync(path, "utf8"))).toContain('dtype: "int8"');
  });
});
