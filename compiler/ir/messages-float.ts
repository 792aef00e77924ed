/** Messages about float islands. */
import { type Diagnostic, type Loc, plain, quote } from "./diagnostics.ts";
import { diagnostic } from "./messages.ts";
import type { Op } from "./module.ts";

const named = (op: Op): string => (op.loc?.kind === "node" ? plain(op.loc.op) : op.name.replace(/^.*\./, ""));

/** Connected ops that run in float32 because the user allowed it; `why`: the error it would be otherwise. */
export function floatIsland(ops: readonly Op[], why: Diagnostic | undefined): Diagnostic {
  const counts = new Map<string, number>();
  const nodes = new Set<string>();
  for (const op of ops) {
    const node = op.loc?.kind === "node" ? op.loc.output : undefined;
    if (node !== undefined && nodes.has(node)) continue;
    if (node !== undefined) nodes.add(node);
    counts.set(named(op), (counts.get(named(op)) ?? 0) + 1);
  }
  const all = [...counts].map(([name, n]) => (n === 1 ? name : `${n} × ${name}`));
  const total = [...counts.values()].reduce((a, b) => a + b, 0);
  const shown = all.length > 8 ? [...all.slice(0, 8), `${all.length - 8} kinds more`] : all;
  const verb = total === 1 ? "operator runs" : "operators run";
  return diagnostic("note", "QC2146", `${total} ${verb} in float32: ${shown.join(", ")}`, {
    ...(ops[0]?.loc && { loc: ops[0].loc }),
    notes: why ? [{ label: "because", text: why.message }] : [],
    fixes: ["see what each needs to be integer: compile without --allow-float"],
  });
}

/** A name given to `--allow-float` that no node or tensor has. */
export const nothingToAllow = (name: string): Diagnostic =>
  diagnostic(
    "error",
    "QC2147",
    `no node and no tensor is called ${plain(name)}, so nothing there can be allowed to run in float`,
    {
      fixes: ["give names of nodes or of tensors they make, as the file has them"],
    },
  );

/** A cast of floats to 64-bit integers. */
export const saturates = (loc: Loc, tensor: string, type: string): Diagnostic =>
  diagnostic("warning", "QC2158", `${quote(tensor)} (${type}) is carried in 32 bits`, {
    loc,
    notes: [
      {
        label: "meaning",
        text: "it is cast from floats: those beyond ±2³¹ saturate there, where 64 bits would hold them",
      },
    ],
    fixes: ["none needed, where the floats are indices or counts"],
  });

/** Integers of 64 bits whose values may need more than 32. */
export const beyondWords = (loc: Loc, tensor: string, type: string): Diagnostic =>
  diagnostic("error", "QC2157", `${quote(tensor)} (${type}) may hold integers beyond 32 bits`, {
    loc,
    notes: [
      {
        label: "meaning",
        text: "64-bit integers of the run are carried in 32 bits, where their values provably fit; here they may not",
      },
    ],
    fixes: [
      "compute them as int32, if that is meant, or bound the operands with Clip, Mod or a narrower Cast",
    ],
  });

/** A scale that is computed from the tensor it is for: every inference has its own, as a float32. */
export const runtimeScale = (op: Op, tensor: string): Diagnostic =>
  diagnostic(
    "error",
    "QC2148",
    `${named(op)}: the scale of ${quote(tensor)} is a float32 that each run computes`,
    {
      ...(op.loc && { loc: op.loc }),
      tensor,
      notes: [
        {
          label: "meaning",
          text: "dynamic quantization: products of these integers are integer, their scales and what follows are float",
        },
      ],
      fixes: [
        "allow it: --allow-float (allowFloat: true)",
        "quantize statically, with calibration data (onnxruntime.quantization.quantize_static) or by training",
      ],
    },
  );
