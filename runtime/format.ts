/**
 * The artifact format: what `qc compile` writes and the runtime reads. Everything here is plain JSON data.
 *
 *     stem.wasm           defines and exports `memory` (weights as active data segments) and, unless the target is
 *                         `wasm-relaxed`, exports `run()`, the kernels in baseline SIMD
 *     stem.relaxed.wasm   kernels only; imports `env.memory`, exports `run()`
 *     stem.relaxed-s8.wasm   the same for engines whose dot product takes signed bytes; brings the constants that differ
 *     stem.threads.wasm, stem.relaxed.threads.wasm, stem.relaxed-s8.threads.wasm
 *                         the kernels for several threads, on a shared `env.memory` (`compile --threads`)
 *     stem.worker.js      what the workers run, for pages that forbid workers from `blob:` URLs
 *     stem.js             loader with the runtime and the `Layout` inlined
 *     stem.d.ts           types of inputs and outputs
 *     stem.json           the `Manifest`
 *
 * One inference: the runtime fills the input slots, calls `run()`, and copies the output slots. Memory never grows.
 */

/** Raised when a reader of an older version would misread the artifact. */
export const FORMAT_VERSION = 1;

/** `wasm-simd`: baseline only; `wasm-relaxed`: relaxed only; `wasm`: both, chosen at load. */
export type WasmTarget = "wasm-simd" | "wasm-relaxed" | "wasm";

/** Container of a slot's elements, little-endian and row-major. */
export type Storage = "i8" | "u8" | "i16" | "u16" | "i32" | "f32";

/** ONNX element types a port may have. int2 … uint4 and bool travel one element per byte. */
export type Dtype =
  | "bool"
  | "int2"
  | "uint2"
  | "int4"
  | "uint4"
  | "int8"
  | "uint8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "uint64"
  | "float32"
  | "float64";

/**
 * How the port's numbers and the slot's integers q relate.
 * `quantize`: q = clamp(rne(fround(x / scale)) + zeroPoint, lo, hi); NaN gives lo. ONNX QuantizeLinear in float32.
 * `thresholds`: q = lo + #{k : sign·x ≥ thresholds[k]}, thresholds rising, hi = lo + their number; NaN gives lo.
 * `dequantize`: x = fround((q − zeroPoint[c])·scale[c]), product in float64, c along `axis`, or one entry for the tensor.
 */
export type SlotBoundary =
  | { readonly kind: "none" }
  | {
      readonly kind: "quantize";
      readonly scale: number;
      readonly zeroPoint: number;
      readonly lo: number;
      readonly hi: number;
    }
  | {
      readonly kind: "thresholds";
      readonly sign: 1 | -1;
      readonly thresholds: readonly number[];
      readonly lo: number;
      readonly hi: number;
    }
  | {
      readonly kind: "dequantize";
      readonly axis: number;
      readonly scales: readonly number[];
      readonly zeroPoints: readonly number[];
    };

/** A tensor's place in memory. */
export interface Slot {
  /** Byte address, a multiple of the element size. */
  readonly offset: number;
  readonly bytes: number;
  readonly elem: Storage;
  /** Number of elements. */
  readonly count: number;
  readonly boundary: SlotBoundary;
  /** The stored integer is q + bias; 0 when absent. */
  readonly bias?: number;
}

/** How the integers of a port are read as numbers: x = (q − zeroPoint)·scale. Arrays are per index of `axis`. */
export interface Quantization {
  readonly scale: number | readonly number[];
  readonly zeroPoint: number | readonly number[];
  readonly axis?: number;
}

/** A graph input or output. */
export interface PortLayout {
  /** The ONNX tensor name, exactly. Untrusted. */
  readonly name: string;
  /** The dtype the graph declares, seen by the user unless `raw`. */
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Inputs: one per quantizer that reads the input. Outputs: exactly one. */
  readonly slots: readonly Slot[];
  /** Where the module `relaxedS8` has them. */
  readonly signedSlots?: readonly Slot[];
  /** For integer ports, where the graph says what the integers mean; float ports have it in their boundary. */
  readonly quantization?: Quantization;
}

/**
 * What an engine's `i32x4.relaxed_dot_i8x16_i7x16_add_s` does with a second operand outside 0 … 127. `u8s8`: it is unsigned and
 * nothing is lost (x86 with AVX-VNNI). `s8s8`: it is signed; sums of two products may wrap at 16 bits (ARM). `pairs16`: it is
 * unsigned; sums of two products saturate at 16 bits (other x86).
 */
export type RelaxedDot = "u8s8" | "s8s8" | "pairs16";

/** `any`: every second operand is proved to lie in 0 … 127, where all engines agree. */
export type ExactOn = "any" | readonly RelaxedDot[];

/** The modules for several threads, named after those for one. */
export type ThreadsModule = "baselineThreads" | "relaxedThreads" | "relaxedS8Threads";

/** Something for each module of an artifact. */
export type ModuleNames<T> = { readonly wasm: T; readonly relaxed?: T; readonly relaxedS8?: T } & {
  readonly [m in ThreadsModule]?: T;
};

