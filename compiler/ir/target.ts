/** What the lowering needs to know of a machine. Plain data; the records live with the backends. */

/** A block of accumulators held in registers: `rows` output positions × `columns` output channels. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
}

/** Measured in the engine, in cycles or instructions per cycle: what the cost model of schedules is made of. */
export interface Costs {
  /** Dot products per cycle with operands in registers, the additions to the accumulators included. */
  readonly dots: number;
  readonly loads: number;
  readonly shuffles: number;
  /** What loading a vector of weights into a register, or spreading a K-group of activations, takes from the dot products beside it. */
  readonly weight: number;
  readonly splat: number;
  /** Reading packed weights of one more panel side by side, per K-group. */
  readonly stream: number;
  /** Whether one instruction multiplies byte quads and accumulates. */
  readonly fused: boolean;
  /** Until an accumulator can be used again. */
  readonly latency: number;
  /** A register too many in the inner loop, per K-group. */
  readonly spill: number;
  /** A turn of the inner loop, entering and leaving it, a register tile, and a row of one. */
  readonly turn: number;
  readonly loop: number;
  readonly tile: number;
  readonly row: number;
  /** Four accumulators through the epilogue, by class of the rescale; the sum of two halves; the load of a residual; a pool. */
  readonly epilogue: { readonly [rescale: string]: number };
  readonly join: number;
  readonly residual: number;
  readonly pool: number;
  /** Widening 16 bytes of activations, and a K-group of a panel, 32 bytes. */
  readonly widenInput: number;
  readonly widenWeights: number;
  /** Winograd's transforms: eight channels of a patch, a K-group of a panel, four channels of a tile's outputs, the store of a sum. */
  readonly transform: {
    readonly input: number;
    readonly weights: number;
    readonly output: number;
    readonly store: number;
  };
  /** Bytes of activations that stay in the first cache beside the rest, and a line that does not. */
  readonly cacheBytes: number;
  readonly miss: number;
  /** An instruction written out, whatever it does: the first time its code has to come from a farther cache. */
  readonly code: number;
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
  readonly costs: Costs;
}
