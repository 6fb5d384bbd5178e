// The best mask of a 4 x 4 tile among all there are, a tile a lane, and its lead over all others.
#pragma once

// A mask, or the best of some: its sum, that of the next best which was compared with it, how far it
// is ahead of those that were not, and what it keeps, bit 4 i + j for row i and column j.
struct Best {
  Int value, other, lead;
  Word bits;
};

DEVICE constexpr unsigned entries(int rows, int columns) {
  return (rows & 1 ? columns : 0) | (rows & 2 ? columns << 4 : 0) | (rows & 4 ? columns << 8 : 0)
         | (rows & 8 ? columns << 12 : 0);
}
// Four columns as two pairs, in three ways.
struct Pairs { int pair[2], rest[2]; };
DEVICE constexpr Pairs pairing(int way) {
  return way == 0 ? Pairs{{0, 1}, {2, 3}} : way == 1 ? Pairs{{0, 2}, {1, 3}} : Pairs{{0, 3}, {1, 2}};
}
constexpr int NONE = -(1 << 30);

DEVICE Best better(Best one, Best next) {
  Bool wins = next.value > one.value;
  return {larger(one.value, next.value),
          larger(one.other, smaller(one.value, next.value)),
          pick(wins, next.lead, one.lead), pick(wins, next.bits, one.bits)};
}
DEVICE Best together(Best one, Best two) {
  return {one.value + two.value, Int(NONE), smaller(one.lead, two.lead), one.bits ^ two.bits};
}
// Which of the rows `first` and `first` + 1 has which of two columns.
DEVICE Best decide(const Int (&s)[4][4], int first, const int (&pair)[2]) {
  int k = pair[0], j = pair[1];
  Int one = s[first][k] + s[first + 1][j], other = s[first][j] + s[first + 1][k];
  unsigned bits = entries(1 << first, 1 << k) | entries(2 << first, 1 << j);
  unsigned opposite = entries(1 << first, 1 << j) | entries(2 << first, 1 << k);
  return {larger(one, other), Int(NONE), distance(one - other),
          pick(other > one, Word(opposite), Word(bits))};
}

// One entry in each row and column: a pair of columns for the upper rows, the others for the lower.
DEVICE Best best_matching(const Int (&s)[4][4]) {
  Best found;
  UNROLL for (int way = 0; way < 3; way++) {
    const Pairs by = pairing(way);
    Best one = together(decide(s, 0, by.pair), decide(s, 2, by.rest));
    found = way ? better(found, one) : one;
    found = better(found, together(decide(s, 0, by.rest), decide(s, 2, by.pair)));
  }
  found.lead = smaller(found.lead, found.value - found.other);
  return found;
}

// By column: row 0 less row 1, row 2 less row 3, the sum of those less that of these.
struct Differences { Int of[3][4]; };
DEVICE constexpr int exchanged_rows(int x) { return x == 0 ? 3 : x == 1 ? 12 : 15; }

// The best mask whose columns `shared` have one entry above, and `owned` two or none; see
// nmflow/simd/enumeration.py for the three kinds of masks. Twice its sum is a sum of distances.
DEVICE Best mixed(const Differences& d, const int (&shared)[2], const int (&owned)[2],
                  Int (&distances)[3]) {
  int k = shared[0], j = shared[1], i = owned[0], h = owned[1];
  Int moves[3] = {d.of[0][k] - d.of[0][j], d.of[1][k] - d.of[1][j], d.of[2][i] - d.of[2][h]};
  Word bits = entries(5, 1 << k) | entries(10, 1 << j) | entries(3, 1 << i) | entries(12, 1 << h);
  UNROLL for (int x = 0; x < 3; x++) {
    int columns = x < 2 ? 1 << k | 1 << j : 1 << i | 1 << h;
    bits ^= pick(moves[x] < 0, Word(entries(exchanged_rows(x), columns)), Word(0));
    distances[x] = distance(moves[x]);
  }
  return {distances[0] + distances[1] + distances[2], Int(NONE),
          smaller(smaller(distances[0], distances[1]), distances[2]), bits};
}

