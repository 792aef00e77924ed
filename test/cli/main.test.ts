import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { artifactFiles } from "../../compiler/backends/wasm/artifact/files.ts";
import { stemOf, writeArtifact } from "../../compiler/cli/files.ts";
import { main } from "../../compiler/cli/main.ts";
import { readNpy, writeNpy } from "../../compiler/cli/npy.ts";
import { writeNpz } from "../../compiler/cli/npz.ts";
import { diagnosticText } from "../../compiler/cli/print.ts";
import { fixture } from "../runtime/fixture.ts";
import { qc } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "qc-cli-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const folder = (): string => {
  const dir = join(root, String(count++));
  mkdirSync(dir);
  return dir;
};

describe("usage", () => {
  const cases: [string, string[], number, string][] = [
    ["nothing", [], 2, "Usage: qc"],
    ["unknown command", ["compil", "x"], 2, "Did you mean compile?"],
    ["unknown option", ["compile", "x.onnx", "--targt", "wasm"], 2, "Did you mean --target?"],
    [
      "bad choice",
      ["compile", "x.onnx", "--target", "wgsl"],
      2,
      "Allowed choices are wasm, wasm-simd, wasm-relaxed",
    ],
    ["missing argument", ["compile"], 2, "missing required argument"],
    ["bad number", ["compile", "x.onnx", "--batch", "-3"], 2, "positive integer"],
    ["too many", ["compile", "a.onnx", "b.onnx"], 2, "too many arguments"],
  ];
  test.each(cases)("%s", async (_, argv, code, message) => {
    const s = await qc(...argv);
    expect(s.code).toBe(code);
    expect(s.err).toContain(message);
    expect(s.out).toBe("");
  });

  test("help and version go to standard output", async () => {
    const help = await qc("--help");
    expect(help).toMatchObject({ code: 0, err: "" });
    for (const name of ["compile", "inspect", "run", "verify", "compare", "bench", "opt"])
      expect(help.out).toContain(`  ${name} `);
    expect(await qc("run", "--help")).toMatchObject({ code: 0, err: "" });
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(await qc("--version")).toEqual({ code: 0, out: `${version}\n`, err: "" });
  });

  test("an exception is a bug: exit 70, a stack trace only with --debug", async () => {
    let err = "";
    const terminal = {
      out: () => {
        throw new Error("printer on fire");
      },
      err: (text: string) => {
        err += text;
      },
      color: false,
    };
    const argv = ["compile", join(root, "none.onnx"), "--json"];
    expect(await main(argv, terminal)).toBe(70);
    expect(err).toContain("This is a bug in qc");
    expect(err).toContain("printer on fire");
    expect(err).not.toMatch(/\n\s+at /);
    err = "";
    expect(await main([...argv, "--debug"], terminal)).toBe(70);
    expect(err).toMatch(/\n\s+at /);
  });
});

describe("a failed compile writes nothing", () => {
  const cases: [string, Uint8Array | undefined, string][] = [
    ["missing file", undefined, "QC1021"],
    ["empty file", new Uint8Array(0), "QC1001"],
    ["garbage", new TextEncoder().encode("\u0000not a model at all"), "QC1"],
  ];
  test.each(cases)("%s", async (_, bytes, code) => {
    const dir = folder();
    const model = join(dir, "m.onnx");
    if (bytes) writeFileSync(model, bytes);
    const out = join(dir, "deep", "out");
    const s = await qc("compile", model, "-o", out);
    expect(s.code).toBe(1);
    expect(s.out).toBe("");
    expect(s.err).toContain(`error[${code}`);
    expect(s.err).not.toMatch(/\n\s+at /);
    expect(existsSync(join(dir, "deep"))).toBe(false);
    const json = await qc("compile", model, "-o", out, "--json");
    expect(json.code).toBe(1);
    expect(json.err).toBe("");
    expect(JSON.parse(json.out)).toMatchObject({ ok: false, diagnostics: [{ severity: "error" }] });
  });
});

