/** The work of binaryen as plain data, so that other threads can do it. */
import type { Program } from "../../ir/kernel/ir.ts";
import { assembleModule, type ModuleOptions } from "./module.ts";
import { assembleThreads, type ThreadsModuleOptions, type ThreadsProgram } from "./threads.ts";

/** One module to assemble. Structured cloning preserves it; typed arrays are not to be written to. */
export type AssembleJob =
  | { readonly kind: "module"; readonly options: ModuleOptions }
  | { readonly kind: "threads"; readonly made: ThreadsProgram; readonly options: ThreadsModuleOptions };

/** Gives the bytes of the module, always the same ones for equal jobs. Rejects on programs that are not legal. */
export type Assembler = (job: AssembleJob) => Promise<Uint8Array>;

/** On the calling thread. */
export const assembleHere: Assembler = (job) =>
  job.kind === "module" ? assembleModule(job.options) : assembleThreads(job.made, job.options);

/** The program with the constants' places but without their bytes, for modules that do not bring them. */
export const withoutData = (program: Program): Program => ({
  ...program,
  buffers: program.buffers.map(({ data: _, ...rest }) => rest),
});
