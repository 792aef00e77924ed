/** Where and with what the figures were made. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import type { RelaxedDot } from "../runtime/format.ts";
import { relaxedRefusal } from "../runtime/relaxed.ts";
import { liteRtVersion } from "./litert-files.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** Those instruction set extensions of the CPU that decide what a relaxed dot product becomes. */
  readonly extensions: readonly string[];
  readonly engine: string;
  readonly onnxruntime: string;
  /** Version of LiteRT.js, where it is installed. */
  readonly litert?: string;
  /** Undefined where relaxed kernels may run. */
  readonly relaxedRefusal: string | undefined;
  readonly commit: string;
  readonly date: string;
  /** Runnable processes per core when the bench began (1-minute load average). */
  readonly load: number;
}

const EXTENSIONS = ["avx2", "avx_vnni", "avx512_vnni", "asimddp", "i8mm"];

function cpuinfo(): { model: string | undefined; flags: readonly string[] } {
  try {
    const text = readFileSync("/proc/cpuinfo", "utf8");
    const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(text)?.[1];
    return { model: field("model name"), flags: (field("flags") ?? field("Features") ?? "").split(" ") };
  } catch {
    return { model: undefined, flags: [] };
  }
}

const git = (...args: string[]): string => {
  try {
    return execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();
  } catch {
    return "";
  }
};

/** What relaxed dot products may be where a model has operands of whole bytes. */
export const WHOLE_BYTES: readonly RelaxedDot[] = ["u8s8", "s8s8"];

/** `engine` and `refusal`: of the place where the kernels ran. */
export function machineOf(
  engine: string,
  refusal: string | undefined = relaxedRefusal(WHOLE_BYTES),
): Machine {
  const { model, flags } = cpuinfo();
  const dirty =
    git("status", "--porcelain", "--", "compiler", "runtime") === "" ? "" : " with uncommitted changes";
  const ort = readFileSync(new URL("../node_modules/onnxruntime-web/package.json", import.meta.url), "utf8");
  const litert = liteRtVersion();
  return {
    cpu: model ?? cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    extensions: EXTENSIONS.filter((e) => flags.includes(e)),
    engine,
    onnxruntime: (JSON.parse(ort) as { version: string }).version,
    ...(litert !== undefined && { litert }),
    relaxedRefusal: refusal,
    commit: `${git("rev-parse", "--short=12", "HEAD") || "unknown"}${dirty}`,
    date: new Date().toISOString().slice(0, 10),
    load: loadAverage(),
  };
}

function loadAverage(): number {
  try {
    return Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]) / cpus().length;
  } catch {
    return Number.NaN;
  }
}
