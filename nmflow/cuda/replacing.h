// New masks in the place of those in force, and how many entries that changes.
#pragma once

constexpr int AT_ONCE = 128;  // entries of a row that a warp looks at

// Four neighbouring entries of a mask; one by one where they don't lie so, and none after the last.
DEVICE Word read_entries(const unsigned char* mask, Long at, long long step, bool whole, Int left) {
  if (whole) return load((const unsigned*)mask, at >> 2, left > 0);
  Word entries = 0;
  UNROLL for (int j = 0; j < 4; j++)
    entries |= as<Word>(load(mask, at + j * step, left > j)) << 8 * j;
  return entries;
}
DEVICE void write_entries(unsigned char* mask, Long at, long long step, bool whole, Word entries,
                          Bool where, Int left) {
  if (whole) {
    store((unsigned*)mask, at >> 2, entries, where);
    return;
  }
  UNROLL for (int j = 0; j < 4; j++) {
    Word entry = entries >> 8 * j & 255;
    store(mask, at + j * step, as<Lanes<unsigned char>>(entry), where & (left > j));
  }
}

DEVICE void replace_mask(const Problem& p, int first, const int* refused) {
  if (refused && *refused) return;
  bool by_words = p.columns % 4 == 0 && p.in_force_column_stride == 1
                  && (p.in_force_row_stride | p.in_force_batch_stride | (long long)p.in_force) % 4 == 0;
  int pieces = divide_up(p.columns, AT_ONCE);
  long long stop = (long long)p.batch * p.rows * pieces;
  Int flipped = 0;
  SERIAL for (long long piece = first; piece < stop; piece += WARPS * p.blocks) {
    long long line = piece / pieces, matrix = line / p.rows, row = line % p.rows;
    Int column = Int(int(piece % pieces) * AT_ONCE) + lane() * 4;
    Int left = Int(p.columns) - column;
    Long from = as<Long>(column) + line * p.columns;
    Long to = as<Long>(column) * p.in_force_column_stride
              + (matrix * p.in_force_batch_stride + row * p.in_force_row_stride);
    Word found = read_entries(p.mask, from, 1, p.columns % 4 == 0, left);
    Word changes = found ^ read_entries(p.in_force, to, p.in_force_column_stride, by_words, left);
    write_entries(p.in_force, to, p.in_force_column_stride, by_words, found, changes != Word(0), left);
    flipped += count_bits(changes);
  }
  reserve(p.counters + FLIPPED, total(flipped));
}
