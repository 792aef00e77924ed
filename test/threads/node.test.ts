/** Models on several threads in Node: the same integers as on one, and a reason wherever there is only one. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, test, vi } from "vitest";
import { artifactFiles } from "../../compiler/backends/wasm/artifact/files.ts";
import { RUNTIME } from "../../compiler/backends/wasm/artifact/runtime.gen.js";
import { RUNTIME_THREADS } from "../../compiler/backends/wasm/artifact/runtime-threads.gen.js";
import { asObject } from "../../compiler/cli/tensors.ts";
import type { Compiled } from "../../compiler/compiled.ts";
import { type Layout, layoutOf } from "../../runtime/format.ts";
import { relaxedEngine } from "../../runtime/relaxed.ts";
import { loadModel, type ThreadsOptions } from "../../runtime/threads.ts";
import { compiled, inputName, models } from "../e2e/compiled.ts";
import { loadModel as loadOnnx, randomInputs, zooIsThere } from "../zoo.ts";

const SMALL = "int8-qdq/mlperf_kws_dscnn";

type Bytes = Uint8Array<ArrayBuffer>;
const sources = ({ baseline, relaxed, relaxedS8, threads }: Compiled) =>
  ({
    wasm: baseline as Bytes,
    ...(relaxed && { relaxed: relaxed as Bytes }),
    ...(relaxedS8 && { relaxedS8: relaxedS8 as Bytes }),
    ...(threads as { [m in keyof typeof threads]: Bytes }),
  }) satisfies ThreadsOptions;
const open = (c: Compiled, options: ThreadsOptions) =>
  loadModel(layoutOf(c.manifest), {}, { ...sources(c), ...options });

const inputsFor = (name: string, count: number) =>
  randomInputs(loadOnnx(name), 3, count).map((x) => asObject(x as Parameters<typeof asObject>[0]));

/** Integers as they are, floats by their bits. */
const bits = (outputs: Record<string, unknown>): Record<string, number[]> =>
  Object.fromEntries(
    Object.entries(outputs).map(([name, data]) => {
      const { buffer, byteOffset, byteLength } = data as Uint8Array;
      return [name, Array.from(new Uint8Array(buffer, byteOffset, byteLength))];
    }),
  );

