// Where tiles lie, what they hold, and the two queues of those that are still open.
#pragma once

// Compiled for N, M, FORMAT (0 float32, 1 float16, 2 bfloat16) and SIGNED (whether values are the
// scores, or their magnitudes); TIES are the tie tables, nth_and_next the selection network.
constexpr int WARPS = 4;
// Lanes of a tile, a power of two: a lane has a row and a column of it.
constexpr int WIDTH = M <= 4 ? 4 : M <= 8 ? 8 : M <= 16 ? 16 : 32;
constexpr int SLOTS = 32 / WIDTH;

// A batch of matrices of one weight.
struct Problem {
  const void* weights;
  unsigned char* mask;      // (batch, rows, columns), contiguous
  int* counters;            // zeros at first: entries of the queues, flags, entries that changed
  int* scratch;             // SCRATCH ints for each tile
  unsigned char* in_force;  // the mask that the new one is to replace, or null
  int* warm;                // where potentials stay from solve to solve: see ascent.h
  long long batch_stride, row_stride, column_stride;
  long long in_force_batch_stride, in_force_row_stride, in_force_column_stride;
  int batch, rows, columns;
  int vectors;              // whether four entries of a row can be read at once: they lie side by side
  // To divide a number below 2**31 by the tiles across, and by those down: times the magic number,
  // shifted right.
  int across_shift, down_shift;
  int first_block, blocks;  // its share of a launch
  long long across_magic, down_magic;
};

enum Counter { OPEN, DIFFICULT, NOT_FINITE, BEYOND_TABLES, FLIPPED };
constexpr int SCRATCH = 3 + 2 * M;

// What a launch is given by value: a table that fits the 4096 bytes of a kernel's parameters.
constexpr int MATRICES = 28;
struct Table {
  Problem each[MATRICES];
  const int* refused;  // not 0 where no mask of a refresh is to change, or null
  int count;
};

DEVICE int divide_up(int x, int y) { return (x + y - 1) / y; }
DEVICE int tiles_across(const Problem& p) { return divide_up(p.columns, M); }
DEVICE int tiles_down(const Problem& p) { return divide_up(p.rows, M); }
DEVICE int tile_count(const Problem& p) { return p.batch * tiles_down(p) * tiles_across(p); }

// The queues: tiles that the ascent in 16 bits left open, each with its potentials; and such as need
// more, each with its entry in the first, or -1.
DEVICE int* open_tiles(const Problem& p) { return p.scratch; }
DEVICE int* difficult_tiles(const Problem& p) { return open_tiles(p) + tile_count(p); }
DEVICE int* difficult_entries(const Problem& p) { return difficult_tiles(p) + tile_count(p); }
DEVICE int* potentials(const Problem& p) { return difficult_entries(p) + tile_count(p); }

struct Place {
  Long values, mask;  // offsets of the tile's first entry
  Int rows, columns;
  Bool inside, full;
};

DEVICE Place place_of(const Problem& p, Int tile) {
  Place at;
  at.inside = tile < tile_count(p);
  Int line = as<Int>(as<Long>(tile) * p.across_magic >> p.across_shift);
  Int matrix = as<Int>(as<Long>(line) * p.down_magic >> p.down_shift);
  Int row = (line - matrix * tiles_down(p)) * M, column = (tile - line * tiles_across(p)) * M;
  Long batch = as<Long>(matrix);
  at.values = batch * p.batch_stride + as<Long>(row) * p.row_stride
              + as<Long>(column) * p.column_stride;
  at.mask = (batch * (long long)p.rows + as<Long>(row)) * (long long)p.columns + as<Long>(column);
  at.rows = smaller(Int(M), Int(p.rows) - row);
  at.columns = smaller(Int(M), Int(p.columns) - column);
  at.full = at.inside & (at.rows == M) & (at.columns == M);
  return at;
}

