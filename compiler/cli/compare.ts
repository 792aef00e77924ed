/** Artifact against reference interpreter, bit for bit. */
import { rawDtype, type TensorData } from "../../runtime/elements.ts";
import { type Layout, layoutOf, type Manifest, type PortLayout, type Slot } from "../../runtime/format.ts";
import { loadModel, type Model } from "../../runtime/index.ts";
import { type Compiled, type Diagnostic, differs } from "../index.ts";
import { asObject, type Tensors } from "./tensors.ts";

interface Compared {
  readonly name: string;
  readonly rank: number;
  /** Whether a float island takes part in it, and what it is itself. */
  readonly float: "none" | "integer" | "real";
}

/** Names of results that float islands take part in. */
function behindIslands({ exact }: Compiled): ReadonlyMap<string, Compared["float"]> {
  const main = exact.funcs[0]!;
  const found = new Set<object>();
  for (const op of main.ops)
    if (op.name !== "const" && (op.name.startsWith("float.") || op.operands.some((v) => found.has(v))))
      for (const v of op.results) found.add(v);
  return new Map(
    main.results.flatMap(({ name, value }) => {
      const real = value.type.elem.kind === "float";
      return real || found.has(value) ? [[name, real ? "real" : "integer"] as const] : [];
    }),
  );
}

/** A loaded artifact whose outputs are integers: of the graph's outputs and, in a debug build, of every quantizer. */
export interface Subject {
  readonly name: string;
  /** What its outputs "0", "1" … are, and the order in which the graph computes them. */
  readonly tensors: readonly Compared[];
  readonly model: Model;
}

export interface Verdict {
  readonly subject: string;
  readonly tensors: number;
  readonly elements: number;
  readonly differing: number;
}

/** The layout whose outputs are the given ports as plain integers, named by position so that names cannot clash. */
export function integerLayout(manifest: Manifest, ports: readonly PortLayout[]): Layout {
  const whole = (slots: readonly Slot[]) => [{ ...slots[0]!, boundary: { kind: "none" } as const }];
  const outputs = ports.map((p, i): PortLayout => {
    const slots = whole(p.slots);
    return {
      name: String(i),
      dtype: rawDtype(slots[0]!),
      shape: p.shape,
      slots,
      ...(p.signedSlots && { signedSlots: whole(p.signedSlots) }),
    };
  });
  return { ...layoutOf(manifest), outputs };
}

/** Every set of kernels of the artifact that can run in this engine, and why the others cannot. */
export async function subjectsOf(
  compiled: Compiled,
  label: string,
): Promise<{ readonly subjects: readonly Subject[]; readonly skipped: readonly string[] }> {
  const { manifest, baseline, relaxed, relaxedS8 } = compiled;
  const islands = behindIslands(compiled);
  const float = (name: string) => islands.get(name) ?? "none";
  const taps = manifest.taps ?? [];
  const layout = integerLayout(manifest, [...manifest.outputs, ...taps]);
  const tensors = [
    ...manifest.outputs.map((p, i) => ({ name: p.name, rank: taps.length + i, float: float(p.name) })),
    ...taps.map((p, i) => ({ name: p.name, rank: i, float: float(p.name) })),
  ];
  const bytes = (b: Uint8Array) => b as Uint8Array<ArrayBuffer>;
  const sources = {
    wasm: bytes(baseline),
    ...(relaxed && { relaxed: bytes(relaxed) }),
    ...(relaxedS8 && { relaxedS8: bytes(relaxedS8) }),
  };
  const backends: ("baseline" | "relaxed")[] = [];
  if (manifest.target !== "wasm-relaxed") backends.push("baseline");
  if (relaxed) backends.push("relaxed");
  const subjects: Subject[] = [];
  const skipped: string[] = [];
  for (const backend of backends) {
    const name = `${backend}${label}`;
    try {
      subjects.push({ name, tensors, model: await loadModel(layout, {}, { ...sources, backend }) });
    } catch (error) {
      if (!(error instanceof Error && error.name === "LoadError" && backend === "relaxed")) throw error;
      skipped.push(`${name}: ${error.message}`);
    }
  }
  return { subjects, skipped };
}

/**
 * Float islands compute in float32, the reference in float64: reals agree to a thousandth, integers behind islands to one step.
 */
function near({ float }: Compared, a: number, b: number): boolean {
  if (float === "none") return false;
  if (float === "integer") return Math.abs(a - b) <= 1;
  return Math.abs(a - b) <= 1e-5 + 1e-3 * Math.abs(b) || (Number.isNaN(a) && Number.isNaN(b));
}

/** Runs one sample and compares; `expected` are the reference's integers by tensor name. */
export function compareSample(
  { name, tensors, model }: Subject,
  inputs: Tensors,
  sample: number,
  expected: ReadonlyMap<string, TensorData>,
): Verdict & { readonly first: Diagnostic | undefined } {
  const out = model.run(asObject(inputs));
  let elements = 0;
  let differing = 0;
  let first: { readonly rank: number; readonly finding: Diagnostic } | undefined;
  tensors.forEach((tensor, t) => {
    const ours = out[String(t)]!;
    const theirs = expected.get(tensor.name);
    if (theirs?.length !== ours.length) throw new Error(`the reference has no such tensor ${tensor.name}`);
    elements += ours.length;
    for (let i = 0; i < ours.length; i++) {
      if (ours[i] === theirs[i] || near(tensor, Number(ours[i]), Number(theirs[i]))) continue;
      differing++;
      if (first === undefined || tensor.rank < first.rank)
        first = {
          rank: tensor.rank,
          finding: differs(tensor.name, sample, i, `${ours[i]} (${name})`, String(theirs[i])),
        };
    }
  });
  return { subject: name, tensors: tensors.length, elements, differing, first: first?.finding };
}

/** The reference against exact rational arithmetic at every tensor of a build. */
export function compareExact(
  sample: number,
  reference: ReadonlyMap<string, TensorData>,
  exact: ReadonlyMap<string, TensorData>,
): Verdict & { readonly first: Diagnostic | undefined } {
  let elements = 0;
  let differing = 0;
  let first: Diagnostic | undefined;
  for (const [name, want] of exact) {
    const got = reference.get(name);
    if (got?.length !== want.length) throw new Error(`the reference has no such tensor ${name}`);
    elements += want.length;
    for (let i = 0; i < want.length; i++) {
      if (got[i] === want[i] || Object.is(got[i], want[i])) continue;
      differing++;
      first ??= differs(name, sample, i, `${got[i]} (interpreter)`, `${want[i]} (exact)`);
    }
  }
  return { subject: EXACT, tensors: exact.size, elements, differing, first };
}

const EXACT = "exact rationals, every quantizer";
