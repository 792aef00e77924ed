/** Facts about a compiled graph, for `qc inspect` and the manifest. */
import type { LayerReport, OpCounts } from "./compiled.ts";
import { opMacs } from "./ir/macs.ts";
import type { Dense, Func, Module, Op } from "./ir/module.ts";
import { attr } from "./ir/op.ts";
import { intTypeFor } from "./ir/types.ts";

const skipped = new Set(["const", "qc.call"]);

/** Ops of each kind; those that the importer made count under their ONNX name, each node once. */
export function opCounts(module: Module): OpCounts {
  const counts = new Map<string, number>();
  const nodes = new Set<string>();
  for (const f of module.funcs)
    for (const op of f.ops) {
      if (skipped.has(op.name)) continue;
      const node = op.loc?.kind === "node" && !op.name.startsWith("qc.") ? op.loc : undefined;
      if (node && nodes.has(node.output)) continue;
      if (node) nodes.add(node.output);
      const name = node?.op ?? op.name;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  return Object.fromEntries(counts);
}

const leastBits = (data: ArrayLike<number>): number => {
  let lo = 0;
  let hi = 0;
  for (let i = 0; i < data.length; i++) {
    const x = data[i]!;
    if (x < lo) lo = x;
    else if (x > hi) hi = x;
  }
  return intTypeFor(lo, hi)?.bits ?? 32;
};

/** Shape, width and packed size of a layer's weights. */
function weightsOf({ shape, data }: Dense): NonNullable<LayerReport["weights"]> {
  const bits = leastBits(data);
  return { shape, bits, bytes: Math.ceil((data.length * bits) / 8) };
}

/** The op a location-bearing op came from, to match layers before and after reduction. */
const key = (op: Op): string => (op.loc?.kind === "node" ? op.loc.output : "");

/** One row per linear op of the fused graph, with its MACs before and after reduction. */
export function layerReports(integer: Module, fused: Module): LayerReport[] {
  const nominal = new Map<string, number>();
  for (const op of integer.funcs[0]!.ops) if (opMacs(op) > 0) nominal.set(key(op), opMacs(op));
  const executed = new Map<string, number>();
  const roots = fused.funcs.slice(1).flatMap((f) => f.ops.find((o) => o.name !== "const") ?? []);
  for (const op of roots) executed.set(key(op), (executed.get(key(op)) ?? 0) + opMacs(op));
  /** An op that became several kernels is shared out among them. */
  const share = (root: Op): number => {
    const [own, macs] = [nominal.get(key(root)), opMacs(root)];
    if (own === undefined || macs === 0) return own ?? macs;
    return Math.round((own * macs) / executed.get(key(root))!);
  };
  return fused.funcs.slice(1).flatMap((f) => layer(f, share));
}

/** Those that are not looked up in registers. */
function largeTable(func: Func): { readonly table?: number } {
  const op = func.ops.find((o) => o.name === "qc.table");
  if (op === undefined) return {};
  const { data, elem } = attr<Dense>(op, "table");
  return data.length > 256 ? { table: data.length * Math.ceil(elem.bits / 8) } : {};
}

function layer(func: Func, nominal: (root: Op) => number): LayerReport[] {
  const root = func.ops.find((o) => o.name !== "const");
  const result = func.results[0]!.value;
  if (root === undefined) return [];
  const macs = opMacs(root);
  const weights = func.ops.find((o) => o.name === "const" && o.results[0] === root.operands[1]);
  const dense = weights && macs > 0 ? attr<Dense>(weights, "value") : undefined;
  const acc = root.results[0]!.type.elem;
  return [
    {
      tensor: result.name || func.name,
      op: root.name,
      shape: result.type.shape,
      // What finishes a product in a kernel of its own is named after it.
      macs: {
        nominal: root.name === "float.from_int" || root.name === "qc.sub_product" ? 0 : nominal(root),
        executed: macs,
      },
      ...(dense ? { weights: weightsOf(dense) } : {}),
      ...(macs > 0 && acc.kind === "int" ? { accBits: acc.bits } : {}),
      ...(typeof root.attrs.error === "number" ? { bound: root.attrs.error } : {}),
      ...largeTable(func),
    },
  ];
}
