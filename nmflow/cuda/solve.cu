// Exact n:m masks on a GPU: three kernels, one after the other, that meet in two queues on the device.
//
// 1. All tiles: the ascent in 16 bits, two tiles a register (ascent.h), or all masks of 4 x 4 tiles
//    (enumeration.h).
// 2. Those that it leaves open: the ascent in 32 bits, from the potentials so far (ascent.h).
// 3. Those that are still open, and the partial tiles of ragged edges: shortest augmenting paths, a
//    warp a tile (exact.h, levels.h).
//
// Every mask is written once, by the stage that proves it; no stage waits for the host. Before this
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

#ifdef __CUDACC__
// By a shuffle, so that the compiler sees that all lanes have the same and never part.
DEVICE int warp_number() {
  return blockIdx.x * WARPS + __shfl_sync(~0u, int(threadIdx.x) / 32, 0);
}
DEVICE int warp_count() { return gridDim.x * WARPS; }

// A launch takes numbers one by one: the fields of Problem in order.
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) name( \
    const void* weights, unsigned char* mask, int* scratch, long long batch_stride, \
    long long row_stride, long long column_stride, int batch, int rows, int columns, int vectors, \
    int across_shift, int down_shift, long long across_magic, long long down_magic)
#define PROBLEM \
  const Problem p = {weights, mask, scratch, batch_stride, row_stride, column_stride, batch, rows, \
                     columns, vectors, across_shift, down_shift, across_magic, down_magic}

KERNEL(solve_all) {
  PROBLEM;
  int stop = divide_up(tile_count(p), STAGE_TILES);
  for (int warp = warp_number(); warp < stop; warp += warp_count()) first_stage(p, warp);
}
KERNEL(solve_open) {
#if M != 4
  PROBLEM;
  int stop = divide_up(p.scratch[OPEN], SLOTS);
  for (int warp = warp_number(); warp < stop; warp += warp_count()) ascend_words(p, warp);
#endif
}
KERNEL(solve_difficult) {
  PROBLEM;
  TILE_MEMORY(q, M * PITCH);
  int stop = p.scratch[DIFFICULT];
  for (int warp = warp_number(); warp < stop; warp += warp_count()) solve_exactly(p, warp, q);
}
#else
extern "C" void solve_on_host(Problem* problem) {
  const Problem& p = *problem;
  for (int warp = 0; warp < divide_up(tile_count(p), STAGE_TILES); warp++) first_stage(p, warp);
#if M != 4
  for (int warp = 0; warp < divide_up(p.scratch[OPEN], SLOTS); warp++) ascend_words(p, warp);
#endif
  TILE_MEMORY(q, M * PITCH);
  for (int warp = 0; warp < p.scratch[DIFFICULT]; warp++) solve_exactly(p, warp, q);
}
#endif
