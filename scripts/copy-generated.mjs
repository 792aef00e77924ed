// Completes a build: `tsc` does not emit the generated `.js` sources, so they are copied beside its output.
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
for (const folder of ["compiler", "runtime"])
  for (const entry of readdirSync(join(root, folder), { recursive: true })) {
    if (!/\.gen\.(js|d\.ts)$/.test(entry)) continue;
    const target = join(root, "dist", folder, entry);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(root, folder, entry), target);
  }
