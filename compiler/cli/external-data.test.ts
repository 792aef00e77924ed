import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { externalDataBeside, readBytes } from "./external-data.ts";

const root = mkdtempSync(join(tmpdir(), "qc-external-"));
afterAll(() => rmSync(root, { recursive: true }));
const folder = join(root, "model");
mkdirSync(join(folder, "sub"), { recursive: true });
mkdirSync(join(root, "model-neighbour"));
writeFileSync(join(folder, "w.data"), Uint8Array.of(1, 2, 3));
writeFileSync(join(folder, "sub", "w.data"), Uint8Array.of(4));
writeFileSync(join(root, "secret"), "secret");
writeFileSync(join(root, "model-neighbour", "secret"), "secret");
symlinkSync("w.data", join(folder, "alias.data"));
symlinkSync("../secret", join(folder, "out.data"));
symlinkSync("../model-neighbour", join(folder, "neighbour"));
symlinkSync("loop", join(folder, "loop"));
symlinkSync(folder, join(root, "linked"));
execFileSync("mkfifo", [join(folder, "pipe")]);

const external = externalDataBeside(join(folder, "model.onnx"));
const found = (location: string) => {
  const result = external(location);
  return result === undefined || result instanceof Uint8Array ? result : `${result.code} ${result.message}`;
};

describe("external data on disk", () => {
  test("files below the model's folder, also through links that stay there", () => {
    expect(found("w.data")).toEqual(Uint8Array.of(1, 2, 3));
    expect(found("sub/w.data")).toEqual(Uint8Array.of(4));
    expect(found("alias.data")).toEqual(Uint8Array.of(1, 2, 3));
    expect(externalDataBeside(join(root, "linked", "model.onnx"))("w.data")).toEqual(Uint8Array.of(1, 2, 3));
  });
  test("nothing there", () => {
    expect(found("absent.data")).toBe(undefined);
    expect(found("w.data/below")).toBe(undefined);
  });
  test("links that lead out", () => {
    const refused = "QC1020 external data is reached through a link that leads out of the model's folder";
    expect(found("out.data")).toBe(refused);
    expect(found("neighbour/secret")).toBe(refused);
  });
  test("what is no regular file does not block", () => {
    expect(found("sub")).toBe('QC1021 cannot read "sub": it is not a regular file');
    expect(found("pipe")).toBe('QC1021 cannot read "pipe": it is not a regular file');
    expect(found("loop")).toBe('QC1021 cannot read "loop": too many links');
    expect(readBytes(join(root, "absent"), "absent")).toMatchObject({
      message: 'cannot read "absent": no such file',
    });
  });
});
