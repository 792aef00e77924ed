/** Ports of the graph as slots of memory. */
import type { Dtype, PortLayout, SlotBoundary, Storage } from "../../../runtime/format.ts";
import type { Port } from "../../ir/module.ts";
import { sizeOf } from "../../ir/types.ts";

/** A graph input or output and where its integers lie, row-major from `offset` of `buffer`. */
export interface PlacedPort {
  readonly port: Port;
  readonly layout: { readonly buffer: string; readonly container: Storage; readonly offset: number };
}

export const BYTES: { readonly [s in Storage]: number } = { i8: 1, u8: 1, i16: 2, u16: 2, i32: 4, f32: 4 };

/** Ports of one name become the slots of one port, in graph order. */
export function portLayouts(ports: readonly PlacedPort[], address: (p: PlacedPort) => number): PortLayout[] {
  const byName = new Map<string, PlacedPort[]>();
  for (const p of ports) byName.set(p.port.name, [...(byName.get(p.port.name) ?? []), p]);
  return [...byName.values()].map((group): PortLayout => {
    const first = group[0]!.port;
    return {
      name: first.name,
      dtype: first.dtype as Dtype,
      shape: first.value.type.shape,
      slots: group.map((p) => {
        const count = sizeOf(p.port.value.type.shape);
        return {
          offset: address(p),
          bytes: count * BYTES[p.layout.container],
          elem: p.layout.container,
          count,
          boundary: p.port.boundary as SlotBoundary,
        };
      }),
    };
  });
}
