// One open tile a warp, exactly, in 64-bit integers: shortest augmenting paths, then whether the mask
// is the only one; more bits of the scores as long as there are any, then the tie tables, then the
// order of the entries. The steps of nmflow/device, whose files say why each is right.
#pragma once

constexpr long long FAR = 1LL << 60;
constexpr int FIRST_BITS = 44, MORE_BITS = 40, MARGIN = M < 4 ? 2 : M < 8 ? 3 : M < 16 ? 4 : M < 32 ? 5 : 6;
constexpr int TABLE_BITS = 8 + MARGIN, TABLES = 4, PITCH = M + 1, SLACK = 2 * M, SOURCE = -1;
constexpr int EXACT_ROUNDS = 3;

// Lane k has row k and column k: their potentials, and what the row keeps.
struct Tile {
  long long* q;
  Long u, v;
  Word kept;
  bool full;
};

DEVICE Long entry_of(const Tile& t, Int i, Int j) {
  return load(t.q, as<Long>(i * PITCH + j), (i < M) & (j < M));
}
DEVICE void set_entry(Tile& t, Int i, Int j, Long x) {
  store(t.q, as<Long>(i * PITCH + j), x, (i < M) & (j < M));
}
// Reduced costs of the lane's row, or of its column.
DEVICE Long in_row(const Tile& t, int j) {
  return entry_of(t, lane(), Int(j)) - t.u - shuffle(t.v, Int(j));
}
DEVICE Long in_column(const Tile& t, int i) {
  return entry_of(t, Int(i), lane()) - shuffle(t.u, Int(i)) - t.v;
}
DEVICE Bool has(Word bits, int k) { return (bits >> k & 1) != Word(0); }
DEVICE Word columns_of(Word kept) {
  Word held = 0;
  SERIAL for (int j = 0; j < M; j++) held = pick(lane() == j, Word(vote(has(kept, j))), held);
  return held;
}
DEVICE long long least_of_all(Long x, Int label, int& at) {
  UNROLL for (int step = 16; step; step /= 2) {
    Long other = shuffle_xor(x, step);
    Int its = shuffle_xor(label, step);
    Bool better = (other < x) | ((other == x) & (its < label));
    x = pick(better, other, x);
    label = pick(better, its, label);
  }
  at = value_of(label, 0);
  return value_of(x, 0);
}

DEVICE Long relaxed(Long upper, Long lower, Long old) {
  Long middle = lower + ((upper - lower) >> 1);
  return larger(smaller(middle + ((middle - old) >> 1), upper - 1), lower);
}
DEVICE Long bounded(const Tile& t, Long price) {
  return larger(smaller(price, Long(1LL << 50)), Long(t.full ? -(1LL << 50) : 0));
}

// Some rounds of the ascent, then masks whose rows obey complementary slackness: of the entries at a
// row's potential the first are kept. A partial row with a price of 0 may hold fewer than n.
DEVICE void start(Tile& t) {
  Long x[M], upper, lower;
  SERIAL for (int round = 0; round <= EXACT_ROUNDS; round++) {
    UNROLL for (int j = 0; j < M; j++) x[j] = entry_of(t, lane(), Int(j)) - shuffle(t.v, Int(j));
    nth_and_next(x, upper, lower);
    t.u = bounded(t, relaxed(upper, lower, t.u));
    if (round == EXACT_ROUNDS) break;
    UNROLL for (int i = 0; i < M; i++) x[i] = entry_of(t, Int(i), lane()) - shuffle(t.u, Int(i));
    nth_and_next(x, upper, lower);
    t.v = bounded(t, relaxed(upper, lower, t.v));
  }
  Word ties = 0;
  t.kept = 0;
  SERIAL for (int j = 0; j < M; j++) {
    Long reduced = in_row(t, j);
    t.kept |= as<Word>((lane() < M) & (reduced > 0)) << j;
    ties |= as<Word>((lane() < M) & (reduced == 0)) << j;
  }
  Int missing = pick((t.u > 0) | Bool(t.full), Int(N) - count_bits(t.kept), Int(0));
  SERIAL for (int taken = 0; taken < N; taken++) {
    Word first = ties & (~ties + 1);
    t.kept |= pick(missing > taken, first, Word(0));
    ties ^= first;
  }
}

struct Paths {
  Long to_column, to_row;
  Int column_via, row_via;  // the node before: columns from 0, rows from M, SLACK, or SOURCE
  long long to_slack;
  int slack_via;
};

DEVICE void shorten(Long& distance, Int& via, Long reached, Int node, Bool allowed, Bool& some) {
  Bool shorter = allowed & (lane() < M) & (reached < distance);
  distance = pick(shorter, reached, distance);
  via = pick(shorter, node, via);
  some = some | shorter;
}

// Bellman and Ford's rounds from some columns, and perhaps the slack node. Arcs at the potentials
// themselves make circles of length 0, which no predecessors form: each shortens a path.
DEVICE Paths shortest_paths(const Tile& t, Bool sources, bool from_slack) {
  Paths paths = {pick(sources, Long(0), Long(FAR)), Long(FAR), Int(SOURCE), Int(SOURCE),
                 from_slack ? 0 : FAR, SOURCE};
  Word held = columns_of(t.kept);
  Bool row_has_room = count_bits(t.kept) < N, column_has_room = count_bits(held) < N;
  bool changed = true;
  while (changed) {
    Bool some = Bool(false);
    SERIAL for (int j = 0; j < M; j++)
      shorten(paths.to_row, paths.row_via, shuffle(paths.to_column, Int(j)) + in_row(t, j), Int(j),
              has(t.kept, j), some);
    SERIAL for (int i = 0; i < M; i++)
      shorten(paths.to_column, paths.column_via, shuffle(paths.to_row, Int(i)) - in_column(t, i),
              Int(M + i), !has(held, i), some);
    if (!t.full) {
      int row, column;
      Bool inside = lane() < M;
      long long down = least_of_all(
          pick(inside & column_has_room, paths.to_column, Long(FAR)), lane(), column);
      long long up = least_of_all(pick(inside, paths.to_row + t.u, Long(FAR)), lane() + M, row);
      long long reached = down < up ? down : up;
      if (reached < paths.to_slack) {
        paths.to_slack = reached;
        paths.slack_via = down < up ? column : row;
      }
      Long slack = Long(paths.to_slack);
      shorten(paths.to_row, paths.row_via, slack, Int(SLACK), row_has_room, some);
      shorten(paths.to_column, paths.column_via, slack + t.v, Int(SLACK), Bool(true), some);
    }
    changed = vote(some) != 0;
  }
  return paths;
}

