/** What the terminal shows while a command works: nothing at first, then the phase and how far it is. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { progress } from "../../compiler/cli/terminal.ts";

const terminalOf = (width: number | undefined) => {
  const lines: string[] = [];
  const err = (text: string): void => void lines.push(text.replace("\r\x1b[K", ""));
  return { lines, terminal: { out: () => {}, err, color: false, ...(width !== undefined && { width }) } };
};

describe("progress", () => {
  let now = 0;
  beforeEach(() => {
    now = 0;
    vi.spyOn(performance, "now").mockImplementation(() => now);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("names a phase after a second and its share ten times a second at most, and wipes the line", () => {
    const { lines, terminal } = terminalOf(80);
    const meter = progress(terminal, {});
    meter.phase("import");
    now = 900;
    meter.phase("certify");
    for (now = 1000; now < 1500; now += 10) meter.phase("certify", (now - 900) / 1000);
    expect(lines).toEqual([10, 20, 30, 40, 50].map((n) => `certify ${n} % …`));
    meter.phase("lower");
    meter.done();
    expect(lines.slice(-2)).toEqual(["lower …", ""]);
  });

  it("stays silent where nobody watches", () => {
    for (const [width, options] of [
      [undefined, {}],
      [80, { quiet: true }],
      [80, { json: true }],
    ] as const) {
      now = 0;
      const { lines, terminal } = terminalOf(width);
      const meter = progress(terminal, options);
      now = 5000;
      meter.phase("certify", 0.5);
      meter.done();
      expect(lines).toEqual([]);
    }
  });
});
