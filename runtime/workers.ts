/** Workers in browsers and in Node, made without fetching anything where the page allows it. */
import { loadError } from "./errors.ts";
import { WORKER } from "./threads-worker.ts";

/** A script's URL, or a function that makes the worker. */
export type WorkerSource = string | URL | (() => Worker);

/** What each worker gets, with its number. */
export interface Job {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly threads: number;
}

export interface Pool {
  /** Ends the workers. */
  readonly end: () => void;
}

interface NodeWorker {
  once(event: "message" | "error", listener: (value: unknown) => void): void;
  postMessage(data: unknown): void;
  unref(): void;
  terminate(): Promise<unknown>;
}
interface NodeProcess {
  getBuiltinModule?(
    name: "node:worker_threads",
  ): { Worker: new (code: string, options: { eval: true }) => NodeWorker } | undefined;
}

interface Started {
  /** "" once it is ready, else what the worker says is wrong. Rejects if there is no worker after all. */
  readonly answer: Promise<string>;
  /** Lets the process end while the worker waits. */
  readonly release: () => void;
  readonly end: () => void;
}

function inNode(make: () => NodeWorker, data: unknown): Started {
  const worker = make();
  const answer = new Promise<string>((resolve, reject) => {
    worker.once("message", (text) => resolve(text as string));
    worker.once("error", reject);
  });
  worker.postMessage(data);
  return { answer, release: () => worker.unref(), end: () => void worker.terminate() };
}

function inPage(make: () => Worker, data: unknown): Started {
  const worker = make();
  const answer = new Promise<string>((resolve, reject) => {
    worker.onmessage = (e) => resolve(e.data);
    worker.onerror = (e) => {
      e.preventDefault();
      reject(new Error(e.message || "the page's content security policy, or a script that does not load"));
    };
  });
  worker.postMessage(data);
  return { answer, release: () => {}, end: () => worker.terminate() };
}

/** The ways to make a worker here, the preferred one first. */
function ways(
  given: WorkerSource | undefined,
  place: (() => URL) | undefined,
): ((data: unknown) => Started)[] {
  const { process } = globalThis as { process?: NodeProcess };
  const node = process?.getBuiltinModule?.("node:worker_threads");
  if (node && given === undefined)
    return [(data) => inNode(() => new node.Worker(WORKER, { eval: true }), data)];
  if (typeof Worker === "undefined") return [];
  if (given !== undefined)
    return [(data) => inPage(typeof given === "function" ? given : () => new Worker(given), data)];
  const blob = (data: unknown): Started => {
    const url = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
    const started = inPage(() => new Worker(url), data);
    const revoke = () => URL.revokeObjectURL(url);
    started.answer.then(revoke, revoke);
    return started;
  };
  return place ? [blob, (data) => inPage(() => new Worker(place()), data)] : [blob];
}

/** Starts `count` workers; a sentence if this environment lets none start. Throws `LoadError` if one cannot run the module. */
export async function startWorkers(
  count: number,
  job: Job,
  given: WorkerSource | undefined,
  place: (() => URL) | undefined,
): Promise<Pool | string> {
  let why = "there are no workers here";
  for (const way of ways(given, place)) {
    const started: Started[] = [];
    const end = (): void => {
      for (const s of started) s.end();
    };
    let answers: string[];
    try {
      for (let thread = 1; thread <= count; thread++) started.push(way({ ...job, thread }));
      answers = await Promise.all(started.map((s) => s.answer));
    } catch (error) {
      end();
      for (const s of started) s.answer.catch(() => {});
      why = `a worker did not start: ${error instanceof Error ? error.message : error}`;
      continue;
    }
    const wrong = answers.find((text) => text !== "");
    if (wrong !== undefined) {
      end();
      throw loadError(`a worker cannot run the kernels: ${wrong}`);
    }
    for (const s of started) s.release();
    return { end };
  }
  return why;
}
