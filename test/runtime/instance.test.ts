import { describe, expect, test } from "vitest";
import {
  type LoadOptions,
  loadModel,
  type Manifest,
  type Model,
  type PortLayout,
} from "../../runtime/index.ts";
import { relaxedEngine } from "../../runtime/relaxed.ts";
import { requireOrSkip } from "../require.ts";
import { type FixtureOptions, fixture } from "./fixture.ts";

async function model(
  options: FixtureOptions & { load?: LoadOptions; manifest?: Partial<Manifest> } = {},
): Promise<Model> {
  const a = await fixture(options);
  const places = {
    wasm: () => a.baseline,
    ...(a.relaxed && { relaxed: () => a.relaxed! }),
    ...(a.relaxedS8 && { relaxedS8: () => a.relaxedS8! }),
  };
  return loadModel({ ...a.manifest, ...options.manifest }, places, { backend: "baseline", ...options.load });
}

const x = Float32Array.of(-10, 0, 0.25, 0.75, 1, 100, 1e9, NaN);
/** rne(x / 0.5) + 3 clamped, + 1, then (q − 10)/4. */
const y = Array.from([0, 3, 3, 5, 5, 203, 255, 0], (q) => (((q + 1) & 255) - 10) / 4);

describe("run", () => {
  test("converts, calls, converts back; outputs are fresh", async () => {
    const m = await model();
    const a = m.run({ image: x }).logits!;
    expect(a).toBeInstanceOf(Float32Array);
    expect([...a]).toEqual(y);
    const b = m.run({ image: x.map((v) => -v) }).logits!;
    expect([...a]).toEqual(y);
    expect(b.buffer).not.toBe(a.buffer);
    expect(b.buffer.byteLength).toBe(32);
  });

  test("result and ports are null-prototype objects keyed by hostile names", async () => {
    const m = await model({ inputName: "__proto__", outputName: 'a"\n*/\u2028' });
    expect(Object.getPrototypeOf(m.inputs)).toBe(null);
    expect(Object.keys(m.inputs)).toEqual(["__proto__"]);
    const out = m.run({ ["__proto__"]: x });
    expect(Object.getPrototypeOf(out)).toBe(null);
    expect([...out['a"\n*/\u2028']!]).toEqual(y);
    // `{ __proto__: x }` sets a prototype and has no such key.
    expect(() => m.run({ __proto__: x } as never)).toThrow('input "__proto__" is missing');
  });

  test("raw gives and takes integers", async () => {
    const m = await model({ load: { raw: true } });
    expect(m.inputs.image).toEqual({
      name: "image",
      dtype: "uint8",
      shape: [1, 8],
      scale: 0.5,
      zeroPoint: 3,
    });
    const out = m.run({ image: Uint8Array.of(0, 1, 2, 3, 4, 5, 254, 255) }).logits;
    expect(out).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6, 255, 0));
  });

  test("a bias moves the container, not the value", async () => {
    const biased = (p: PortLayout): PortLayout => ({
      ...p,
      dtype: "int8",
      slots: [{ ...p.slots[0]!, elem: "u8", bias: 128, boundary: { kind: "none" } }],
    });
    const m = await model({ input: biased, output: biased });
    expect(m.inputs.image?.dtype).toBe("int8");
    expect(m.run({ image: Int8Array.of(-128, -1, 0, 1, 2, 3, 126, 126) }).logits).toEqual(
      Int8Array.of(-127, 0, 1, 2, 3, 4, 127, 127),
    );
    const raw = await model({ input: biased, output: biased, load: { raw: true } });
    expect(raw.outputs.logits?.dtype).toBe("int8");
    expect(raw.run({ image: new Int8Array(8) }).logits).toEqual(new Int8Array(8).fill(1));
  });

  test("int64 ports travel as BigInt64Array over narrower storage", async () => {
    const port = (p: PortLayout): PortLayout => ({
      ...p,
      dtype: "int64",
      slots: [{ ...p.slots[0]!, boundary: { kind: "none" } }],
    });
    const m = await model({ input: port, output: port });
    expect(m.run({ image: new BigInt64Array(8).fill(41n) }).logits).toEqual(new BigInt64Array(8).fill(42n));
    expect(() => m.run({ image: new BigInt64Array(8).fill(256n) })).toThrow(
      "holds 256 at index 0, outside 0 … 255",
    );
  });

  test("one float input under two quantizers fills both slots", async () => {
    const two = (p: PortLayout): PortLayout => {
      const s = p.slots[0]!;
      const b = { kind: "quantize", scale: 1, zeroPoint: 0, lo: -128, hi: 127 } as const;
      return {
        ...p,
        slots: [
          { ...s, count: 8 },
          { ...s, elem: "i8", offset: s.offset + 256, boundary: b },
        ],
      };
    };
    const m = await model({ input: two });
    expect([...m.run({ image: x }).logits!]).toEqual(y);
    const raw = await model({ input: two, load: { raw: true } });
    expect(() => raw.run({ image: new Uint8Array(8) })).toThrow(
      "has 2 quantizers: pass an array of 2 typed arrays",
    );
    raw.run({ image: [new Uint8Array(8), new Int8Array(8)] });
  });
});

