/**
 * Kernels multiply bytes by bytes, or 16 bits by 16 bits. Weights between are sums of bytes as long as two of them do; beyond, the
 * activations are handed over in 16 bits.
 */
import { type Diagnostic, fail, ok } from "../ir/diagnostics.ts";
import { wideWeights } from "../ir/messages-quant.ts";
import { type Dense, definitions, type Func } from "../ir/module.ts";
import { attr } from "../ir/op.ts";
import { definePass } from "../ir/pass.ts";
import { rebuild } from "../ir/rewriter.ts";
import { int, intMax, intMin, tensor } from "../ir/types.ts";

/** Sums of two signed bytes. */
const TWO_BYTES = { lo: -256, hi: 254 };
const INT16 = { lo: -32768, hi: 32767 };

const products: ReadonlySet<string> = new Set(["qc.conv", "qc.matmul"]);

const within = ({ data }: Dense, { lo, hi }: { readonly lo: number; readonly hi: number }): boolean =>
  data.every((w: number) => w >= lo && w <= hi);

/** product(x, w) = product(x as i9, w) where w holds more than two bytes add up to. */
function widen(func: Func): { func: Func; diagnostics: Diagnostic[] } {
  const diagnostics: Diagnostic[] = [];
  const defs = definitions(func);
  const wide = rebuild(func, (op, operands, b) => {
    const weights = op.operands[1] && defs.get(op.operands[1]);
    if (!products.has(op.name) || weights?.name !== "const") return undefined;
    const dense = attr<Dense>(weights, "value");
    if (within(dense, TWO_BYTES)) return undefined;
    if (!within(dense, INT16)) {
      diagnostics.push(wideWeights(op, weights.results[0]!));
      return undefined;
    }
    const [x, ...rest] = operands;
    const { shape, elem } = x!.type;
    if (elem.kind !== "int" || elem.bits > 8) return undefined;
    const widened = b.add1(
      "qc.clamp",
      [x!],
      { lo: intMin(elem), hi: intMax(elem) },
      {
        types: [tensor(shape, int(true, 9))],
        ...(op.loc ? { loc: op.loc } : {}),
      },
    );
    return [
      b.add1(op.name, [widened, ...rest], op.attrs, {
        types: op.results.map((r) => r.type),
        names: op.results.map((r) => r.name),
        ...(op.loc ? { loc: op.loc } : {}),
      }),
    ];
  });
  return { func: wide, diagnostics };
}

export const widenOperands = definePass({
  name: "widen-operands",
  summary: "Hand over activations of products in 16 bits where the weights need more than bytes.",
  requires: ["lifted"],
  run: (module) => {
    const done = module.funcs.map(widen);
    const diagnostics = done.flatMap((d) => d.diagnostics);
    return diagnostics.length > 0 ? fail(...diagnostics) : ok({ funcs: done.map((d) => d.func) });
  },
});