describe.skipIf(!zooIsThere)("several threads", () => {
  // The dot product of this engine may not be what the relaxed modules are exact on; it is the same on all threads.
  const anyEngine = (c: Compiled): Layout => ({
    ...layoutOf(c.manifest),
    exactOn: { relaxed: "any", relaxedS8: "any" },
  });
  const modules = {
    baseline: { backend: "baseline" },
    relaxed: { backend: "relaxed", relaxedS8: undefined },
    relaxedS8: { backend: "relaxed", relaxed: undefined },
  } as const;

  test.each(models)("%s: bit for bit as one thread", async (name) => {
    const artifact = await compiled(name, { threads: true });
    const inputs = inputsFor(name, 2);
    const hasRelaxed = relaxedEngine() !== undefined;
    for (const [module, choice] of Object.entries(modules)) {
      if (module !== "baseline" && (!hasRelaxed || !artifact[module as "relaxed"])) continue;
      const load = (options: ThreadsOptions) => {
        const given = Object.entries({ ...sources(artifact), ...choice, ...options });
        return loadModel(anyEngine(artifact), {}, Object.fromEntries(given.filter(([, v]) => v)));
      };
      const single = await load({});
      const expected = inputs.map((x) => bits(single.run(x)));
      for (const threads of [2, 3]) {
        const model = await load({ threads, verify: true });
        expect(model).toMatchObject({ threads, threadsReason: "asked for", backend: choice.backend });
        expect(
          inputs.map((x) => bits(model.run(x))),
          `${module}, ${threads} threads`,
        ).toEqual(expected);
        model.dispose();
      }
      single.dispose();
    }
  });

  test("200 runs of a small model, none like another's race", async () => {
    const artifact = await compiled(SMALL, { threads: true });
    const inputs = inputsFor(SMALL, 3);
    const single = await open(artifact, {});
    const expected = inputs.map((x) => bits(single.run(x)));
    const model = await open(artifact, { threads: 3 });
    for (let i = 0; i < 200; i++) {
      const k = i % inputs.length;
      expect(bits(model.run(inputs[k]!))).toEqual(expected[k]);
      // Long enough for the workers to park now and then.
      if (i % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    model.dispose();
    expect(() => model.run(inputs[0]!)).toThrow("the model was disposed");
  });

  test("a build with threads has the same modules for one thread", async () => {
    const [without, having] = [await compiled(SMALL), await compiled(SMALL, { threads: true })];
    expect(having.baseline).toEqual(without.baseline);
    expect(having.relaxed).toEqual(without.relaxed);
    expect(without.threads).toBeUndefined();
    const names = (c: Compiled) => artifactFiles(c, "m").map((f) => f.name);
    expect(names(without)).not.toContain("m.threads.wasm");
    expect(names(having)).toEqual(
      expect.arrayContaining(["m.threads.wasm", "m.relaxed.threads.wasm", "m.worker.js"]),
    );
    expect(having.manifest.hashes.weights).toBe(without.manifest.hashes.weights);
    const { threads: _, ...layout } = layoutOf(having.manifest);
    const { baselineThreads, relaxedThreads, relaxedS8Threads, ...hashes } = layout.hashes;
    expect({ ...layout, hashes }).toEqual(layoutOf(without.manifest));
  });

  test("only artifacts with threads carry the code for them", async () => {
    const loader = (c: Compiled) =>
      new TextDecoder().decode(artifactFiles(c, "m").find((f) => f.name === "m.js")!.bytes);
    expect(loader(await compiled(SMALL))).not.toContain("SharedArrayBuffer");
    expect(loader(await compiled(SMALL, { threads: true }))).toContain("SharedArrayBuffer");
    expect(RUNTIME.length).toBeLessThanOrEqual(9216);
    expect(RUNTIME_THREADS.length).toBeLessThanOrEqual(12_800);
  });
});

describe.skipIf(!zooIsThere)("one thread, and why", () => {
  afterEach(() => vi.unstubAllGlobals());
  const reasonOf = async (options: ThreadsOptions, threads = true): Promise<string> => {
    const artifact = await compiled(SMALL, threads ? { threads } : {});
    const [input] = inputsFor(SMALL, 1);
    const expected = bits((await open(artifact, {})).run(input!));
    const model = await open(artifact, options);
    expect(model.threads).toBe(1);
    expect(bits(model.run(input!))).toEqual(expected);
    model.dispose();
    return model.threadsReason;
  };

  test("nobody asked for more", async () => {
    expect(await reasonOf({})).toBe("one thread was asked for");
  });
  test("compiled without", async () => {
    expect(await reasonOf({ threads: 2 }, false)).toBe("the artifact was compiled without threads");
  });
  test("a page that is not isolated", async () => {
    vi.stubGlobal("crossOriginIsolated", false);
    expect(await reasonOf({ threads: 2 })).toBe("the page is not cross-origin isolated");
  });
  test("no shared memory", async () => {
    vi.stubGlobal("SharedArrayBuffer", undefined);
    expect(await reasonOf({ threads: 2 })).toBe("this engine has no shared memory");
  });
  test("no workers", async () => {
    vi.stubGlobal("process", undefined);
    expect(await reasonOf({ threads: 2 })).toBe("there are no workers here");
  });
  test("a worker that does not start", async () => {
    vi.stubGlobal("Worker", class {});
    const worker = () => {
      throw new Error("blocked");
    };
    expect(await reasonOf({ threads: 2, worker })).toBe("a worker did not start: blocked");
  });
  test("no module for threads", async () => {
    const none = { baselineThreads: undefined, relaxedThreads: undefined } as unknown as ThreadsOptions;
    expect(await reasonOf({ threads: 2, ...none })).toBe("nothing says where the module for threads is");
  });
});

describe.skipIf(!zooIsThere)("errors", () => {
  test.each([0, -1, 1.5, 257, Number.NaN])("%s threads", async (threads) => {
    const artifact = await compiled(SMALL, { threads: true });
    await expect(open(artifact, { threads })).rejects.toMatchObject({
      name: "LoadError",
      message: `threads must be a whole number from 1 to 256, not ${threads}`,
    });
  });

  test("of a worker are errors of loading", async () => {
    const artifact = await compiled(SMALL, { threads: true });
    // A worker that answers as `threads-worker.ts` does when it cannot instantiate.
    const worker = () => {
      const fake = {
        onmessage: (_: { data: string }) => {},
        onerror: null,
        postMessage: () => queueMicrotask(() => fake.onmessage({ data: "LinkError: no memory" })),
        terminate: () => {},
      };
      return fake as unknown as Worker;
    };
    vi.stubGlobal("Worker", class {});
    try {
      await expect(open(artifact, { threads: 2, worker })).rejects.toMatchObject({
        name: "LoadError",
        message: "a worker cannot run the kernels: LinkError: no memory",
      });
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test("of the hash", async () => {
    const artifact = await compiled(SMALL, { threads: true });
    const other = (await compiled("int8-qdq/mlperf_ad01", { threads: true })).threads!;
    const wrong = {
      baselineThreads: other.baselineThreads as Bytes,
      relaxedThreads: other.relaxedThreads as Bytes,
    };
    await expect(open(artifact, { threads: 2, verify: true, ...wrong })).rejects.toMatchObject({
      name: "LoadError",
      message: expect.stringContaining("SHA-256"),
    });
  });
});

describe.skipIf(!zooIsThere)("the generated loader", () => {
  /** Runs a script beside the artifact's files in a process of its own. */
  const inProcess = async (script: string) => {
    const dir = mkdtempSync(join(tmpdir(), "qc-threads-"));
    try {
      for (const f of artifactFiles(await compiled(SMALL, { threads: true }), "m"))
        writeFileSync(join(dir, f.name), f.bytes);
      const path = join(dir, "use.mjs");
      const [input] = Object.values(inputsFor(SMALL, 1)[0]!) as [Uint8Array];
      writeFileSync(
        path,
        `import { load } from ${JSON.stringify(pathToFileURL(join(dir, "m.js")).href)};
const input = { [${JSON.stringify(inputName(loadOnnx(SMALL)))}]: ${input.constructor.name}.from(${JSON.stringify(Array.from(input))}) };
${script}`,
      );
      return spawnSync(process.execPath, [path], { encoding: "utf8", timeout: 60_000 });
    } finally {
      rmSync(dir, { recursive: true });
    }
  };
  const use = `const [one, two] = [await load(), await load({ threads: 2, verify: true })];
const same = JSON.stringify(one.run(input)) === JSON.stringify(two.run(input));
console.log(two.threads, two.threadsReason, same);
`;

  test("ends its workers with the model", async () => {
    const { status, stdout, stderr } = await inProcess(
      `${use}two[Symbol.dispose]?.() ?? two.dispose(); one.dispose();
process.on("exit", (code) => console.log("exit", code));`,
    );
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: "2 asked for true\nexit 0\n",
      stderr: "",
    });
  });

  test("does not keep the process from ending", async () => {
    const { status, stdout } = await inProcess(use);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "2 asked for true\n" });
  });
});
