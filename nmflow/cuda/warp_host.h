// A warp as arrays of 32 lanes, on the host: the names of warp_device.h, for compilers of C++17.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define DEVICE static inline
#define CONSTANT static const
#define UNROLL
#define SERIAL

template <class T> struct Lanes {
  T at[32];
  Lanes() : at{} {}
  Lanes(T x) { for (int k = 0; k < 32; k++) at[k] = x; }
#define EACH(type, expression) \
  { Lanes<type> z; for (int k = 0; k < 32; k++) z.at[k] = type(expression); return z; }
#define OPERATOR(symbol) \
  friend Lanes operator symbol(Lanes x, Lanes y) EACH(T, x.at[k] symbol y.at[k])
#define COMPARISON(symbol) \
  friend Lanes<bool> operator symbol(Lanes x, Lanes y) EACH(bool, x.at[k] symbol y.at[k])
  OPERATOR(&) OPERATOR(|) OPERATOR(^)
  COMPARISON(<) COMPARISON(>) COMPARISON(<=) COMPARISON(>=) COMPARISON(==) COMPARISON(!=)
#undef OPERATOR
#define OPERATOR(symbol, type) \
  friend Lanes operator symbol(Lanes x, Lanes y) EACH(T, type(x.at[k]) symbol type(y.at[k]))
  // What wraps around on the device does here.
  OPERATOR(+, uint64_t) OPERATOR(-, uint64_t) OPERATOR(*, uint64_t)
  friend Lanes operator/(Lanes x, Lanes y) EACH(T, x.at[k] / (y.at[k] ? y.at[k] : 1))
  friend Lanes operator%(Lanes x, Lanes y) EACH(T, x.at[k] % (y.at[k] ? y.at[k] : 1))
  friend Lanes operator<<(Lanes x, Lanes<int> y) EACH(T, uint64_t(x.at[k]) << y.at[k])
  friend Lanes operator>>(Lanes x, Lanes<int> y) EACH(T, x.at[k] >> y.at[k])
  Lanes operator-() const EACH(T, -uint64_t(at[k]))
  Lanes operator~() const EACH(T, ~at[k])
  Lanes<bool> operator!() const EACH(bool, !at[k])
  Lanes& operator+=(Lanes y) { return *this = *this + y; }
  Lanes& operator-=(Lanes y) { return *this = *this - y; }
  Lanes& operator|=(Lanes y) { return *this = *this | y; }
  Lanes& operator&=(Lanes y) { return *this = *this & y; }
  Lanes& operator^=(Lanes y) { return *this = *this ^ y; }
};
using Int = Lanes<int>;
using Word = Lanes<uint32_t>;
using Long = Lanes<long long>;
using Bool = Lanes<bool>;
struct Pair { Word bits; };

DEVICE Int lane() EACH(int, k)
template <class T> DEVICE Lanes<T> shuffle(Lanes<T> x, Int from) EACH(T, x.at[from.at[k] & 31])
template <class T> DEVICE Lanes<T> shuffle_xor(Lanes<T> x, int with) EACH(T, x.at[k ^ with])
DEVICE Pair shuffle(Pair x, Int from) { return {shuffle(x.bits, from)}; }
DEVICE Pair shuffle_xor(Pair x, int with) { return {shuffle_xor(x.bits, with)}; }
template <class T> DEVICE T value_of(Lanes<T> x, int from) { return x.at[from & 31]; }
DEVICE unsigned vote(Bool x) {
  unsigned bits = 0;
  for (int k = 0; k < 32; k++) bits |= unsigned(x.at[k]) << k;
  return bits;
}
DEVICE int total(Int x) {
  int sum = 0;
  for (int k = 0; k < 32; k++) sum += x.at[k];
  return sum;
}
DEVICE void synchronise() {}

template <class T> DEVICE Lanes<T> pick(Bool c, Lanes<T> x, Lanes<T> y)
  EACH(T, c.at[k] ? x.at[k] : y.at[k])