// The bits of an entry as float32, which holds every float16 and bfloat16; 0 where there is none.
DEVICE Word read(const Problem& p, Long at, Bool where) {
#if FORMAT == 0
  return read_once((const unsigned*)p.weights, at, where);
#elif FORMAT == 1
  return half_to_float(as<Word>(read_once((const unsigned short*)p.weights, at, where)));
#else
  return as<Word>(read_once((const unsigned short*)p.weights, at, where)) << 16;
#endif
}

// Four entries of a row.
DEVICE void read_four(const Problem& p, Long at, Bool where, Word (&x)[4]) {
  if (p.vectors) {
#if FORMAT == 0
    load_four((const unsigned*)p.weights, at, where, x);
#else
    Word pairs[2];
    load_two((const unsigned*)p.weights, at >> 1, where, pairs);
    for (int j = 0; j < 4; j++) {
      Word bits = pairs[j / 2] >> 16 * (j % 2) & 0xffff;
      x[j] = FORMAT == 1 ? half_to_float(bits) : bits << 16;
    }
#endif
    return;
  }
  UNROLL for (int j = 0; j < 4; j++) x[j] = read(p, at + j * p.column_stride, where);
}

DEVICE Word magnitude_bits(Word x) { return x & 0x7fffffff; }
DEVICE Bool is_not_finite(Word magnitude) { return magnitude >= 0x7f800000; }

// Of the lanes of each tile.
template <class T> DEVICE T largest_of_slot(T x) {
  UNROLL for (int step = WIDTH / 2; step; step /= 2) x = larger(x, shuffle_xor(x, step));
  return x;
}
DEVICE Bool any_of_slot(Bool x, Int slot) {
  Word of_slot = Word(WIDTH == 32 ? ~0u : (1u << WIDTH % 32) - 1) << slot * WIDTH;
  return (Word(vote(x)) & of_slot) != Word(0);
}

// Exchanges rows and columns of all tiles: lane k's entry i becomes lane i's entry k.
template <class T> DEVICE void transpose(T (&x)[WIDTH]) {
  UNROLL for (int step = WIDTH / 2; step; step /= 2) {
    Bool upper = (lane() & step) != 0;
    UNROLL for (int i = 0; i < WIDTH; i++) {
      if (i & step) continue;
      T other = shuffle_xor(pick(upper, x[i], x[i | step]), step);
      x[i] = pick(upper, other, x[i]);
      x[i | step] = pick(upper, x[i | step], other);
    }
  }
}

// Writes row `row` of a tile from its bits, four entries at a time where they lie so.
DEVICE void write_row(const Problem& p, Place at, Int row, Word bits, Bool where) {
  where = where & (row < at.rows);
  Long to = at.mask + as<Long>(row) * (long long)p.columns;
  if (M % 4 == 0 && p.columns % 4 == 0) {
    UNROLL for (int j = 0; j < M; j += 4) {
      Word spread = ((bits >> j & 15) * 0x00204081u) & 0x01010101u;
      store((unsigned*)p.mask, (to + (long long)j) >> 2, spread, where & (Int(j) < at.columns));
    }
  } else {
    UNROLL for (int j = 0; j < M; j++) {
      Word bit = bits >> j & 1;
      store(p.mask, to + (long long)j, as<Lanes<unsigned char>>(bit), where & (Int(j) < at.columns));
    }
  }
}

// A place in a queue for each tile that asks; `leader` is one lane of each, which asks for all.
DEVICE Int places(int* counter, Bool asks, Int leader) {
  unsigned leaders = vote(asks & (lane() == leader));
  int start = reserve(counter, count_bits(leaders));
  return Int(start) + count_bits(Word(leaders) & ((Word(1) << leader) - 1));
}

DEVICE void add_difficult(const Problem& p, Int tile, Int entry, Bool asks, Int leader) {
  Int at = places(p.counters + DIFFICULT, asks, leader);
  Bool writes = asks & (lane() == leader);
  store(difficult_tiles(p), as<Long>(at), tile, writes);
  store(difficult_entries(p), as<Long>(at), entry, writes);
}