DEVICE void flip(Tile& t, int i, int j) {
  t.kept ^= pick(lane() == i, Word(1u << j), Word(0));
}

// Exchanges what is kept along the path that ends at a node.
DEVICE void walk(Tile& t, const Paths& paths, int node) {
  while (true) {
    int before = node < M ? value_of(paths.column_via, node)
                 : node < SLACK ? value_of(paths.row_via, node - M) : paths.slack_via;
    if (before == SOURCE) return;
    if (node < M && before >= M && before < SLACK) flip(t, before - M, node);
    if (before < M && node >= M && node < SLACK) flip(t, node - M, before);
    node = before;
  }
}

DEVICE void augment(Tile& t) {
  while (true) {
    Int excess = pick(lane() < M, count_bits(columns_of(t.kept)) - N, Int(0));
    Int missing = pick((t.v > 0) | Bool(t.full), larger(-excess, Int(0)), Int(0));
    int over = total(larger(excess, Int(0))), under = total(missing);
    if (!over && !under) return;
    Paths paths = shortest_paths(t, excess > 0, !t.full && over < under);
    int end;
    long long length = least_of_all(pick(missing > 0, paths.to_column, Long(FAR)), lane(), end);
    if (over > under && paths.to_slack < length) {
      length = paths.to_slack;
      end = SLACK;
    }
    // The slack's own potential stays 0: the others move against it.
    long long shift = !t.full && length > paths.to_slack ? length - paths.to_slack : 0;
    t.v += larger(Long(length) - paths.to_column, Long(0)) - shift;
    t.u -= larger(Long(length) - paths.to_row, Long(0)) - shift;
    walk(t, paths, end);
  }
}

// Whether no other mask is optimal, of scores of which q are floors, or which they are.
DEVICE bool is_unique(const Tile& t, bool exact) {
  long long factor = exact ? 1LL << MARGIN : 1, slack = 0;
  Long rows = 0, columns = 0;
  Word held = columns_of(t.kept);
  Bool row_has_room = count_bits(t.kept) < N, column_has_room = count_bits(held) < N;
  Bool inside = lane() < M;
  SERIAL for (int round = 0; round < 2 * M + 2; round++) {
    Long before = columns;
    SERIAL for (int j = 0; j < M; j++) {
      Long reached = shuffle(columns, Int(j)) + in_row(t, j) * factor;
      rows = pick(has(t.kept, j), smaller(rows, reached), rows);
    }
    SERIAL for (int i = 0; i < M; i++) {
      Long reached = shuffle(rows, Int(i)) - in_column(t, i) * factor - 1LL;
      columns = pick(inside & !has(held, i), smaller(columns, reached), columns);
    }
    if (!t.full) {
      int unused;
      Long exits = smaller(pick(column_has_room & inside, columns, Long(0)),
                           pick(inside, rows + t.u * factor, Long(0)));
      long long reached = least_of_all(exits, lane(), unused);
      slack = reached < slack ? reached : slack;
      rows = pick(row_has_room & inside, smaller(rows, Long(slack)), rows);
      columns = pick(inside, smaller(columns, Long(slack) + t.v * factor), columns);
    }
    if (!vote(columns < before)) return true;
  }
  return false;
}

// Scores become reduced costs, clipped to +-limit, times 2**bits; what is added below, at most that
// for all entries of a change of the mask, then decides among masks that are equal so far.
DEVICE void pose_reduced_costs(Tile& t, long long limit, int bits) {
  Long u = t.full ? Long(0) : smaller(t.u, Long(limit)), v = t.full ? Long(0) : smaller(t.v, Long(limit));
  SERIAL for (int j = 0; j < M; j++) {
    Long reduced = larger(smaller(in_row(t, j), Long(limit)), Long(-limit)) + u + shuffle(v, Int(j));
    set_entry(t, lane(), Int(j), reduced << bits);
  }
  t.u = u << bits;
  t.v = v << bits;
  synchronise();
}

// Of the optimal masks the one whose entries come first: each is kept that can be.
DEVICE void order_entries(Tile& t, Word barred) {
  SERIAL for (int place = 0; place < M * M; place++) {
    int i = place / M, j = place % M;
    bool kept = value_of(t.kept, i) >> j & 1;
    long long reduced = value_of(in_row(t, j), i);
    if (!kept && reduced == 0 && !(value_of(barred, i) >> j & 1)) {
      Paths paths = shortest_paths(t, lane() == j, false);
      if (value_of(paths.to_row, i) == 0) {
        walk(t, paths, M + i);
        flip(t, i, j);
        kept = true;
      }
    }
    // No later cycle goes through an entry that is settled.
    Long settled = Long(kept ? 1LL << 50 : -(1LL << 50));
    store(t.q, Long(i * PITCH + j), settled, lane() == 0);
    synchronise();
  }
}
