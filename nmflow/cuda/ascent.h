// Midpoint dual ascent with over-relaxation, a row and a column a lane: first on two tiles in the
// halves of each register, 13 bits of their scores; then, of what that leaves, on 28 bits.
#pragma once

// Of scores s and potentials u, v in 13 bits (s from 0 to 2**13 - 1) registers hold s itself and
// u + 6144, v + 14336, so that s + 20480 - either is never negative and fits 15 bits: no half of a
// register borrows from the other, and halves of floats order them. |v| <= 6144.
constexpr int SCORE_BITS = 13, PIVOT = 20480, LEAST_V = 8192, U_ZERO = 6144, V_ZERO = 14336;
static_assert(U_ZERO + V_ZERO == PIVOT && PIVOT - LEAST_V + (1 << SCORE_BITS) <= PIVOT + 1, "");
static_assert((1 << SCORE_BITS) + PIVOT < 0x7c00, "below the infinity of a half");

// Rounds of the two stages, and the first after which masks are looked at.
constexpr int PAIR_ROUNDS = M <= 8 ? 8 : M <= 16 ? 10 : 12, FIRST_LOOK = M <= 8 ? 3 : M <= 16 ? 5 : 8;
// Rounds from potentials that the last solve left, where masks are looked at before the first, too.
constexpr int WARM_ROUNDS = PAIR_ROUNDS - FIRST_LOOK + 1;
constexpr int WORD_ROUNDS = M <= 8 ? 5 : M <= 16 ? 6 : 8;

DEVICE Pair operator+(Pair x, Pair y) { return {x.bits + y.bits}; }
DEVICE Pair operator-(Pair x, Pair y) { return {x.bits - y.bits}; }
DEVICE Pair both(unsigned x) { return {Word(x << 16 | x)}; }
DEVICE Word half_of(Word pair, int half) { return pair >> 16 * half & 0xffff; }

// Half as far again as the middle of two neighbouring ranks, kept between them.
DEVICE Pair relaxed(Pair upper, Pair lower, Pair old) {
  Word halved = (upper.bits ^ lower.bits) >> 1 & 0x7fff7fff;
  Pair middle = {(upper.bits & lower.bits) + halved};
  Pair move = {((middle.bits | 0x80008000) - old.bits) >> 1 & 0x7fff7fff};
  Pair most = upper + both(0x3fff) - middle, least = lower + both(0x4000) - middle;
  return middle + larger(smaller(move, most), least) - both(0x4000);
}
DEVICE Int relaxed(Int upper, Int lower, Int old) {
  Int middle = lower + ((upper - lower) >> 1);
  return larger(smaller(middle + ((middle - old) >> 1), upper - 1), lower);
}

// One step: the potentials of these lines, from those of the lines that cross them.
template <class T> DEVICE T step(const T (&scores)[WIDTH], T against, T old, Int first) {
  T differences[M], upper, lower;
  UNROLL for (int k = 0; k < M; k++) differences[k] = scores[k] + shuffle(against, first + k);
  nth_and_next(differences, upper, lower);
  return relaxed(upper, lower, old);
}

// The 13 leading bits of a column of a tile, or of half a pair; whether its scale allows that, which
// its exponent tells.
DEVICE Bool read_pairs(const Problem& p, Place at, Int k, int half, Pair (&column)[WIDTH],
                       Word& exponent) {
  Bool there = at.full & (k < M);
  Word raw[M], largest = 0;
  UNROLL for (int i = 0; i < M; i++) {
    raw[i] = read(p, at.values + as<Long>(k) * p.column_stride + (long long)i * p.row_stride, there);
    largest = larger(largest, magnitude_bits(raw[i]));
  }
  largest = largest_of_slot(largest);
  set_flag(p.counters + NOT_FINITE, there & is_not_finite(largest));
  // All |scores| are below 2**(exponent - 126).
  exponent = larger(largest >> 23, Word(12));
  Word scale = (Word(266 - SIGNED) - exponent) << 23;
  UNROLL for (int i = 0; i < M; i++) {
    Word value = SIGNED ? raw[i] : magnitude_bits(raw[i]);
    Word floor = floor_bits(value, scale, 8388608.0f + (SIGNED ? 4096.0f : 0.0f));
    column[i].bits |= (floor & 0x1fff) << 16 * half;
  }
  return !is_not_finite(largest);
}

