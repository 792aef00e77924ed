import { describe, expect, test } from "vitest";
import * as w from "../../../test/onnx-writer.ts";
import { fail } from "../../ir/diagnostics.ts";
import { unreadableFile } from "../../ir/messages.ts";
import { checkLocation } from "./external.ts";
import { type ReadOptions, readModel } from "./reader.ts";
import { elements } from "./tensor.ts";

const data = Uint8Array.from({ length: 32 }, (_, i) => i);
const files = (location: string) => (location === "m.data" || location === "sub/m.data" ? data : undefined);
const read = (tensor: w.Tensor, options: ReadOptions = { external: files }) =>
  readModel(w.model({ initializers: { t: tensor } }), options);
const values = (tensor: w.Tensor) => {
  const result = read(tensor);
  if (!result.ok) return result.diagnostics.map((d) => `${d.code} ${d.message}`);
  return elements(result.value.graph.initializers.get("t")!);
};
const u8 = (size: number) => w.u8([size], []);

describe("external data", () => {
  test("offset and length; views, not copies", () => {
    const got = values(w.external(u8(4), "m.data", { offset: 8, length: 4 }));
    expect(got).toEqual(Uint8Array.of(8, 9, 10, 11));
    expect((got as Uint8Array).buffer).toBe(data.buffer);
    expect(values(w.external(u8(2), "m.data"))).toEqual(Uint8Array.of(0, 1));
    expect(values(w.external(u8(32), "./sub//m.data", { offset: 0 }))).toEqual(data);
    expect(values(w.external(w.i4([3], []), "m.data", { offset: 31, length: 2 }))).toEqual([
      'QC1019 external data in "m.data": bytes 31 to 33 are asked for, the file has 32',
    ]);
  });
  test.each([
    [{ offset: 30, length: 4 }, "bytes 30 to 34 are asked for, the file has 32"],
    [
      { offset: 2 ** 53 - 2, length: 1 },
      "bytes 9007199254740990 to 9007199254740991 are asked for, the file has 32",
    ],
    [{ offset: -1 }, "offset and length must be non-negative decimal numbers"],
    [{ length: "1e3" }, "offset and length must be non-negative decimal numbers"],
    [{ offset: "99999999999999999999" }, "offset and length must be non-negative decimal numbers"],
    [{ offset: "" }, "offset and length must be non-negative decimal numbers"],
  ])("range %j", (range, reason) => {
    expect(values(w.external(u8(4), "m.data", range))).toEqual([
      `QC1019 external data in "m.data": ${reason}`,
    ]);
  });
  test("a length that does not suit the shape", () => {
    expect(values(w.external(u8(4), "m.data", { length: 5 }))).toEqual([
      "QC1014 4 elements of uint8 need 4 bytes, the tensor carries 5",
    ]);
  });
  test("a missing file is asked for and reported once", () => {
    let asked = 0;
    const external = () => {
      asked++;
      return undefined;
    };
    const both = { a: w.external(u8(1), "f"), b: w.external(u8(1), "./f") };
    const { diagnostics } = readModel(w.model({ initializers: both }), { external });
    expect(asked).toBe(1);
    expect(diagnostics.map((d) => [d.code, d.loc])).toEqual([["QC1018", { kind: "tensor", name: "a" }]]);
    expect(readModel(w.model({ initializers: both })).diagnostics.map((d) => d.code)).toEqual(["QC1018"]);
  });
  test("what the caller reports is passed on", () => {
    const finding = unreadableFile("f", "permission denied");
    expect(read(w.external(u8(1), "f"), { external: () => finding })).toEqual(fail(finding));
  });
  test("in an attribute, and beside raw_data", () => {
    const node = w.node("Constant", [], ["c"], {
      value: w.external(u8(2), "m.data", { offset: 3, length: 2 }),
    });
    const result = readModel(w.model({ nodes: [node] }), { external: files });
    const value = result.ok ? result.value.graph.nodes[0]!.attributes.get("value") : undefined;
    expect(value?.kind === "tensor" && elements(value.value)).toEqual(Uint8Array.of(3, 4));
    const both = { ...w.external(u8(1), "m.data"), extra: Uint8Array.of(0x4a, 1, 5) };
    expect(values(both)).toEqual(["QC1015 tensor data: both raw_data and external data are given"]);
    expect(values({ ...w.external(w.tensor("string", [1], []), "m.data") })).toEqual([
      "QC1015 tensor data: strings cannot be external data",
    ]);
    expect(values({ ...w.u8([1], []), extra: Uint8Array.of(0x70, 1) })).toEqual([
      "QC1015 tensor data: external data has no location",
    ]);
  });
});

describe("locations", () => {
  test.each([
    ["m.data", "m.data"],
    ["./a/./b//c", "a/b/c"],
    ["..a/b..c/.hidden", "..a/b..c/.hidden"],
    ["gewichte-ä.bin", "gewichte-ä.bin"],
  ])("%j is %j", (location, path) => {
    expect(checkLocation(location)).toEqual({ ok: true, path });
  });
  test.each([
    "",
    ".",
    "./",
    "/etc/passwd",
    "//host/share",
    "../x",
    "a/../../x",
    "a/..",
    "..\\x",
    "a\\b",
    "C:/x",
    "C:x",
    "file:stream",
    "https://host/x",
    "a\0b",
    "a\nb",
    "\x7f",
    "x.",
    "x ",
    ".. /x",
    "a/.../b",
    "x".repeat(5000),
  ])("%j is refused", (location) => {
    expect(checkLocation(location).ok).toBe(false);
    const result = read(w.external(u8(1), location), {
      external: () => expect.unreachable("must not be asked"),
    });
    expect(result.diagnostics.map((d) => d.code)).toEqual(["QC1017"]);
  });
});
