// What a lane of a warp does, on the device: a value of a lane is a plain number.
// warp_host.h has the same names for a warp as arrays of 32, so that solve.cu runs without a GPU.
#pragma once

#define DEVICE __device__ __forceinline__
#define CONSTANT __constant__
#define UNROLL _Pragma("unroll")
#define SERIAL _Pragma("unroll 1")

template <class T> using Lanes = T;
using Int = int;
using Word = unsigned;
using Long = long long;
using Bool = bool;
// Two numbers of 15 bits, none negative, in the halves of a word.
struct Pair { unsigned bits; };

DEVICE int lane() { return threadIdx.x & 31; }
template <class T> DEVICE T shuffle(T x, int from) { return __shfl_sync(~0u, x, from); }
template <class T> DEVICE T shuffle_xor(T x, int with) { return __shfl_xor_sync(~0u, x, with); }
DEVICE Pair shuffle(Pair x, int from) { return {__shfl_sync(~0u, x.bits, from)}; }
DEVICE Pair shuffle_xor(Pair x, int with) { return {__shfl_xor_sync(~0u, x.bits, with)}; }
template <class T> DEVICE T value_of(T x, int from) { return __shfl_sync(~0u, x, from); }
DEVICE unsigned vote(bool x) { return __ballot_sync(~0u, x); }
DEVICE int total(int x) { return __reduce_add_sync(~0u, x); }
DEVICE void synchronise() { __syncwarp(); }

template <class T> DEVICE T pick(bool choice, T x, T y) { return choice ? x : y; }
DEVICE Pair pick(bool choice, Pair x, Pair y) { return {choice ? x.bits : y.bits}; }
template <class To, class From> DEVICE To as(From x) { return To(x); }
DEVICE int count_bits(unsigned x) { return __popc(x); }
DEVICE int leading_zeros(unsigned x) { return __clz(int(x)); }
DEVICE int leading_zeros(Long x) { return __clzll(x); }
DEVICE int larger(int x, int y) { return max(x, y); }
DEVICE int smaller(int x, int y) { return min(x, y); }
DEVICE unsigned larger(unsigned x, unsigned y) { return max(x, y); }
DEVICE unsigned smaller(unsigned x, unsigned y) { return min(x, y); }
DEVICE Long larger(Long x, Long y) { return x > y ? x : y; }
DEVICE Long smaller(Long x, Long y) { return x > y ? y : x; }
DEVICE int distance(int x) { return abs(x); }
// Before sm_90 there is no such instruction on integers; halves order numbers that are not negative,
// and below that of infinity, as their bits do.
DEVICE Pair larger(Pair x, Pair y) {
  Pair z;
#if __CUDA_ARCH__ >= 900
  z.bits = __vmaxu2(x.bits, y.bits);
#else
  asm("max.f16x2 %0, %1, %2;" : "=r"(z.bits) : "r"(x.bits), "r"(y.bits));
#endif
  return z;
}
DEVICE Pair smaller(Pair x, Pair y) {
  Pair z;
#if __CUDA_ARCH__ >= 900
  z.bits = __vminu2(x.bits, y.bits);
#else
  asm("min.f16x2 %0, %1, %2;" : "=r"(z.bits) : "r"(x.bits), "r"(y.bits));
#endif
  return z;
}

// floor(x * scale) + 2**23 + bias as the bits of a float, for a scale that is a power of two.
DEVICE unsigned floor_bits(unsigned x, unsigned scale, float shifted_bias) {
  return __float_as_uint(__fmaf_rd(__uint_as_float(x), __uint_as_float(scale), shifted_bias));
}
DEVICE unsigned half_to_float(unsigned x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"((unsigned short)x));
  return __float_as_uint(y);
}
template <class T> DEVICE T load(const T* from, Long at, bool where) {
  return where ? from[at] : T(0);
}
template <class T> DEVICE T read_once(const T* from, Long at, bool where) {
  return where ? __ldcs(from + at) : T(0);
}
// `at` is a multiple of four, or of two.
DEVICE void load_four(const unsigned* from, Long at, bool where, unsigned (&x)[4]) {
  uint4 four = where ? __ldcs((const uint4*)(from + at)) : uint4{0, 0, 0, 0};
  x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
}
DEVICE void load_two(const unsigned* from, Long at, bool where, unsigned (&x)[2]) {
  uint2 two = where ? __ldcs((const uint2*)(from + at)) : uint2{0, 0};
  x[0] = two.x, x[1] = two.y;
}
template <class T> DEVICE void store(T* to, Long at, T x, bool where) {
  if (where) to[at] = x;
}
DEVICE void set_flag(int* flag, bool where) {
  if (where) *flag = 1;
}
// The first of `count` places after those that are taken.
DEVICE int reserve(int* counter, int count) {
  int first = 0;
  if (lane() == 0 && count) first = atomicAdd(counter, count);
  return __shfl_sync(~0u, first, 0);
}
// Scores of a tile for a warp by itself.
#define TILE_MEMORY(name, words) \
  __shared__ Long name##_of_block[WARPS][words]; \
  Long* name = name##_of_block[threadIdx.x / 32]