// The bits of the row of each tile that exceed u + v, by 16 columns; and how many a column has.
DEVICE void threshold(const Pair (&rows)[WIDTH], const Pair (&columns)[WIDTH], Pair u, Pair v,
                      Int first, Word (&kept)[2], Word& held) {
  Pair against_u = both(PIVOT) - u, against_v = both(PIVOT) - v;
  held = 0;
  kept[0] = kept[1] = 0;
  UNROLL for (int k = 0; k < M; k++) {
    // The sign is clear where the difference exceeds the potential.
    Word row = (u.bits | 0x80008000) - (rows[k] + shuffle(against_v, first + k)).bits;
    Word column = (v.bits | 0x80008000) - (columns[k] + shuffle(against_u, first + k)).bits;
    kept[k / 16] = kept[k / 16] >> 1 | (~row & 0x80008000);
    held += ~column >> 15 & 0x00010001;
  }
  kept[(M - 1) / 16] = kept[(M - 1) / 16] >> (16 - M % 16) % 16;
}

// What is added to signed scores, so that they are none below 0.
constexpr int SIGN_BIAS = SIGNED ? 1 << (SCORE_BITS - 1) : 0;

// Potentials stay from solve to solve as u and v in 16 bits each, in a word for each line of a tile;
// behind all words is the exponent that each tile had, or 0 where nothing was left.
DEVICE Long exponent_at(const Problem& p, Int tile) {
  return as<Long>(tile) + tile_count(p) * (long long)M;
}
// Potentials of a line of now from those that were left; whether there are any. Whatever they are,
// proofs are proofs: here they are only kept in their range.
DEVICE Bool recall(const Problem& p, Int tile, Int k, Word exponent, Bool there, Int& u, Int& v) {
  Int then = load(p.warm, exponent_at(p, tile), there);
  Word left = as<Word>(load(p.warm, as<Long>(tile) * (long long)M + as<Long>(k), there & (k < M)));
  Int by = smaller(larger(then - as<Int>(exponent), Int(-15)), Int(13));
  Int up = larger(by, Int(0)), down = larger(-by, Int(0));
  Int old_u = as<Int>(left << 16) >> 16, old_v = as<Int>(left) >> 16;
  u = smaller(larger(((old_u >> down) << up) + (U_ZERO + SIGN_BIAS), Int(0)), Int(0x7fff));
  v = smaller(larger(((old_v >> down) << up) + V_ZERO, Int(LEAST_V)), Int(PIVOT));
  return then != 0;
}
DEVICE void remember(const Problem& p, Int tile, Int k, Word exponent, Bool where, Int u, Int v) {
  Word word = (as<Word>(u) & 0xffff) | as<Word>(v) << 16;
  store(p.warm, as<Long>(tile) * (long long)M + as<Long>(k), as<Int>(word), where & (k < M));
  store(p.warm, exponent_at(p, tile), as<Int>(exponent), where & (k == 0));
}

