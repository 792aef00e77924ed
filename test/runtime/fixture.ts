/** A hand-made artifact: `run()` adds 1 to every byte of a slot. Independent of the compiler. */
import binaryen from "binaryen";
import type { WasmArtifact } from "../../compiler/backends/wasm/artifact/files.ts";
import { sha256 } from "../../compiler/backends/wasm/artifact/manifest.ts";
import {
  type ExactOn,
  FORMAT_VERSION,
  type Manifest,
  type PortLayout,
  type WasmTarget,
} from "../../runtime/format.ts";

const IN = 1024;
const OUT = 2048;

/** `count` bytes from IN to OUT, each plus one (mod 256). The relaxed module holds a relaxed instruction. */
function module(count: number, imported: boolean): Uint8Array<ArrayBuffer> {
  const memory = imported
    ? '(import "env" "memory" (memory 1))'
    : '(memory 1) (export "memory" (memory 0)) (data (i32.const 16) "weights")';
  const relaxed = imported
    ? "(drop (i8x16.relaxed_swizzle (v128.const i32x4 0 0 0 0) (v128.const i32x4 0 0 0 0)))"
    : "";
  const wat = `(module ${memory}
    (func (export "run") (local $i i32) ${relaxed}
      (loop $l
        (i32.store8 offset=${OUT} (local.get $i) (i32.add (i32.load8_u offset=${IN} (local.get $i)) (i32.const 1)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const ${count}))))))`;
  const m = binaryen.parseText(wat);
  m.setFeatures(binaryen.Features.All);
  const bytes = Uint8Array.from(m.emitBinary());
  m.dispose();
  return bytes;
}

export interface FixtureOptions {
  readonly inputName?: string;
  readonly outputName?: string;
  readonly count?: number;
  readonly target?: WasmTarget;
  /** Of the relaxed module; as if made for u8·s8 when absent. */
  readonly exactOn?: ExactOn;
  /** Of a twin of the relaxed module, for signed bytes; without it there is none. */
  readonly exactOnS8?: ExactOn;
  /** Overrides of the ports, given their defaults. */
  readonly input?: (p: PortLayout) => PortLayout;
  readonly output?: (p: PortLayout) => PortLayout;
}

/** float32 input at scale 0.5, zero point 3; float32 output at scale 0.25, zero point 10: y = (q + 1 − 10)/4. */
export async function fixture(options: FixtureOptions = {}): Promise<WasmArtifact> {
  const {
    inputName = "image",
    outputName = "logits",
    count = 8,
    target = "wasm",
    exactOn = ["u8s8"],
    exactOnS8,
  } = options;
  const input: PortLayout = {
    name: inputName,
    dtype: "float32",
    shape: [1, count],
    slots: [
      {
        offset: IN,
        bytes: count,
        elem: "u8",
        count,
        boundary: { kind: "quantize", scale: 0.5, zeroPoint: 3, lo: 0, hi: 255 },
      },
    ],
  };
  const output: PortLayout = {
    name: outputName,
    dtype: "float32",
    shape: [1, count],
    slots: [
      {
        offset: OUT,
        bytes: count,
        elem: "u8",
        count,
        boundary: { kind: "dequantize", axis: 0, scales: [0.25], zeroPoints: [10] },
      },
    ],
  };
  const baseline = module(count, false);
  const relaxed = target === "wasm-simd" ? undefined : module(count, true);
  const manifest: Manifest = {
    format: "qc-wasm",
    version: FORMAT_VERSION,
    generator: "qc test",
    model: "plus one",
    target,
    inputs: [options.input?.(input) ?? input],
    outputs: [options.output?.(output) ?? output],
    hashes: {
      wasm: await sha256(baseline),
      ...(relaxed && { relaxed: await sha256(relaxed) }),
      ...(relaxed && exactOnS8 && { relaxedS8: await sha256(relaxed) }),
      weights: await sha256(new TextEncoder().encode("weights")),
    },
    ...(relaxed && { exactOn: { relaxed: exactOn, ...(exactOnS8 && { relaxedS8: exactOnS8 }) } }),
    sizes: { weights: 7, code: { baseline: 40 }, arenaPeak: 2 * count, memory: 65536 },
    coverage: { total: 1, integer: 1 },
    macs: { nominal: 0, executed: 0 },
    constantChannels: { folded: 0, total: 0 },
    rescales: [],
  };
  return {
    manifest,
    baseline,
    ...(relaxed && { relaxed }),
    ...(relaxed && exactOnS8 && { relaxedS8: relaxed }),
  };
}
