/** Messages about ONNX files: their graph around an error, quantizers of other tools, and what cannot be written. */
import { type Diagnostic, type Loc, plain } from "./diagnostics.ts";
import { diagnostic } from "./messages.ts";

/** The standard operators, at the types they take, cannot say it exactly. */
export const notInOnnx = (loc: Loc | undefined, what: string): Diagnostic =>
  diagnostic("error", "QC5012", `not expressible in standard ONNX without changing a result: ${what}`, {
    ...(loc && { loc }),
  });

/** Neighbours in the graph, by their own names. */
export interface Ends {
  readonly made?: readonly string[];
  readonly reads?: readonly string[];
  readonly users: readonly string[];
}

/** A finding with those who make and read what it is about. */
export function withEnds(d: Diagnostic, { made = [], reads = [], users }: Ends): Diagnostic {
  const note = (label: string, list: readonly string[]) =>
    list.length === 0 ? [] : [{ label, text: list.join(", ") }];
  const ends = [...note("made by", made), ...note("reads", reads), ...note("used by", users)];
  return ends.length === 0 ? d : { ...d, notes: [...(d.notes ?? []), ...ends] };
}

/** A quantizer of some training or deployment tool that its own exporter should have turned into standard ones. */
export const foreignQuantizer = (op: string, nodes: readonly string[], loc: Loc): Diagnostic =>
  diagnostic("error", "QC2008", `${plain(op)} is the quantizer of another tool, left in the file`, {
    loc,
    notes: nodes.map((text) => ({ label: "node", text })),
    fixes: [
      "export with QuantizeLinear and DequantizeLinear, or QONNX Quant: most tools have an option for deployment",
      "remove it, and give the grid here: --quant tensor=u8@scale,zero, or --calib data.npz",
    ],
  });
