// Exact n:m masks on a GPU: three kernels, one after the other, that meet in two queues on the device.
// Each works on the matrices of a table, of which every block has one.
//
// 1. All tiles: the ascent in 16 bits, two tiles a register (ascent.h), or all masks of 4 x 4 tiles
//    (enumeration.h).
// 2. Those that it leaves open: the ascent in 32 bits, from the potentials so far (ascent.h).
// 3. Those that are still open, and the partial tiles of ragged edges: shortest augmenting paths, a
//    warp a tile (exact.h, levels.h).
//
// Every mask is written once, by the stage that proves it; no stage waits for the host. A fourth kernel
// puts new masks in the place of those in force, unless some weight is not finite. Before this
// text stand a warp (warp_device.h, or warp_host.h for the host), numbers that it is compiled for,
// the tie tables and the selection network.

constexpr int STAGE_TILES = M == 4 ? 32 : 2 * SLOTS;

DEVICE void first_stage(const Problem& p, int warp) {
#if M == 4
  enumerate_masks(p, warp);
#else
  ascend_pairs(p, warp);
#endif
}

// The matrix that a block works on, by steps that are the same for all, for the uniform registers.
DEVICE int matrix_of(const Table& table, int block) {
  int found = 0;
  UNROLL for (int step = 16; step; step /= 2) {
    int next = found + step;
    bool beyond = next >= table.count || table.each[next < MATRICES ? next : 0].first_block > block;
    found = beyond ? found : next;
  }
  return found;
}
static_assert(MATRICES <= 32, "steps begin with half of that");
#define EACH_WARP(stop) \
  for (int warp = first, end = stop; warp < end; warp += WARPS * p.blocks)

DEVICE void run_all(const Problem& p, int first) {
  EACH_WARP(divide_up(tile_count(p), STAGE_TILES)) first_stage(p, warp);
}
DEVICE void run_open(const Problem& p, int first) {
#if M != 4
  EACH_WARP(divide_up(p.counters[OPEN], SLOTS)) ascend_words(p, warp);
#endif
}
DEVICE void run_difficult(const Problem& p, int first, long long* q) {
  EACH_WARP(p.counters[DIFFICULT]) solve_exactly(p, warp, q);
}

#ifdef __CUDACC__
// By a shuffle, so that the compiler sees that all lanes have the same and never part.
DEVICE int warp_of_block() { return __shfl_sync(~0u, int(threadIdx.x) / 32, 0); }

// Blocks that a multiprocessor is to hold at once: as many registers as that leaves are enough.
constexpr int LEAST_BLOCKS = M <= 4 ? 5 : M <= 8 ? 6 : M <= 16 ? 4 : 2;
#define KERNEL(name) \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, LEAST_BLOCKS) name(const __grid_constant__ Table table)
#define SHARE \
  const Problem& p = table.each[matrix_of(table, blockIdx.x)]; \
  int first = (int(blockIdx.x) - p.first_block) * WARPS + warp_of_block()

KERNEL(solve_all) {
  SHARE;
  run_all(p, first);
}
KERNEL(solve_open) {
  SHARE;
  run_open(p, first);
}
KERNEL(solve_difficult) {
  SHARE;
  TILE_MEMORY(q, M * PITCH);
  run_difficult(p, first, q);
}
KERNEL(put_in_force) {
  SHARE;
  replace_mask(p, first, table.refused);
}
#else
template <class Run> static void on_host(const Table& table, Run run) {
  const Problem& last = table.each[table.count - 1];
  for (int block = 0; block < last.first_block + last.blocks; block++) {
    const Problem& p = table.each[matrix_of(table, block)];
    for (int warp = 0; warp < WARPS; warp++) run(p, (block - p.first_block) * WARPS + warp);
  }
}
extern "C" void solve_on_host(Table* table) {
  TILE_MEMORY(q, M * PITCH);
  on_host(*table, [](const Problem& p, int first) { run_all(p, first); });
  on_host(*table, [](const Problem& p, int first) { run_open(p, first); });
  on_host(*table, [&](const Problem& p, int first) { run_difficult(p, first, q); });
}
extern "C" void put_in_force_on_host(Table* table) {
  on_host(*table, [&](const Problem& p, int first) { replace_mask(p, first, table->refused); });
}
#endif