describe("refusals", () => {
  const cases: [string, unknown, string][] = [
    ["missing", {}, 'input "image" is missing'],
    ["unknown", { image: x, imgae: x }, 'unknown input "imgae"; the model has "image"'],
    [
      "length",
      { image: x.slice(1) },
      'input "image" must be a Float32Array of length 8 (shape [1,8]); this one has length 7',
    ],
    [
      "kind",
      { image: new Uint8Array(8) },
      "must be a Float32Array of length 8 (shape [1,8]), not Uint8Array",
    ],
    ["array", { image: [1, 2] }, "must be a Float32Array of length 8 (shape [1,8]), not Array"],
    ["null", { image: null }, "not Null"],
    ["no object", undefined, "run takes an object of typed arrays"],
  ];
  test.each(cases)("%s", async (_, given, message) => {
    const m = await model();
    expect(() => m.run(given as never)).toThrow(message);
    expect(() => m.run(given as never)).toThrow(expect.objectContaining({ name: "RunError" }));
  });

  test("integers outside a narrow type", async () => {
    const int4 = (p: PortLayout): PortLayout => ({
      ...p,
      dtype: "int4",
      slots: [{ ...p.slots[0]!, elem: "i8", boundary: { kind: "none" } }],
    });
    const m = await model({ input: int4 });
    m.run({ image: Int8Array.of(-8, 7, 0, 0, 0, 0, 0, 0) });
    expect(() => m.run({ image: Int8Array.of(0, 8, 0, 0, 0, 0, 0, 0) })).toThrow(
      "holds 8 at index 1, outside -8 … 7",
    );
  });

  test("a refused run leaves the model usable, a disposed one not", async () => {
    const m = await model();
    expect(() => m.run({})).toThrow();
    expect([...m.run({ image: x }).logits!]).toEqual(y);
    expect(m.memoryBytes).toBe(65536);
    m.dispose();
    expect(() => m.run({ image: x })).toThrow("the model was disposed");
    expect(m.memoryBytes).toBe(0);
  });
});

describe("load", () => {
  test("picks a backend and says why", async () => {
    expect((await model()).backendReason).toBe("asked for");
    const simd = await model({ target: "wasm-simd", load: { backend: "auto" } });
    expect([simd.backend, simd.backendReason]).toEqual(["baseline", "the artifact has no relaxed module"]);
    await expect(model({ target: "wasm-simd", load: { backend: "relaxed" } })).rejects.toThrow("cannot run");
    await expect(model({ target: "wasm-relaxed" })).rejects.toThrow("no baseline kernels");
    const everywhere = await model({ exactOn: "any", load: { backend: "auto" } });
    expect([everywhere.backend, everywhere.backendReason]).toEqual(
      everywhere.backend === "relaxed"
        ? ["relaxed", "this engine's relaxed SIMD is exact for this model"]
        : ["baseline", "this engine has no relaxed SIMD"],
    );
    expect([...everywhere.run({ image: x }).logits!]).toEqual(y);
  });

  const engine = relaxedEngine();
  const known = requireOrSkip(
    "relaxed SIMD",
    engine?.dot !== undefined,
    "this engine's dot is none of the known",
  );
  test.skipIf(!known)("takes the relaxed module that is exact on this engine", async () => {
    const here = [engine!.dot!];
    const elsewhere = (["u8s8", "s8s8", "pairs16"] as const).filter((dot) => dot !== engine!.dot);
    const load = { backend: "auto" } as const;
    // Only the twin's slot says that outputs are stored one higher.
    const output = (p: PortLayout): PortLayout => ({ ...p, signedSlots: [{ ...p.slots[0]!, bias: 1 }] });
    const lower = y.map((v) => v - 0.25);
    const run = async (options: FixtureOptions): Promise<[string, number[]]> => {
      const m = await model({ ...options, output, load });
      return [m.backend, [...(m.run({ image: x }).logits as Float32Array)]];
    };
    expect(await run({ exactOn: here, exactOnS8: elsewhere })).toEqual(["relaxed", y]);
    expect(await run({ exactOn: elsewhere, exactOnS8: here })).toEqual(["relaxed", lower]);
    expect(await run({ exactOn: here, exactOnS8: here })).toEqual(["relaxed", y]);
    expect(await run({ exactOn: elsewhere, exactOnS8: [] })).toEqual(["baseline", y]);
    const none = await model({ exactOn: elsewhere, exactOnS8: [], load });
    expect(none.backendReason).toMatch(/^this engine's relaxed dot is not .* \(probe gave -?\d+\)$/);
    await expect(model({ exactOn: elsewhere, load: { backend: "relaxed" } })).rejects.toThrow("cannot run");
  });

  test("verify compares hashes", async () => {
    const { manifest } = await fixture();
    const good = await model({ load: { verify: true } });
    expect([...good.run({ image: x }).logits!]).toEqual(y);
    const hashes = { ...manifest.hashes, wasm: "00" };
    await expect(model({ load: { verify: true }, manifest: { hashes } })).rejects.toMatchObject({
      name: "LoadError",
      message: expect.stringContaining("not the one this loader was made for"),
    });
  });

  test("another format version, garbage bytes, a missing file", async () => {
    await expect(model({ manifest: { version: 99 } })).rejects.toThrow("artifact format 99");
    await expect(model({ load: { wasm: new Uint8Array(9) } })).rejects.toMatchObject({ name: "LoadError" });
    await expect(model({ load: { wasm: "file:///no/such.wasm" } })).rejects.toThrow(
      "cannot read file:///no/such.wasm",
    );
  });

  test("progress counts bytes over all files", async () => {
    const seen: unknown[] = [];
    const { baseline } = await fixture();
    await model({ load: { onProgress: (p) => seen.push(p) } });
    expect(seen).toEqual([{ loaded: baseline.length, total: baseline.length }]);
  });
});