DEVICE void ascend_pairs(const Problem& p, int warp) {
  Int slot = lane() / WIDTH, k = lane() % WIDTH, first = slot * WIDTH;
  Pair columns[WIDTH] = {}, rows[WIDTH];
  Place at[2];
  Word exponents[2];
  Bool open[2], done[2] = {false, false};
  Word found[2] = {0, 0};
  UNROLL for (int half = 0; half < 2; half++) {
    at[half] = place_of(p, (Int(warp * SLOTS) + slot) * 2 + half);
    open[half] = read_pairs(p, at[half], k, half, columns, exponents[half]) & at[half].full;
  }
  UNROLL for (int i = 0; i < WIDTH; i++) rows[i] = columns[i];
  transpose(rows);
  Pair u = both(U_ZERO + (1 << (SCORE_BITS - 2))), v = both(V_ZERO);
  int first_look = FIRST_LOOK, last_round = PAIR_ROUNDS;
#if WARM
  Bool cold = Bool(false);
  UNROLL for (int half = 0; half < 2; half++) {
    Int old_u, old_v;
    Int tile = (Int(warp * SLOTS) + slot) * 2 + half;
    Bool known = recall(p, tile, k, exponents[half], open[half], old_u, old_v);
    cold = cold | (open[half] & !known);
    Word mask = Word(0xffff) << 16 * half;
    u.bits = pick(known, (u.bits & ~mask) | as<Word>(old_u) << 16 * half, u.bits);
    v.bits = pick(known, (v.bits & ~mask) | as<Word>(old_v) << 16 * half, v.bits);
  }
  if (!vote(cold)) first_look = 0, last_round = WARM_ROUNDS;
#endif
  SERIAL for (int round = 1 - WARM; round <= last_round; round++) {
    if (!WARM || round) {
      u = step(rows, both(PIVOT) - v, u, first);
      v = step(columns, both(PIVOT) - u, v, first);
      v = larger(smaller(v, both(PIVOT)), both(LEAST_V));
    }
    if (round < first_look) continue;
    Word kept[2], held;
    threshold(rows, columns, u, v, first, kept, held);
    UNROLL for (int half = 0; half < 2; half++) {
      Word bits = half_of(kept[0], half) | (M > 16 ? half_of(kept[1], half) << 16 : Word(0));
      Bool wrong = (k < M) & ((count_bits(bits) != N) | (half_of(held, half) != Word(N)));
      Bool proved = open[half] & !any_of_slot(wrong, slot);
      found[half] = pick(proved, bits, found[half]);
      open[half] = open[half] & !proved;
      done[half] = done[half] | proved;
    }
    if (!vote(open[0] | open[1])) break;
  }
  UNROLL for (int half = 0; half < 2; half++) {
    Int tile = (Int(warp * SLOTS) + slot) * 2 + half;
    write_row(p, at[half], k, found[half], done[half] & (k < M));
    Int entry = places(p.counters + OPEN, open[half], first);
    store(open_tiles(p), as<Long>(entry), tile, open[half] & (k == 0));
    Long to = as<Long>(entry) * (2LL * M) + as<Long>(k);
    Int u_k = as<Int>(half_of(u.bits, half)) - (U_ZERO + SIGN_BIAS);
    Int v_k = as<Int>(half_of(v.bits, half)) - V_ZERO;
    store(potentials(p), to, u_k, open[half] & (k < M));
    store(potentials(p), to + (long long)M, v_k, open[half] & (k < M));
#if WARM
    remember(p, tile, k, exponents[half], done[half] | open[half], u_k, v_k);
#endif
    add_difficult(p, tile, Int(-1), at[half].inside & !at[half].full, first);
  }
}

// A score in 28 bits, rounded down, where all |scores| are below 2**(exponent - 126) and exponents
// are at least 1; `lost` gathers what is dropped.
// 27 bits for enumeration, whose sums have three bits more.
constexpr int WORD_BITS = M == 4 ? 27 : 28, WORD_LIMIT = 1 << 29, TABLE_SUM_BITS = 8 + (M > 16 ? 5 : M > 8 ? 4 : M > 4 ? 3 : 2);

