/** What the lowering needs to know of a machine. Plain data; the records live with the backends. */

/** A block of accumulators held in registers: `rows` output positions × `columns` output channels. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
}

export interface Target {
  /** Stable name, as in `--target`. */
  readonly name: string;
  /** Bytes of a vector register. */
  readonly vectorBytes: 16;
  /** Vector registers the allocator can use before it spills. */
  readonly registers: number;
  /** Has `dot4_s8u8`: s8 × u8 byte quads accumulated into i32. Without it `legalize` expands the op. */
  readonly dot4: boolean;
  /** Register tiles of a contraction, best first; a tile is taken when it fits the remaining rows. */
  readonly tiles: readonly Tile[];
  /** Tile of a contraction over operands widened to i16; absent where widening them is not worth it. */
  readonly wideTile?: Tile;
  /** Tile of a matrix-vector product (one row). */
  readonly vectorTile: Tile;
  /** How many K groups an inner contraction loop handles per turn. */
  readonly unroll: number;
}
