const SHADES = " .:-=+*#%@";

/**
 * A 28×28 image as 13 lines of 26 characters: the outermost pixels are cut off, and a character, being
 * about twice as high as wide, shows the mean of two pixels.
 * @param {Uint8Array} pixels 784 bytes
 * @returns {string[]}
 */
export function asciiArt(pixels) {
  return Array.from({ length: 13 }, (_, row) =>
    Array.from({ length: 26 }, (_, column) => {
      const top = (2 * row + 1) * 28 + column + 1;
      const mean = (pixels[top] + pixels[top + 28]) / 2;
      return SHADES[Math.min(SHADES.length - 1, Math.floor((mean / 256) * SHADES.length))];
    }).join(""),
  );
}

/**
 * Blocks of lines next to each other, each column as wide as its widest line.
 * @param {string[][]} blocks
 */
export function sideBySide(blocks) {
  const widths = blocks.map((lines) => Math.max(...lines.map((line) => line.length)));
  const height = Math.max(...blocks.map((lines) => lines.length));
  return Array.from({ length: height }, (_, row) =>
    blocks
      .map((lines, i) => (lines[row] ?? "").padEnd(widths[i]))
      .join(" ")
      .trimEnd(),
  ).join("\n");
}

/**
 * Rows of cells with aligned columns: the first to the left, the others to the right. The first row is the head.
 * @param {string[][]} rows
 */
export function table(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const lines = rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("   "),
  );
  lines.splice(1, 0, widths.map((width) => "─".repeat(width)).join("   "));
  return lines.map((line) => `  ${line.trimEnd()}`).join("\n");
}