describe("writeArtifact", () => {
  test("all files, package.json only where there is none, stale files removed", async () => {
    const dir = join(folder(), "a", "b");
    const both = artifactFiles(await fixture({ exactOnS8: ["s8s8"] }), "m");
    expect(writeArtifact(dir, "m", both)).toBe(undefined);
    const names = [
      "m.d.ts",
      "m.js",
      "m.json",
      "m.relaxed-s8.wasm",
      "m.relaxed.wasm",
      "m.wasm",
      "package.json",
    ];
    expect(readdirSync(dir).sort()).toEqual(names);
    for (const f of both) expect(new Uint8Array(readFileSync(join(dir, f.name)))).toEqual(f.bytes);
    expect(JSON.parse(readFileSync(join(dir, "package.json"), "utf8"))).toEqual({ type: "module" });

    writeFileSync(join(dir, "package.json"), '{"name":"mine"}');
    writeFileSync(join(dir, "m.txt"), "mine");
    expect(writeArtifact(dir, "m", artifactFiles(await fixture({ target: "wasm-simd" }), "m"))).toBe(
      undefined,
    );
    expect(readdirSync(dir).sort()).toEqual(["m.d.ts", "m.js", "m.json", "m.txt", "m.wasm", "package.json"]);
    expect(readFileSync(join(dir, "package.json"), "utf8")).toBe('{"name":"mine"}');
  });

  test("a folder in the way: a diagnostic, nothing written", async () => {
    const dir = folder();
    mkdirSync(join(dir, "m.json"));
    expect(writeArtifact(dir, "m", artifactFiles(await fixture(), "m"))).toMatchObject({
      code: "QC5002",
      message: "cannot write the file: a folder of that name is in the way",
      loc: { kind: "file", path: join(dir, "m.json") },
    });
    expect(readdirSync(dir)).toEqual(["m.json"]);
  });

  test("a file where the folder should be, a name that is too long", async () => {
    const dir = folder();
    writeFileSync(join(dir, "file"), "");
    const files = artifactFiles(await fixture(), "m");
    expect(writeArtifact(join(dir, "file"), "m", files)?.code).toBe("QC5002");
    expect(writeArtifact(join(dir, "file", "x"), "m", files)?.code).toBe("QC5002");
    const long = "n".repeat(300);
    expect(writeArtifact(join(dir, "new", "er"), long, artifactFiles(await fixture(), long))?.code).toBe(
      "QC5002",
    );
    expect(readdirSync(dir)).toEqual(["file"]);
  });

  test("stems", () => {
    expect(stemOf("/a/b/kws.onnx")).toBe("kws");
    expect(stemOf("kws.v2.ONNX")).toBe("kws.v2");
    expect(stemOf(".onnx")).toBe("model");
  });
});

