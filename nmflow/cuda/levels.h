// The levels of one tile: bits of its scores, tie tables, the order of its entries.
#pragma once

// Adds to each entry of the lane's row the last `bits` bits of its score in units of 2**unit; returns
// whether scores have more bits than that. Entries that are barred get none.
DEVICE bool add_digits(const Problem& p, Place at, Tile& t, int unit, int bits, Word barred) {
  Long lost = 0;
  SERIAL for (int j = 0; j < M; j++) {
    Bool there = (lane() < at.rows) & (Int(j) < at.columns);
    Word raw = read(p, at.values + as<Long>(lane()) * p.row_stride + j * p.column_stride, there);
    Word magnitude = magnitude_bits(raw);
    Bool normal = magnitude >> 23 != Word(0);
    Long mantissa = as<Long>((magnitude & 0x7fffff) | pick(normal, Word(1 << 23), Word(0)));
    if (SIGNED) mantissa = pick(raw >> 31 != Word(0), -mantissa, mantissa);
    mantissa = pick(has(barred, j), Long(0), mantissa);
    Int shift = as<Int>(larger(magnitude >> 23, Word(1))) - 150 - unit;
    Int right = smaller(larger(-shift, Int(0)), Int(63));
    Long floor = mantissa >> right;
    lost |= mantissa ^ (floor << right);
    Long digits = floor << smaller(larger(shift, Int(0)), Int(63));
    if (bits < 64) digits &= (1LL << bits % 64) - 1;
    set_entry(t, lane(), Int(j), entry_of(t, lane(), Int(j)) + digits);
  }
  synchronise();
  return vote(lost != 0LL) != 0;
}

DEVICE void add_table(Tile& t, int number, int shift) {
  SERIAL for (int j = 0; j < M; j++) {
    Int tie = as<Int>(load(TIES, as<Long>(Int(number * M) + lane()) * (long long)M + (long long)j,
                           lane() < M));
    set_entry(t, lane(), Int(j), entry_of(t, lane(), Int(j)) + (as<Long>(tie) << shift));
  }
  synchronise();
}

// The largest exponent of a row's scores, as in ascent.h, and which entries must not be kept: what
// lies outside of a partial tile, and there also negative scores.
DEVICE Word survey(const Problem& p, Place at, bool full, Word& barred) {
  Word largest = 0;
  barred = 0;
  SERIAL for (int j = 0; j < M; j++) {
    Bool there = (lane() < at.rows) & (Int(j) < at.columns);
    Word raw = read(p, at.values + as<Long>(lane()) * p.row_stride + j * p.column_stride, there);
    Word magnitude = magnitude_bits(raw);
    largest = larger(largest, magnitude);
    Bool negative = Bool(SIGNED) & (raw >> 31 != Word(0)) & (magnitude != Word(0));
    if (!full) barred |= as<Word>((lane() < M) & ((!there) | negative)) << j;
  }
  return largest;
}

DEVICE void solve_exactly(const Problem& p, int number, long long* q) {
  int entry = difficult_entries(p)[number];
  Place at = place_of(p, Int(difficult_tiles(p)[number]));
  Tile t = {q, Long(0), Long(0), Word(0), value_of(at.full, 0)};
  Word barred, largest = survey(p, at, t.full, barred);
  UNROLL for (int step = 16; step; step /= 2) largest = larger(largest, shuffle_xor(largest, step));
  if (value_of(largest, 0) >= 0x7f800000u) {
    set_flag(p.counters + NOT_FINITE, lane() == 0);
    return;
  }
  SERIAL for (int j = 0; j < M; j++)
    set_entry(t, lane(), Int(j), pick(has(barred, j), Long(-1), Long(0)));
  unsigned field = value_of(largest, 0) >> 23;
  int unit = int(field ? field : 1) - 126 - FIRST_BITS, tables = 0;
  bool exact = !add_digits(p, at, t, unit, 64, barred);
  if (entry >= 0) {
    Long from = Long(entry * (2LL * M)) + as<Long>(lane());
    t.u = as<Long>(load(potentials(p), from, lane() < M)) << (FIRST_BITS - WORD_BITS);
    t.v = as<Long>(load(potentials(p), from + (long long)M, lane() < M)) << (FIRST_BITS - WORD_BITS);
  }
  while (true) {
    start(t);
    augment(t);
    if (is_unique(t, exact)) break;
    if (!exact) {
      pose_reduced_costs(t, M + 1, MORE_BITS);
      unit -= MORE_BITS;
      exact = !add_digits(p, at, t, unit, MORE_BITS, barred);
    } else if (tables < TABLES) {
      pose_reduced_costs(t, 1, 2 * TABLE_BITS);
      add_table(t, tables, TABLE_BITS);
      add_table(t, tables + 1, 0);
      tables += 2;
    } else {
      reserve(p.counters + BEYOND_TABLES, 1);
      order_entries(t, barred);
      break;
    }
  }
  write_row(p, at, lane(), t.kept, lane() < M);
}
