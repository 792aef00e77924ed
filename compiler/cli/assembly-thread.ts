/** What a thread of `assembly.ts` runs. */
import module from "node:module";
import { parentPort } from "node:worker_threads";
import { type AssembleJob, assembleHere, preloadAssembler } from "../index.ts";
import type { Answer } from "./assembly.ts";

module.enableCompileCache?.();
const answer = (a: Answer): void => parentPort!.postMessage(a);

parentPort!.on("message", (job: AssembleJob) =>
  assembleHere(job).then(
    (bytes) => answer({ bytes }),
    (error: unknown) => answer({ error: error instanceof Error ? error : new Error(String(error)) }),
  ),
);
await preloadAssembler();
answer("ready");
