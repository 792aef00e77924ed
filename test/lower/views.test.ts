/** Transposes, splits and reshapes of attention are views: no kernel moves data. */
import { expect, test } from "vitest";
import { wasmRelaxed, wasmSimd } from "../../compiler/backends/wasm/target.ts";
import { compileModel } from "../../compiler/index.ts";
import { createBuilder } from "../../compiler/ir/builder.ts";
import { attr } from "../../compiler/ir/op.ts";
import { opDef } from "../../compiler/ir/ops/index.ts";
import { I32, tensor, U8 } from "../../compiler/ir/types.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";
import { denseLayout, type Layout } from "../../compiler/passes/lower/layout.ts";
import { viewOf } from "../../compiler/passes/lower/views.ts";
import { productCases } from "../e2e/graphs/product.ts";

/** The root ops of the kernels of a graph, in order. */
async function rootsOf(bytes: Uint8Array): Promise<readonly (readonly (string | undefined)[])[]> {
  const made = await compileModel(bytes, { target: "wasm" });
  if (!made.ok) throw new Error(made.diagnostics[0]?.message);
  const { module } = made.value;
  return [wasmSimd, wasmRelaxed].map((target) => {
    const lowered = lowerModule(module, target);
    if (!lowered.ok) throw new Error(lowered.diagnostics[0]?.message);
    return lowered.value.steps.map(({ call }) => {
      if (call === undefined) return "copy";
      const func = module.funcs.find((f) => f.name === attr<string>(call, "callee"));
      return func?.ops.find((o) => o.name !== "const")?.name;
    });
  });
}

const moveless = productCases.filter(({ name }) => name.startsWith("attention"));

test.each(moveless.map((c) => [c.name, c.bytes] as const))("%s", async (name, bytes) => {
  const linear = name.includes("one projection") ? 1 : 3;
  const want = [
    ...Array.from({ length: linear }, () => "qc.matmul"),
    "qc.matmul",
    "qc.softmax",
    "qc.matmul",
    "qc.matmul",
  ];
  for (const roots of await rootsOf(bytes)) expect(roots.toSorted()).toEqual(want.toSorted());
});

/** Byte addresses in row-major order. */
function addresses({ shape, strides, offset }: Layout): number[] {
  let out = [offset];
  shape.forEach((d, a) => {
    out = out.flatMap((p) => Array.from({ length: d }, (_, i) => p + i * strides[a]!));
  });
  return out;
}

const x = denseLayout("x", tensor([2, 3, 4, 6], U8), "u8", 5);
const swapped: Layout = { ...x, shape: [2, 4, 3, 6], strides: [72, 6, 24, 1] };
const cut: Layout = { ...x, shape: [2, 3, 4, 4], offset: 7 };

test.each<[string, Layout, string, Parameters<typeof denseLayout>[1]["shape"], object, boolean]>([
  ["transpose", x, "layout.transpose", [4, 2, 3, 6], { perm: [2, 0, 1, 3] }, true],
  ["transpose of the last axis", x, "layout.transpose", [2, 3, 6, 4], { perm: [0, 1, 3, 2] }, false],
  [
    "slice",
    x,
    "layout.slice",
    [2, 2, 4, 3],
    { axes: [1, 3], starts: [1, 2], ends: [3, 5], steps: [1, 1] },
    true,
  ],
  [
    "slice with steps",
    x,
    "layout.slice",
    [2, 2, 4, 6],
    { axes: [1], starts: [0], ends: [3], steps: [2] },
    false,
  ],
  ["gather of a run", x, "layout.gather", [2, 2, 4, 6], { axis: 1, indices: [1, 2] }, true],
  ["gather", x, "layout.gather", [2, 2, 4, 6], { axis: 1, indices: [2, 0] }, false],
  ["reshape", x, "layout.reshape", [6, 2, 2, 2, 3], { shape: [6, 2, 2, 2, 3] }, true],
  ["reshape with unit axes", x, "layout.reshape", [1, 6, 1, 24, 1], { shape: [1, 6, 1, 24, 1] }, true],
  [
    "reshape of swapped axes, split",
    swapped,
    "layout.reshape",
    [2, 2, 2, 3, 2, 3],
    { shape: [2, 2, 2, 3, 2, 3] },
    true,
  ],
  ["reshape of swapped axes, merged", swapped, "layout.reshape", [2, 12, 6], { shape: [2, 12, 6] }, false],
  ["reshape of a part, rows merged", cut, "layout.reshape", [24, 4], { shape: [24, 4] }, true],
  ["reshape of a part, merged", cut, "layout.reshape", [6, 16], { shape: [6, 16] }, false],
  ["reshape of a part, split", cut, "layout.reshape", [6, 4, 2, 2], { shape: [6, 4, 2, 2] }, true],
])("view: %s", (_, from, name, shape, attrs, isView) => {
  const b = createBuilder("f");
  const v = b.param(tensor(from.shape, U8), { name: "x", dtype: "uint8" });
  const y = b.add1(name, [v], attrs as never);
  b.result(y, { name: "y", dtype: "uint8" });
  expect(y.type.shape).toEqual(shape);
  const op = b.build().ops[0]!;
  const view = viewOf(op, from);
  expect(view !== undefined).toBe(isView);
  if (view === undefined) return;
  // The op itself, on the addresses.
  const { evaluate } = opDef(name);
  const at = { kind: "dense" as const, elem: I32, shape: from.shape, data: Int32Array.from(addresses(from)) };
  const [moved] = evaluate([at], op.attrs, [tensor(shape, I32)], [tensor(from.shape, I32)]);
  expect(addresses(view)).toEqual(Array.from(moved!.data));
});
