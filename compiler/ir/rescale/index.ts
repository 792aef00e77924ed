export { certify } from "./certify.ts";
export { evaluateRescale } from "./evaluate.ts";
export { evaluateExact } from "./exact.ts";
export { type RescaleManifest, rescaleManifest } from "./manifest.ts";
export type {
  Certificate,
  Certified,
  CertifyOptions,
  Counterexample,
  IntRange,
  RequantSpec,
  Rescale,
  RescaleClass,
  RescaleHi32,
  RescaleI32,
  RescaleLimb,
  RescaleWide,
  Rounding,
  TieSelect,
} from "./types.ts";