DEVICE Int fixed_point(Word raw, Word exponent, Word& lost) {
  Word magnitude = magnitude_bits(raw), field = larger(magnitude >> 23, Word(1));
  Int mantissa = as<Int>((magnitude & 0x7fffff) | pick(magnitude >> 23 != Word(0), Word(1 << 23), Word(0)));
  if (SIGNED) mantissa = pick(raw >> 31 != Word(0), -mantissa, mantissa);
  // mantissa * 2**(field - 150), in units of 2**(exponent - 126 - 28).
  Int shift = as<Int>(field) - as<Int>(exponent) + (WORD_BITS - 24);
  Int right = smaller(larger(-shift, Int(0)), Int(31)), left = larger(shift, Int(0));
  Int floor = mantissa >> right;
  lost |= as<Word>(mantissa ^ (floor << right));
  return floor << left;
}

DEVICE void ascend_words(const Problem& p, int warp) {
  Int slot = lane() / WIDTH, k = lane() % WIDTH, first = slot * WIDTH;
  Int entry = Int(warp * SLOTS) + slot;
  Bool open = entry < p.counters[OPEN];
  Int tile = load(open_tiles(p), as<Long>(entry), open);
  Place at = place_of(p, tile);
  Bool there = open & (k < M);
  Word raw[M], largest = 0, lost = 0;
  Int columns[WIDTH] = {}, rows[WIDTH];
  UNROLL for (int i = 0; i < M; i++) {
    raw[i] = read(p, at.values + as<Long>(k) * p.column_stride + (long long)i * p.row_stride, there);
    largest = larger(largest, magnitude_bits(raw[i]));
  }
  Word exponent = larger(largest_of_slot(largest) >> 23, Word(1));
  UNROLL for (int i = 0; i < M; i++) {
    columns[i] = fixed_point(raw[i], exponent, lost);
    lost |= as<Word>(columns[i]) & ((1u << TABLE_SUM_BITS) - 1);
  }
  // The first tie table, where there is room for it below the scores.
  Bool room = !any_of_slot(lost != Word(0), slot);
  UNROLL for (int i = 0; i < M; i++) {
    Int tie = as<Int>(load(TIES, as<Long>(k) + (long long)(i * M), k < M));
    columns[i] += pick(room, tie, Int(0));
    rows[i] = columns[i];
  }
  UNROLL for (int i = M; i < WIDTH; i++) rows[i] = Int(0);
  transpose(rows);
  Long from = as<Long>(entry) * (2LL * M) + as<Long>(k);
  Int u = load(potentials(p), from, there) << (WORD_BITS - SCORE_BITS + SIGNED);
  Int v = load(potentials(p), from + (long long)M, there) << (WORD_BITS - SCORE_BITS + SIGNED);
  Bool proved = Bool(false);
  Word bits = 0;
  SERIAL for (int round = 0; round < WORD_ROUNDS; round++) {
    u = step(rows, -v, u, first);
    u = larger(smaller(u, Int(WORD_LIMIT)), Int(-WORD_LIMIT));
    v = step(columns, -u, v, first);
    v = larger(smaller(v, Int(WORD_LIMIT)), Int(-WORD_LIMIT));
    Word kept = 0, held = 0;
    UNROLL for (int i = 0; i < M; i++) {
      // The sign, where the difference exceeds the potential: no predicate, of which there are few.
      kept |= as<Word>(u + shuffle(v, first + i) - rows[i]) >> 31 << i;
      held |= as<Word>(v + shuffle(u, first + i) - columns[i]) >> 31 << i;
    }
    Bool wrong = (k < M) & ((count_bits(kept) != N) | (count_bits(held) != N));
    Bool now = open & !proved & !any_of_slot(wrong, slot);
    bits = pick(now, kept, bits);
    proved = proved | now;
    if (!vote(open & !proved)) break;
  }
  write_row(p, at, k, bits, proved & (k < M));
  open = open & !proved;
  store(potentials(p), from, u, open & (k < M));
  store(potentials(p), from + (long long)M, v, open & (k < M));
  add_difficult(p, tile, entry, open, first);
}