describe("run on an artifact", () => {
  const image = Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7);
  const logits = [...image].map((v) => (v * 2 + 3 + 1 - 10) / 4);

  async function artifact(options: Parameters<typeof fixture>[0] = {}): Promise<string> {
    const dir = folder();
    expect(writeArtifact(dir, "m", artifactFiles(await fixture(options), "m"))).toBe(undefined);
    return dir;
  }

  test("named by folder, .js or .json; input by name or alone; one row or several", async () => {
    const dir = await artifact();
    const one = join(dir, "one.npy");
    writeFileSync(one, writeNpy(image, [1, 8]));
    const rows = join(dir, "rows.npz");
    writeFileSync(
      rows,
      writeNpz([["input", writeNpy(Float32Array.of(...image, ...image.map((v) => v + 1)), [2, 8])]]),
    );
    for (const argv of [
      [dir, "--input", `image=${one}`],
      [join(dir, "m.js"), one],
      [join(dir, "m.json"), "-i", one],
    ]) {
      const s = await qc("run", ...argv, "--json");
      expect(s.err).toBe("");
      expect(JSON.parse(s.out)).toMatchObject({
        ok: true,
        runs: 1,
        outputs: [{ name: "logits", dtype: "float32", shape: [1, 8], data: logits }],
      });
    }
    const s = await qc("run", dir, rows, "--json");
    const next = logits.map((v) => v + 0.5);
    expect(JSON.parse(s.out).outputs[0]).toMatchObject({ shape: [2, 8], data: [...logits, ...next] });
    const raw = join(dir, "raw.npy");
    writeFileSync(raw, writeNpy(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 255), [8]));
    expect(JSON.parse((await qc("run", dir, raw, "--raw", "--json")).out).outputs[0]).toMatchObject({
      dtype: "uint8",
      data: [2, 3, 4, 5, 6, 7, 8, 0],
    });
  });

  test("--output writes .npy files under harmless names", async () => {
    const dir = await artifact({ outputName: "../../evil\n/__proto__" });
    const one = join(dir, "one.npy");
    writeFileSync(one, writeNpy(image, [1, 8]));
    const s = await qc("run", dir, one, "-o", join(dir, "out"));
    expect(s.code).toBe(0);
    expect(s.out).not.toContain("evil\n");
    const names = readdirSync(join(dir, "out"));
    expect(names).toEqual(["_evil___proto__.npy"]);
    const read = readNpy(new Uint8Array(readFileSync(join(dir, "out", names[0]!))), "x");
    expect(read.ok && [...read.value.data]).toEqual(logits);
  });

  const wrong: [string, (dir: string) => string[], string][] = [
    ["no data", () => [], 'error[QC5006] no data for input "image"'],
    ["unknown input", (d) => ["-i", `imgae=${d}/one.npy`], 'error[QC5007] the model has no input "imgae"'],
    ["wrong shape", (d) => [`${d}/short.npy`], "is float32[3], the model takes float32[1, 8]"],
    ["wrong dtype", (d) => [`${d}/ints.npy`], "is uint8[8], the model takes float32[1, 8]"],
    ["no such file", (d) => [`${d}/none.npy`], "no such file"],
    ["not an array", (d) => [`${d}/m.wasm`], "error[QC5003]"],
  ];
  test.each(wrong)("%s", async (_, argv, message) => {
    const dir = await artifact();
    writeFileSync(join(dir, "one.npy"), writeNpy(image, [8]));
    writeFileSync(join(dir, "short.npy"), writeNpy(image.slice(0, 3), [3]));
    writeFileSync(join(dir, "ints.npy"), writeNpy(new Uint8Array(8), [8]));
    const s = await qc("run", dir, ...argv(dir));
    expect(s.code).toBe(1);
    expect(s.err).toContain(message);
    expect(s.out).toBe("");
  });

  test("not an artifact, two artifacts, a changed module", async () => {
    const dir = await artifact();
    writeFileSync(join(dir, "one.npy"), writeNpy(image, [8]));
    const wasm = readFileSync(join(dir, "m.wasm"));
    wasm[wasm.length - 1]! ^= 1;
    writeFileSync(join(dir, "m.wasm"), wasm);
    const s = await qc("run", dir, join(dir, "one.npy"));
    expect([s.code, s.err.includes("not the one this loader was made for")]).toEqual([1, true]);
    writeArtifact(dir, "n", artifactFiles(await fixture(), "n"));
    expect((await qc("run", dir, join(dir, "one.npy"))).err).toContain("the folder holds 2 artifacts");
    expect((await qc("run", folder())).err).toContain("the folder holds no manifest");
  });
});

describe("diagnostics as text", () => {
  const d = {
    code: "QC2101",
    severity: "error",
    message: "no quantizer on the input of HardSwish, so it would run in float",
    loc: { kind: "node", op: "HardSwish", name: "n\u001b[31m", output: "out" },
    notes: [{ label: "tensor", text: "add_3   float32[1,32,28,28]" }],
    fixes: ["first way", "second way"],
  } as const;

  test("headline, facts, numbered fixes; names escaped", () => {
    expect(diagnosticText(d, { color: false })).toBe(
      `error[QC2101] no quantizer on the input of HardSwish, so it would run in float
  node    HardSwish "n\\u001b[31m" → out
  tensor  add_3   float32[1,32,28,28]
  fix     1 first way
          2 second way
`,
    );
  });

  test("colours and wrapping only when asked for", () => {
    const text = diagnosticText(d, { color: true, width: 60 });
    expect(text).toContain("\x1b[1;31merror[QC2101]\x1b[0m");
    const plain = diagnosticText(d, { color: false, width: 60 });
    expect(plain.split("\n").every((line) => line.length <= 60)).toBe(true);
  });
});
