/** The manifest of a compiled model. */
import {
  FORMAT_VERSION,
  type Macs,
  type Manifest,
  type PortLayout,
  type Quantization,
  type RescaleCertificate,
  type ThreadsModule,
  type WasmTarget,
} from "../../../../runtime/format.ts";
import { floatShare } from "../../../ir/macs.ts";
import type { Module, Op, Port } from "../../../ir/module.ts";
import { hasTrait } from "../../../ir/ops/index.ts";
import { rescaleOf } from "../../../ir/ops/integer-rescale.ts";
import type { RescaleProof } from "../../../ir/rescale/shift.ts";
import { VERSION } from "../../../version.gen.js";
import type { WasmModules } from "../build.ts";
import { rescaleCertificate } from "./certificate.ts";
import { sha256 } from "./manifest.ts";
import { codeBytes, dataBytes } from "./sections.ts";

export interface ManifestFacts {
  readonly name: string;
  readonly target: WasmTarget;
  readonly modules: WasmModules;
  readonly exactOn: NonNullable<Manifest["exactOn"]>;
  readonly peak: number;
  readonly imported: Module;
  /** The integer graph before and after reduction; the latter cut into kernels. */
  readonly integer: Module;
  readonly fused: Module;
  readonly macs: Macs;
  /** How many results the graph itself has; the rest are taps. */
  readonly results: number;
}

export async function manifestOf(f: ManifestFacts): Promise<Manifest> {
  const { modules } = f;
  const imported = f.imported.funcs[0]!;
  const weights = dataBytes(modules.baseline);
  const hashes = {
    wasm: await sha256(modules.baseline),
    ...(modules.relaxed ? { relaxed: await sha256(modules.relaxed) } : {}),
    ...(modules.relaxedS8 ? { relaxedS8: await sha256(modules.relaxedS8) } : {}),
    ...(await hashesOf(modules.threads?.modules)),
    weights: await sha256(weights),
  };
  const ports = [...imported.params, ...imported.results];
  const described = (p: PortLayout): PortLayout => {
    const quantization = quantizationOf(ports.find((q) => q.name === p.name));
    return quantization ? { ...p, quantization } : p;
  };
  const outputNames = new Set(imported.results.map((r) => r.name));
  const outputs = modules.outputs.filter((p) => outputNames.has(p.name)).map(described);
  const taps = modules.outputs.filter((p) => !outputNames.has(p.name));
  const share = floatShare(f.integer.funcs[0]!);
  const operators = imported.ops.filter((o) => hasTrait(o, "float") || hasTrait(o, "movement")).length;
  return {
    format: "qc-wasm",
    version: FORMAT_VERSION,
    generator: `qc ${VERSION}`,
    model: f.name,
    target: f.target,
    inputs: modules.inputs.map(described),
    outputs,
    ...(modules.relaxed ? { exactOn: f.exactOn } : {}),
    hashes,
    ...(modules.threads && { threads: modules.threads.layout }),
    sizes: {
      weights: modules.constBytes,
      code: {
        baseline: codeBytes(modules.baseline),
        ...(modules.relaxed ? { relaxed: codeBytes(modules.relaxed) } : {}),
        ...(modules.relaxedS8 ? { relaxedS8: codeBytes(modules.relaxedS8) } : {}),
      },
      ...(modules.relaxedS8 ? { relaxedS8Constants: modules.signedConstBytes } : {}),
      arenaPeak: f.peak,
      memory: modules.memoryBytes,
    },
    coverage:
      share.ops === 0
        ? { total: operators, integer: operators }
        : { total: operators, integer: Math.max(0, operators - share.ops), float: share },
    macs: f.macs,
    constantChannels: constantChannels(f.integer, f.fused),
    rescales: f.fused.funcs.flatMap((func) =>
      func.ops.filter((o) => o.name === "qc.rescale").map(certificateOf),
    ),
    ...(taps.length > 0 ? { taps } : {}),
  };
}

async function hashesOf(modules: { readonly [m in ThreadsModule]?: Uint8Array } = {}) {
  const entries = Object.entries(modules).map(async ([name, bytes]) => [name, await sha256(bytes)] as const);
  return Object.fromEntries(await Promise.all(entries)) as { readonly [m in ThreadsModule]?: string };
}

/** What the integers of an integer-typed port stand for. */
function quantizationOf(port: Port | undefined): Quantization | undefined {
  const elem = port?.value.type.elem;
  if (elem?.kind !== "quant") return undefined;
  const s = elem.scheme;
  return s.kind === "tensor"
    ? { scale: s.scale, zeroPoint: s.zeroPoint }
    : { scale: s.scales, zeroPoint: s.zeroPoints, axis: s.axis };
}

function certificateOf(op: Op): RescaleCertificate {
  const rescale = rescaleOf(op.attrs);
  const p = op.attrs.proof as unknown as RescaleProof;
  return rescaleCertificate({
    tensor: op.results[0]!.name,
    specs: p.scales.map((scales, c) => ({
      scales,
      offset: p.offsets[c]!,
      zeroPoint: p.zero_point,
      lo: rescale.lo,
      hi: rescale.hi,
      rounding: p.rounding,
      order: p.order,
    })),
    ranges: p.ranges.map((channel) => channel.map(([min, max]) => ({ min, max }))),
    rescale,
    certificate: {
      class: rescale.class,
      form: rescale.form,
      n: rescale.n,
      mBits: p.mBits,
      windowBits: p.windowBits,
      accBits: p.accBits,
      ties: p.ties,
      intervals: [],
    },
  });
}

/** Output channels of linear ops: how many there were, and how many the reduced graph no longer computes. */
function constantChannels(integer: Module, fused: Module): { folded: number; total: number } {
  const count = (m: Module): number =>
    m.funcs.reduce(
      (n, f) =>
        n + f.ops.reduce((k, o) => k + (linear.has(o.name) ? o.results[0]!.type.shape.at(-1)! : 0), 0),
      0,
    );
  const total = count(integer);
  return { folded: total - count(fused), total };
}
const linear = new Set(["qc.conv", "qc.matmul"]);
