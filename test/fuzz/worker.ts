/** Compiles one damaged file after the other, so that a hang can be ended from outside. */
import { parentPort } from "node:worker_threads";
import { checkFile } from "./check.ts";

parentPort!.on("message", async (bytes: Uint8Array) => {
  parentPort!.postMessage(await checkFile(bytes));
});
