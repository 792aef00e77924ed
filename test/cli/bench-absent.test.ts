/** `qc bench --against onnxruntime-web` where it is not installed. */
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import { qc } from "./terminal.ts";

vi.mock("onnxruntime-web/wasm", () => {
  throw new Error("Cannot find package");
});

const fashion = fileURLToPath(new URL("../../examples/fashion/fashion.onnx", import.meta.url));

test("says so and times the rest", async () => {
  const s = await qc("bench", fashion, "--seconds", "0.05", "--against", "onnxruntime-web");
  expect(s.code).toBe(0);
  expect(s.err).toContain("not timed: onnxruntime-web is not installed: npm install onnxruntime-web\n");
  expect(s.out).toMatch(/^baseline /m);
});
