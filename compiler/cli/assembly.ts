/** Threads that assemble modules: binaryen loads and works there while the compiler is at its other phases. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { AssembleJob, Assembler } from "../index.ts";

type Program = (AssembleJob & { readonly kind: "module" })["options"]["program"];

/** What a thread sends: that it has loaded, then one answer to every job. */
export type Answer = "ready" | { readonly bytes: Uint8Array } | { readonly error: Error };

interface Task {
  readonly job: AssembleJob;
  readonly done: (bytes: Uint8Array) => void;
  readonly failed: (error: Error) => void;
}

/** Commands that assemble modules. */
const COMMANDS: ReadonlySet<string> = new Set(["compile", "inspect", "verify", "bench"]);
/** While modules are assembled the compiler has nothing else to do, so that two threads serve two processors. */
const THREADS = 2;

/** Starts to load what a command line will need, or nothing where it needs nothing or one processor does all. */
export function assemblyFor(argv: readonly string[]): Assembler | undefined {
  const needed = COMMANDS.has(argv[0] ?? "") && argv.some((a) => a.endsWith(".onnx"));
  return needed && availableParallelism() > 1 ? startAssembly() : undefined;
}

/** Constants that are parts of larger arrays in arrays of their own: cloning copies whole buffers. */
function compact(job: AssembleJob): AssembleJob {
  const own = <T extends { readonly data?: Uint8Array }>(b: T): T =>
    b.data && b.data.byteLength < b.data.buffer.byteLength ? { ...b, data: b.data.slice() } : b;
  const ownAll = (p: Program): Program => ({ ...p, buffers: p.buffers.map(own) });
  return job.kind === "module"
    ? { ...job, options: { ...job.options, program: ownAll(job.options.program) } }
    : { ...job, made: { ...job.made, program: ownAll(job.made.program) } };
}

/**
 * Threads start one after the other, so that loading takes no processor from the compiler. Where none can be started, or one
 * dies, its jobs are done on the calling thread. None keeps the process alive unless it is at work.
 */
export function startAssembly(
  file = new URL(`./assembly-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url),
): Assembler {
  const waiting: Task[] = [];
  const idle: ((task: Task) => void)[] = [];
  const workers = new Set<Worker>();
  let open = 0;

  const here = async ({ job, done, failed }: Task): Promise<void> => {
    try {
      const { assembleHere } = await import("../index.ts");
      done(await assembleHere(job));
    } catch (error) {
      failed(error instanceof Error ? error : new Error(String(error)));
    }
  };
  /** Waiting for an answer keeps the process alive, waiting for one to come does not. */
  const hold = (): void => {
    for (const w of workers) open > 0 ? w.ref() : w.unref();
  };
  const next = (): void => {
    if (workers.size === 0) for (const task of waiting.splice(0)) void here(task);
    while (waiting.length > 0 && idle.length > 0) idle.shift()!(waiting.shift()!);
  };
  const start = (left: number): void => {
    let task: Task | undefined;
    let worker: Worker;
    try {
      worker = new Worker(file);
    } catch {
      return;
    }
    workers.add(worker);
    hold();
    const take = (given: Task): void => {
      task = given;
      try {
        worker.postMessage(compact(given.job));
      } catch (error) {
        task = undefined;
        idle.push(take);
        given.failed(error instanceof Error ? error : new Error(String(error)));
      }
    };
    // "exit" follows.
    worker.on("error", () => {});
    worker.on("exit", () => {
      workers.delete(worker);
      const at = idle.indexOf(take);
      if (at >= 0) idle.splice(at, 1);
      if (task) waiting.unshift(task);
      task = undefined;
      next();
    });
    worker.on("message", (answer: Answer) => {
      const finished = task;
      task = undefined;
      idle.push(take);
      if (answer === "ready") {
        if (left > 1) start(left - 1);
      } else if ("error" in answer) finished?.failed(answer.error);
      else finished?.done(answer.bytes);
      next();
    });
  };
  start(THREADS);
  return (job) =>
    new Promise<Uint8Array>((done, failed) => {
      open++;
      hold();
      waiting.push({ job, done, failed });
      next();
    }).finally(() => {
      open--;
      hold();
    });
}
