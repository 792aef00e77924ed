/** Where schedules are measured: in this process, or in a Chromium that is started for it. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { engineFailed, fail, noBrowser, ok, type Result } from "../../index.ts";
import { measureTrials, type TrialModule, type Trials, type TrialTimes } from "./measure.ts";

export interface Engine {
  readonly name: string;
  readonly measure: (trials: Trials) => Promise<TrialTimes>;
  readonly close: () => void;
}

/** Modules compiled from here on go to the optimizing compiler at once: what an inference settles at. */
export function nodeEngine(): Engine {
  setFlagsFromString("--no-liftoff");
  const { node, v8 } = process.versions;
  return { name: `Node ${node}, V8 ${v8}`, measure: measureTrials, close: () => {} };
}

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const chromiumPath = (): string | undefined => {
  const { CHROMIUM } = process.env;
  return CHROMIUM ? (existsSync(CHROMIUM) ? CHROMIUM : undefined) : PATHS.find((p) => existsSync(p));
};

const FLAGS = [
  "--headless=new",
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
  "--disable-component-update",
  "--disable-background-networking",
  "--no-first-run",
  "--js-flags=--no-liftoff",
];

/** Asks for jobs until there are no more. A failure is answered, so that the command ends. */
const PAGE = `const measureTrials = ${measureTrials.toString()};
const post = (body) => fetch("answer", { method: "POST", body: JSON.stringify(body) });
await post({ version: navigator.userAgent });
for (;;) {
  const job = await (await fetch("job", { method: "POST" })).json();
  if (!job) break;
  const load = async (t) => ({ ...t, binary: new Uint8Array(await (await fetch(t.binary)).arrayBuffer()) });
  try {
    const timed = [];
    for (const t of job.timed) timed.push(await load(t));
    const reference = job.reference && { reference: await load(job.reference) };
    await post({ times: await measureTrials({ ...job, timed, ...reference }) });
  } catch (e) { await post({ error: String(e) }); }
}
`;

interface Answer {
  readonly version?: string;
  readonly times?: TrialTimes;
  readonly error?: string;
}

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
};

/** One value that one side waits for. */
function mailbox<T>() {
  let deliver: (value: T) => void = () => {};
  let next = new Promise<T>((resolve) => {
    deliver = resolve;
  });
  return {
    put: (value: T): void => deliver(value),
    take: async (): Promise<T> => {
      const value = await next;
      next = new Promise<T>((resolve) => {
        deliver = resolve;
      });
      return value;
    },
  };
}

const START_MS = 60_000;

/** Starts the browser named by CHROMIUM, or one where systems have it. `close` ends it. */
export async function chromiumEngine(): Promise<Result<Engine>> {
  const path = chromiumPath();
  if (path === undefined)
    return fail(noBrowser(process.env.CHROMIUM ?? `none of ${PATHS.join(", ")} exists`));
  const jobs = mailbox<string>();
  const answers = mailbox<Answer>();
  let binaries: readonly Uint8Array[] = [];
  const server = createServer((request, response) => {
    const send = (type: string, body: string | Uint8Array): void => {
      response.writeHead(200, {
        "content-type": type,
        // An isolated page has a clock of 5 µs instead of 100.
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
      });
      response.end(body);
    };
    const name = (request.url ?? "/").slice(1);
    if (name === "") send("text/html", '<!doctype html><script type="module" src="page.js"></script>');
    else if (name === "page.js") send("text/javascript", PAGE);
    else if (name === "job") void jobs.take().then((job) => send("application/json", job));
    else if (name === "answer")
      void bodyOf(request).then((body) => {
        send("application/json", "null");
        answers.put(JSON.parse(body) as Answer);
      });
    else if (/^\d+$/.test(name) && binaries[Number(name)]) send("application/wasm", binaries[Number(name)]!);
    else {
      response.writeHead(404);
      response.end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const profile = mkdtempSync(join(tmpdir(), "qc-tune-"));
  // Its sandbox does not start for root.
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const browser = spawn(path, [...FLAGS, ...sandbox, `--user-data-dir=${profile}`, url], { stdio: "ignore" });
  browser.on("error", (e) => answers.put({ error: e.message }));
  browser.on("exit", (code) => answers.put({ error: `the browser ended with code ${code}` }));
  const late = setTimeout(() => answers.put({ error: "the browser did not open the page" }), START_MS);
  const close = (): void => {
    browser.removeAllListeners("exit");
    browser.once("exit", () => rmSync(profile, { recursive: true, force: true, maxRetries: 5 }));
    browser.kill();
    server.closeAllConnections();
    server.close();
  };
  const hello = await answers.take();
  clearTimeout(late);
  if (hello.version === undefined) {
    close();
    return fail(engineFailed(hello.error ?? "no answer"));
  }
  const measure = async (trials: Trials): Promise<TrialTimes> => {
    const list: Uint8Array[] = [];
    const described = (t: TrialModule) => ({ ...t, binary: String(list.push(t.binary) - 1) });
    const job = {
      ...trials,
      timed: trials.timed.map(described),
      ...(trials.reference && { reference: described(trials.reference) }),
    };
    binaries = list;
    jobs.put(JSON.stringify(job));
    const answer = await answers.take();
    if (!answer.times) throw new Error(answer.error ?? "no answer");
    return answer.times;
  };
  const name = /(?:Headless)?Chrome\/\S+/.exec(hello.version)?.[0] ?? hello.version;
  return ok({ name, measure, close });
}
