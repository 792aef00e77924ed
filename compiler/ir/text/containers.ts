/** Names of the containers in the data section. Bytes are little-endian. */
import type { Elements } from "../module.ts";

const CONTAINERS = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
} as const;

export type ContainerName = keyof typeof CONTAINERS;

export const isContainer = (name: string): name is ContainerName => Object.hasOwn(CONTAINERS, name);

export const containerOf = (data: Elements): ContainerName => {
  for (const [name, type] of Object.entries(CONTAINERS))
    if (data instanceof type) return name as ContainerName;
  throw new Error("unknown container");
};

export const bytesOf = (data: Elements): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** Elements from bytes; `undefined` if the bytes are no whole number of elements. */
export function elementsFrom(name: ContainerName, bytes: Uint8Array<ArrayBuffer>): Elements | undefined {
  const type = CONTAINERS[name];
  if (bytes.byteLength % type.BYTES_PER_ELEMENT !== 0) return undefined;
  return new type(bytes.buffer, bytes.byteOffset, bytes.byteLength / type.BYTES_PER_ELEMENT);
}
