/** The public API: re-exports only. */
export type { ArtifactFile, WasmArtifact } from "./backends/wasm/artifact/files.ts";
export { artifactFiles, possibleFiles } from "./backends/wasm/artifact/files.ts";
export type { ImportOptions } from "./compile.ts";
export { compileModel, importModel, parseModule, passes, runPasses } from "./compile.ts";
export type { Compiled, CompileOptions, LayerReport, OpCounts, Report } from "./compiled.ts";
export type { ExternalData } from "./frontend/onnx/convert-tensor.ts";
export { dense } from "./ir/dense.ts";
export type { Diagnostic, Loc, Result, Severity } from "./ir/diagnostics.ts";
export { fail, ok, plain, quote } from "./ir/diagnostics.ts";
export type { InterpretOptions, Output } from "./ir/interpreter.ts";
export { interpret } from "./ir/interpreter.ts";
export { externalDataOutside, unreadableFile } from "./ir/messages.ts";
export * from "./ir/messages-cli.ts";
export type { Boundary, Dense, Elements, Func, Module, Port } from "./ir/module.ts";
export type { PrintOptions } from "./ir/printer.ts";
export { printModule } from "./ir/printer.ts";
export type { ElemType, FloatType, IntType, QuantType, TensorType } from "./ir/types.ts";
export { VERSION } from "./version.gen.js";