DEVICE Pair pick(Bool choice, Pair x, Pair y) { return {pick(choice, x.bits, y.bits)}; }
template <class To, class From> struct Cast;
template <class To, class From> struct Cast<Lanes<To>, Lanes<From>> {
  static Lanes<To> of(Lanes<From> x) EACH(To, x.at[k])
};
template <class To, class From> DEVICE To as(From x) { return Cast<To, From>::of(x); }
DEVICE Int count_bits(Word x) EACH(int, __builtin_popcount(x.at[k]))
DEVICE int count_bits(unsigned x) { return __builtin_popcount(x); }
DEVICE Int leading_zeros(Word x) EACH(int, x.at[k] ? __builtin_clz(x.at[k]) : 32)
DEVICE Int leading_zeros(Long x) EACH(int, x.at[k] ? __builtin_clzll(x.at[k]) : 64)
template <class T> DEVICE Lanes<T> larger(Lanes<T> x, Lanes<T> y)
  EACH(T, x.at[k] > y.at[k] ? x.at[k] : y.at[k])
template <class T> DEVICE Lanes<T> smaller(Lanes<T> x, Lanes<T> y)
  EACH(T, x.at[k] > y.at[k] ? y.at[k] : x.at[k])
DEVICE Int distance(Int x) EACH(int, x.at[k] < 0 ? -x.at[k] : x.at[k])
DEVICE uint32_t join(uint32_t high, uint32_t low) { return high << 16 | low; }
DEVICE Pair larger(Pair x, Pair y) {
  Word high = larger(x.bits >> 16, y.bits >> 16), low = larger(x.bits & 0xffff, y.bits & 0xffff);
  return {high << 16 | low};
}
DEVICE Pair smaller(Pair x, Pair y) {
  Word high = smaller(x.bits >> 16, y.bits >> 16), low = smaller(x.bits & 0xffff, y.bits & 0xffff);
  return {high << 16 | low};
}

DEVICE float as_float(uint32_t bits) { float x; std::memcpy(&x, &bits, 4); return x; }
DEVICE uint32_t as_bits(float x) { uint32_t bits; std::memcpy(&bits, &x, 4); return bits; }
DEVICE Word floor_bits(Word x, Word scale, float shifted_bias)
  EACH(uint32_t, as_bits(float(std::floor(double(as_float(x.at[k])) * as_float(scale.at[k]))
                               + shifted_bias)))
DEVICE uint32_t half_bits(uint32_t x) {
  uint32_t sign = (x & 0x8000) << 16, field = x >> 10 & 31, fraction = x & 0x3ff;
  if (field == 31) return sign | 0x7f800000 | fraction << 13;
  return sign | as_bits(std::ldexp(float(field ? fraction | 0x400 : fraction),
                                   (field ? int(field) : 1) - 25));
}
DEVICE Word half_to_float(Word x) EACH(uint32_t, half_bits(x.at[k]))
template <class T> DEVICE Lanes<T> load(const T* from, Long at, Bool where)
  EACH(T, where.at[k] ? from[at.at[k]] : T(0))
template <class T> DEVICE Lanes<T> read_once(const T* from, Long at, Bool where) {
  return load(from, at, where);
}
DEVICE void load_four(const uint32_t* from, Long at, Bool where, Word (&x)[4]) {
  for (int j = 0; j < 4; j++) x[j] = load(from, at + (long long)j, where);
}
DEVICE void load_two(const uint32_t* from, Long at, Bool where, Word (&x)[2]) {
  for (int j = 0; j < 2; j++) x[j] = load(from, at + (long long)j, where);
}
template <class T> DEVICE void store(T* to, Long at, Lanes<T> x, Bool where) {
  for (int k = 0; k < 32; k++) if (where.at[k]) to[at.at[k]] = x.at[k];
}
DEVICE void set_flag(int* flag, Bool where) { if (vote(where)) *flag = 1; }
DEVICE int reserve(int* counter, int count) {
  int first = *counter;
  *counter += count;
  return first;
}
#define TILE_MEMORY(name, words) long long name[words]
