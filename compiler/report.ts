/** What `qc inspect` says of a module. */
import type { Coverage, Macs, RescaleCertificate } from "../runtime/format.ts";
import type { LayerReport, OpCounts } from "./compiled.ts";
import { type Dense, definitions, type Module, type Op, type Value } from "./ir/module.ts";
import { hasTrait } from "./ir/ops/index.ts";
import type { RescaleManifest } from "./ir/rescale/manifest.ts";
import { intTypeFor, sizeOf } from "./ir/types.ts";

/** Ops by name, constants left out. */
export function opCounts(module: Module): OpCounts {
  const counts = new Map<string, number>();
  for (const op of allOps(module))
    if (!hasTrait(op, "constant")) counts.set(op.name, (counts.get(op.name) ?? 0) + 1);
  return Object.fromEntries(counts);
}

const allOps = (module: Module): readonly Op[] => module.funcs.flatMap((f) => f.ops);

/** Multiply-accumulates of one contraction: elements of the result times what each sums over. */
function macsOf(op: Op): number {
  const out = sizeOf(op.results[0]!.type.shape);
  const [a, w] = op.operands;
  if (op.name === "qc.conv" || op.name === "float.conv")
    return out * sizeOf((op.name === "qc.conv" ? w!.type.shape.slice(1) : w!.type.shape.slice(1)) as number[]);
  if (op.name === "qc.matmul" || op.name === "float.matmul") return out * (a!.type.shape.at(-1) ?? 1);
  return 0;
}

const totalMacs = (module: Module): number => allOps(module).reduce((n, op) => n + macsOf(op), 0);

/** `imported` has all channels, `integer` those that are left. */
export const macs = (imported: Module, integer: Module): Macs => ({
  nominal: totalMacs(imported),
  executed: totalMacs(integer),
});

function weightsOf(v: Value | undefined, defs: ReadonlyMap<Value, Op>): LayerReport["weights"] {
  const op = v && defs.get(v);
  if (op?.name !== "const") return undefined;
  const { shape, data } = op.attrs.value as Dense;
  let lo = 0;
  let hi = 0;
  for (const x of data) {
    if (x < lo) lo = x;
    if (x > hi) hi = x;
  }
  return { shape, bits: intTypeFor(lo, hi)?.bits ?? 32, bytes: data.length };
}

/** Contractions and rescales of the certified integer graph, in order; a contraction and its rescale are one row. */
export function layers(integer: Module): readonly LayerReport[] {
  return integer.funcs.flatMap((func) => {
    const defs = definitions(func);
    const rescaleOf = new Map<Value, Value>();
    for (const op of func.ops)
      if (op.name === "qc.rescale") for (const v of op.operands) rescaleOf.set(v, op.results[0]!);
    return func.ops.flatMap((op): LayerReport[] => {
      const n = macsOf(op);
      const out = op.results[0]!;
      const accumulates = op.name.startsWith("qc.") && hasTrait(op, "accumulates");
      if (n === 0 && !accumulates) return [];
      const weights = weightsOf(op.operands[1], defs);
      const { elem } = out.type;
      return [
        {
          tensor: (rescaleOf.get(out) ?? out).name,
          op: op.name,
          shape: out.type.shape,
          macs: { nominal: n, executed: n },
          ...(weights && { weights }),
          ...(elem.kind === "int" && { accBits: elem.bits }),
        },
      ];
    });
  });
}

/** Operators on real numbers in the file, all of which are integer once `integerize` has succeeded. */
export function coverage(imported: Module): Coverage {
  const total = allOps(imported).filter((op) => op.name.startsWith("float.")).length;
  return { total, integer: total };
}

/** The certificates that `certify` attached. */
export function rescales(integer: Module): readonly RescaleCertificate[] {
  return allOps(integer).flatMap((op): RescaleCertificate[] => {
    if (op.name !== "qc.rescale" || op.attrs.proof === undefined || op.attrs.proof === null) return [];
    const proof = op.attrs.proof as unknown as RescaleManifest;
    return [{ tensor: op.results[0]!.name, channels: proof.m.length, ...proof }];
  });
}