// Two entries in each row and column.
DEVICE Best best_balanced(const Int (&s)[4][4]) {
  Differences d;
  UNROLL for (int j = 0; j < 4; j++) {
    d.of[0][j] = s[0][j] - s[1][j];
    d.of[1][j] = s[2][j] - s[3][j];
    d.of[2][j] = s[0][j] + s[1][j] - s[2][j] - s[3][j];
  }
  const int here[3] = {1, 4, 3}, there[3] = {2, 8, 12};
  Best found = {Int(NONE), Int(NONE), Int(0), Word(0)};
  Int most[3], least[3];
  Word chosen[3];
  UNROLL for (int way = 0; way < 3; way++) {
    const Pairs by = pairing(way);
    Int one[3], other[3];
    found = better(found, mixed(d, by.pair, by.rest, one));
    found = better(found, mixed(d, by.rest, by.pair, other));
    int pair = 1 << by.pair[0] | 1 << by.pair[1], rest = 15 ^ pair;
    UNROLL for (int x = 0; x < 3; x++) {
      Int sum = one[x] + other[x];
      Bool swap = d.of[x][by.pair[0]] < d.of[x][by.rest[0]];
      Word bits = Word(entries(here[x], pair) | entries(there[x], rest))
                  ^ pick(swap, Word(entries(here[x] | there[x], 15)), Word(0));
      chosen[x] = way ? pick(sum < least[x], bits, chosen[x]) : bits;
      least[x] = way ? smaller(least[x], sum) : sum;
      most[x] = way ? larger(most[x], sum) : sum;
    }
  }
  Best halves[3];
  UNROLL for (int x = 0; x < 3; x++)
    halves[x] = {most[x], Int(NONE), (most[x] - least[x]) >> 1, chosen[x]};
  found = better(better(found, together(halves[0], halves[1])), halves[2]);
  found.lead = smaller(found.lead, (found.value - found.other) >> 1);
  return found;
}

// How far a mask of floors must be ahead to be that of the scores: it has up to eight entries.
constexpr int CERTAIN_LEAD = 8;

DEVICE Best best_mask(Int (&s)[4][4]) {
  // Of three in four what is pruned has the least sum.
  if (N == 3) {
    UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++) s[i][j] = ~s[i][j];
  }
  Best best = N == 2 ? best_balanced(s) : best_matching(s);
  if (N == 3) best.bits = ~best.bits;
  return best;
}

// The leading 22 bits of scores, rounded down: enough for nearly all tiles, in one instruction each.
DEVICE void quick_scores(const Word (&raw)[4][4], Word largest, Int (&s)[4][4]) {
  // As read_pairs does, for 22 bits, with their sign where they have one.
  Word scale = (Word(275 - SIGNED) - larger(largest >> 23, Word(21))) << 23;
  UNROLL for (int i = 0; i < 4; i++)
    UNROLL for (int j = 0; j < 4; j++) {
      Word value = SIGNED ? raw[i][j] : magnitude_bits(raw[i][j]);
      Word floor = floor_bits(value, scale, 8388608.0f + (SIGNED ? 2097152.0f : 0.0f));
      s[i][j] = as<Int>(floor) - 0x4b000000;
    }
}

// 27 bits, and below them the first tie table in tiles that leave it room; returns the lead at which
// the best mask is certain.
DEVICE Int careful_scores(const Word (&raw)[4][4], Word largest, Int (&s)[4][4]) {
  Word exponent = larger(largest >> 23, Word(1)), lost = 0, low = 0;
  UNROLL for (int i = 0; i < 4; i++)
    UNROLL for (int j = 0; j < 4; j++) {
      s[i][j] = fixed_point(raw[i][j], exponent, lost);
      low |= as<Word>(s[i][j]);
    }
  Bool exact = lost == Word(0);
  Bool room = exact & ((low & ((1u << TABLE_SUM_BITS) - 1)) == Word(0));
  UNROLL for (int i = 0; i < 4; i++)
    UNROLL for (int j = 0; j < 4; j++) s[i][j] += pick(room, Int(TIES[4 * i + j]), Int(0));
  return pick(exact, Int(1), Int(CERTAIN_LEAD));
}

DEVICE void enumerate_masks(const Problem& p, int warp) {
  Int tile = Int(warp * 32) + lane();
  Place at = place_of(p, tile);
  Word raw[4][4], largest = 0;
  UNROLL for (int i = 0; i < 4; i++) {
    read_four(p, at.values + (long long)i * p.row_stride, at.full, raw[i]);
    UNROLL for (int j = 0; j < 4; j++) largest = larger(largest, magnitude_bits(raw[i][j]));
  }
  Bool solvable = at.full & !is_not_finite(largest);
  set_flag(p.counters + NOT_FINITE, at.full & !solvable);
  Int s[4][4];
  quick_scores(raw, largest, s);
  Best best = best_mask(s);
  Bool proved = solvable & (best.lead >= CERTAIN_LEAD);
  if (vote(solvable & !proved)) {
    Int certain = careful_scores(raw, largest, s);
    Best careful = best_mask(s);
    best.bits = pick(proved, best.bits, careful.bits);
    proved = proved | (solvable & (careful.lead >= certain));
  }
  UNROLL for (int i = 0; i < 4; i++) write_row(p, at, Int(i), best.bits >> 4 * i & 15, proved);
  // Of partial tiles nobody has looked at the values.
  add_difficult(p, tile, Int(-1), at.inside & !proved & ((!at.full) | solvable), lane());
}
