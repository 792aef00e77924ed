import { unzipSync } from "fflate";

/**
 * One array of an .npz file, in C order.
 * @typedef {{ shape: number[], data: Uint8Array | Float32Array }} NpyArray
 */

/** The dtypes samples.npz uses; npy files are little-endian like the typed arrays of every current engine. */
const VIEWS = {
  "|u1": (buffer) => new Uint8Array(buffer),
  "<f4": (buffer) => new Float32Array(buffer),
};

/**
 * Reads an .npy file: magic, version, header length, a Python dict literal, raw data.
 * @param {Uint8Array} bytes
 * @returns {NpyArray}
 */
export function readNpy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== 0x934e554d) throw new Error("not an .npy file");
  const wide = bytes[6] > 1; // version 1 has a 16-bit header length, later ones 32 bits
  const start = wide ? 12 : 10;
  const end = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(start, end));
  const [, descr] = /'descr': '([^']*)'/.exec(header) ?? [];
  const [, dims] = /'shape': \(([^)]*)\)/.exec(header) ?? [];
  if (!(descr in VIEWS) || !/'fortran_order': False/.test(header) || dims === undefined) {
    throw new Error(`cannot read an .npy array with the header ${header.trim()}`);
  }
  // The copy makes the data aligned.
  const data = VIEWS[descr](bytes.slice(end).buffer);
  const shape = dims.split(",").flatMap((dim) => (dim.trim() ? [Number(dim)] : []));
  const length = shape.reduce((product, dim) => product * dim, 1);
  if (data.length !== length) throw new Error(`.npy data has ${data.length} elements, its shape ${length}`);
  return { shape, data };
}

/**
 * Reads an .npz file, a zip of .npy files.
 * @param {Uint8Array} bytes
 * @returns {Record<string, NpyArray>} by name, without the ending .npy
 */
export function readNpz(bytes) {
  const files = Object.entries(unzipSync(bytes));
  return Object.fromEntries(files.map(([name, file]) => [name.replace(/\.npy$/, ""), readNpy(file)]));
}