/** Memory of the modules for several threads, in bytes: of all threads together, and of each one in addition. */
export interface ThreadsLayout {
  readonly memory: number;
  readonly scratch: number;
}

/** The part of the manifest the loader needs; inlined in `stem.js`. */
export interface Layout {
  /** `FORMAT_VERSION` of the writer. */
  readonly version: number;
  readonly model: string;
  readonly target: WasmTarget;
  readonly inputs: readonly PortLayout[];
  readonly outputs: readonly PortLayout[];
  /** SHA-256, lower-case hex, of the module files. */
  readonly hashes: ModuleNames<string>;
  /** Only where the artifact has modules for several threads. */
  readonly threads?: ThreadsLayout;
  /** The relaxed modules, and the engines on which each is proved exact. */
  readonly exactOn?: { readonly relaxed?: ExactOn; readonly relaxedS8?: ExactOn };
}

/**
 * Certificate of one rescale: on every reachable accumulator the integer form equals the exact map.
 *
 *     q(c) = ⌊(Σᵢ aᵢ·mᵢ + c) / 2ⁿ⌋
 *     floor:  y = clamp(q(c), lo, hi)
 *     tie:    down = q(c), up = q(cUp), y = clamp(select(down, up) + h, lo, hi), select as in docs/numerics
 *     exact:  y = clamp(R(Σᵢ aᵢ·Sᵢ + offset) + z, lo, hi), or with z inside R for `shift_then_round`
 */
export interface RescaleCertificate {
  /** Name of the tensor it produces. Untrusted. */
  readonly tensor: string;
  readonly class: "i32" | "hi32" | "limb" | "wide";
  readonly form: "floor" | "tie";
  readonly select?: "odd" | "negative" | "nonnegative";
  readonly n: number;
  readonly lo: number;
  readonly hi: number;
  readonly channels: number;
  /** Greatest number of bits over the channels: of |m| (class wide: w), of the unsaturated window (the sum), of the reachable accumulator. */
  readonly mBits: number;
  readonly windowBits: number;
  readonly accBits: number;
  /** Per channel, per operand. */
  readonly m: readonly (readonly number[])[];
  /** Class wide, per channel: the multiplier of Σ aᵢ·mᵢ, a decimal integer. */
  readonly w?: readonly string[];
  /** Per channel: decimal integers. */
  readonly c: readonly string[];
  /** Only in the tie form, as is `h`, per channel. */
  readonly cUp?: readonly string[];
  readonly h?: readonly number[];
  /** Per channel, per operand: least and greatest reachable accumulator. */
  readonly ranges: readonly (readonly (readonly [number, number])[])[];
  readonly exact: {
    /** Per channel, per operand: `numerator/denominator`. */
    readonly scales: readonly (readonly string[])[];
    /** Per channel. */
    readonly offsets: readonly string[];
    readonly zeroPoint: string;
    readonly rounding: string;
    readonly order: "round_then_shift" | "shift_then_round";
  };
}

/** Sizes in bytes. */
export interface Sizes {
  /** Weights and tables as stored in `stem.wasm`, at their packed width. */
  readonly weights: number;
  /** Function bodies of each module. */
  readonly code: { readonly baseline: number; readonly relaxed?: number; readonly relaxedS8?: number };
  /** Constants that the module `relaxedS8` brings along. */
  readonly relaxedS8Constants?: number;
  /** Greatest number of bytes of activations alive at once. */
  readonly arenaPeak: number;
  /** Linear memory: weights, constants and arena, rounded up to whole pages. */
  readonly memory: number;
}

export interface Coverage {
  /** Operators between the first and the last quantizer. */
  readonly total: number;
  readonly integer: number;
  /** What runs in float32, where that was allowed and there is any: operators and their multiply-accumulates. */
  readonly float?: { readonly ops: number; readonly macs: number };
}

/** Multiply-accumulates of one inference: as the graph has them, and after folding constant channels. */
export interface Macs {
  readonly nominal: number;
  readonly executed: number;
}

export interface Manifest extends Layout {
  readonly format: "qc-wasm";
  /** `qc` and its version. */
  readonly generator: string;
  /** File names beside the manifest; absent until the artifact has a stem. */
  readonly files?: ModuleNames<string> & { readonly worker?: string };
  readonly hashes: Layout["hashes"] & { readonly weights: string };
  readonly sizes: Sizes;
  readonly coverage: Coverage;
  readonly macs: Macs;
  /** Channels whose reachable outputs are one value, folded into their consumers, of all channels. */
  readonly constantChannels: { readonly folded: number; readonly total: number };
  readonly rescales: readonly RescaleCertificate[];
  /** Only in debug artifacts: the integer tensor of every quantizer, kept to the end of `run()`. */
  readonly taps?: readonly PortLayout[];
}

/** Picks the loader's part out of a manifest. */
export function layoutOf(manifest: Manifest): Layout {
  const { version, model, target, inputs, outputs, exactOn, threads } = manifest;
  const { weights: _, ...hashes } = manifest.hashes;
  return {
    version,
    model,
    target,
    inputs,
    outputs,
    hashes,
    ...(exactOn && { exactOn }),
    ...(threads && { threads }),
  };
}
