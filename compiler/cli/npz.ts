/** NumPy's .npz format: a zip of .npy files. */
import { unzipSync, type Zippable, zipSync } from "fflate";
import { fail, malformedArchive, ok, quote, type Result } from "../index.ts";
import { type NpyArray, readNpy } from "./npy.ts";

/** Bytes all members may take together when unpacked. */
const MAX_UNPACKED = 2 ** 31;

/** Arrays by name, without `.npy`. Errors: QC5003, QC5004. */
export function readNpz(bytes: Uint8Array, shown: string): Result<ReadonlyMap<string, NpyArray>> {
  let total = 0;
  let members: { [name: string]: Uint8Array };
  try {
    members = unzipSync(bytes, {
      filter: ({ name, originalSize }) => {
        total += originalSize;
        if (total > MAX_UNPACKED) throw new Error("unpacked, it exceeds 2 GiB");
        return name.endsWith(".npy");
      },
    });
  } catch (error) {
    return fail(malformedArchive(shown, error instanceof Error ? error.message : "broken zip"));
  }
  const arrays = new Map<string, NpyArray>();
  for (const [name, member] of Object.entries(members)) {
    const array = readNpy(member, `${shown}:${quote(name).slice(1, -1)}`);
    if (!array.ok) return array;
    arrays.set(name.slice(0, -".npy".length), array.value);
  }
  return arrays.size > 0 ? ok(arrays) : fail(malformedArchive(shown, "it holds no arrays"));
}

/** An archive with fixed time stamps: equal arrays give equal bytes. */
export function writeNpz(members: readonly (readonly [name: string, npy: Uint8Array])[]): Uint8Array {
  const files = Object.fromEntries(members.map(([name, npy]) => [`${name}.npy`, npy])) as Zippable;
  return zipSync(files, { level: 6, mtime: new Date(1980, 0, 1) });
}
