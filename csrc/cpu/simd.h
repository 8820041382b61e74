// The small vocabulary of an instruction set: everything a kernel needs beyond plain C++. One object file is compiled
// for each target (see CMakeLists.txt), and takes the section that its flags select.
//
//   F, U   kLanes float32 or uint32
//   fma    one rounding; max: the second operand where either is NaN (as x86 has it)
//   shr    zero where the count is 32 or more
//   count_lanes  how many lanes of a comparison's result are set
#pragma once

#include <cstdint>
#include <cstring>

#include "../spec/widen.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace onedraw::cpu::ONEDRAW_TARGET {

#if defined(ONEDRAW_LANES)
constexpr int kLanes = ONEDRAW_LANES;  // the checking programs run the plain section at other widths
#elif defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float F __attribute__((vector_size(4 * kLanes)));
typedef uint32_t U __attribute__((vector_size(4 * kLanes)));
typedef int32_t I __attribute__((vector_size(4 * kLanes)));
typedef F FUnaligned __attribute__((aligned(4), may_alias));
typedef U UUnaligned __attribute__((aligned(4), may_alias));

static inline F load(const float* p) { return *reinterpret_cast<const FUnaligned*>(p); }
static inline U load(const uint32_t* p) { return *reinterpret_cast<const UUnaligned*>(p); }
static inline void store(float* p, F x) { *reinterpret_cast<FUnaligned*>(p) = x; }
static inline void store(uint32_t* p, U x) { *reinterpret_cast<UUnaligned*>(p) = x; }
static inline F splat(float x) { return x - F{}; }
static inline U splat(uint32_t x) { return x - U{}; }
static inline U bits_of(F x) { return reinterpret_cast<U>(x); }
static inline F float_of(U x) { return reinterpret_cast<F>(x); }

#if defined(__AVX512F__)

static inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
static inline F max(F a, F b) { return _mm512_max_ps(a, b); }
static inline U shr(U x, U n) {
  return reinterpret_cast<U>(_mm512_srlv_epi32(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(n)));
}
static inline uint32_t at_least(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
static inline U is_unordered(F a, F b) {
  return reinterpret_cast<U>(_mm512_maskz_set1_epi32(_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q), -1));
}
static inline bool any(U x) {
  return _mm512_test_epi32_mask(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(x));
}
static inline int count_lanes(I mask) {
  return __builtin_popcount(_mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)));
}
static inline float reduce_max(F x) { return _mm512_reduce_max_ps(x); }
static inline uint64_t reduce_add(U x) {
  const __m512i v = reinterpret_cast<__m512i>(x);
  const __m512i low = _mm512_and_si512(v, _mm512_set1_epi64(0xFFFFFFFF));
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(_mm512_add_epi64(low, _mm512_srli_epi64(v, 32))));
}
static inline void multiply(U a, uint32_t m, U& low, U& high) {
  const __m512i x = reinterpret_cast<__m512i>(a), y = _mm512_set1_epi32(static_cast<int>(m));
  const __m512i even = _mm512_mul_epu32(x, y);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), y);
  low = reinterpret_cast<U>(_mm512_mask_mov_epi32(even, 0xAAAA, _mm512_slli_epi64(odd, 32)));
  high = reinterpret_cast<U>(_mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xAAAA, odd));
}
static inline F load_float16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
static inline F load_bfloat16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

#elif defined(__AVX2__)

static inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
static inline F max(F a, F b) { return _mm256_max_ps(a, b); }
static inline U shr(U x, U n) {
  return reinterpret_cast<U>(_mm256_srlv_epi32(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(n)));
}
static inline uint32_t at_least(F a, F b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
}
static inline U is_unordered(F a, F b) { return reinterpret_cast<U>(_mm256_cmp_ps(a, b, _CMP_UNORD_Q)); }
static inline bool any(U x) { return !_mm256_testz_si256(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(x)); }
static inline int count_lanes(I mask) {
  return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask))));
}
static inline float reduce_max(F x) {
  __m128 v = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  v = _mm_max_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
}
static inline uint64_t reduce_add(U x) {
  const __m256i v = reinterpret_cast<__m256i>(x);
  const __m256i pairs = _mm256_add_epi64(_mm256_blend_epi32(v, _mm256_setzero_si256(), 0xAA), _mm256_srli_epi64(v, 32));
  const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half))));
}
static inline void multiply(U a, uint32_t m, U& low, U& high) {
  const __m256i x = reinterpret_cast<__m256i>(a), y = _mm256_set1_epi32(static_cast<int>(m));
  const __m256i even = _mm256_mul_epu32(x, y);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), y);
  low = reinterpret_cast<U>(_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA));
  high = reinterpret_cast<U>(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA));
}
static inline F load_float16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline F load_bfloat16(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

#else

// Lane by lane: the compiler makes vector code of what the baseline has.
template <class Body>
static inline F each(Body body) {
  F r;
  for (int i = 0; i < kLanes; ++i) r[i] = body(i);
  return r;
}
#if defined(__FMA__) || defined(__aarch64__)
static inline F fma(F a, F b, F c) {
  return each([&](int i) { return spec::fma(a[i], b[i], c[i]); });
}
#else
#define ONEDRAW_NO_FMA
typedef double D __attribute__((vector_size(8 * kLanes)));
typedef int64_t L __attribute__((vector_size(8 * kLanes)));
static inline D splat(double x) { return x - D{}; }
static inline D widen(F x) { return __builtin_convertvector(x, D); }
static inline F narrow(D x) { return __builtin_convertvector(x, F); }

// spec::fma in vectors.
static inline F fma(F a, F b, F c) {
  const D product = widen(a) * widen(b), addend = widen(c);
  const D sum = product + addend;
  const D back = sum - product;
  const D lost = (product - (sum - back)) + (addend - back);
  const L bits = reinterpret_cast<L>(sum);
  const L outward = ((bits ^ reinterpret_cast<L>(lost)) >> 63) | 1;  // 1 if the exact sum is further from 0, else -1
  const L is_even = (bits & 1) - 1;
  return narrow(reinterpret_cast<D>(bits + (outward & is_even & (lost != 0))));
}
#endif
static inline F max(F a, F b) { return a > b ? a : b; }
static inline U shr(U x, U n) {
  U r;
  for (int i = 0; i < kLanes; ++i) r[i] = n[i] > 31 ? 0 : x[i] >> n[i];
  return r;
}
static inline uint32_t at_least(F a, F b) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(a[i] >= b[i]) << i;
  return mask;
}
static inline U is_unordered(F a, F b) { return reinterpret_cast<U>((a != a) | (b != b)); }
static inline bool any(U x) {
  uint32_t r = 0;
  for (int i = 0; i < kLanes; ++i) r |= x[i];
  return r != 0;
}
static inline int count_lanes(I mask) {
  int r = 0;
  for (int i = 0; i < kLanes; ++i) r -= mask[i];
  return r;
}
static inline float reduce_max(F x) {
  float r = x[0];
  for (int i = 1; i < kLanes; ++i) r = x[i] > r ? x[i] : r;
  return r;
}
static inline uint64_t reduce_add(U x) {
  uint64_t r = 0;
  for (int i = 0; i < kLanes; ++i) r += x[i];
  return r;
}
static inline void multiply(U a, uint32_t m, U& low, U& high) {
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t p = static_cast<uint64_t>(a[i]) * m;
    low[i] = static_cast<uint32_t>(p);
    high[i] = static_cast<uint32_t>(p >> 32);
  }
}
static inline F load_float16(const uint16_t* p) {
  return each([&](int i) { return spec::widen_float16(p[i]); });
}
static inline F load_bfloat16(const uint16_t* p) {
  return each([&](int i) { return spec::widen_bfloat16(p[i]); });
}

#endif

// Lane i of the result is lane index[i] of a and b, one after the other; the compiler knows the index.
static inline F shuffle(F a, F b, I index) {
#if defined(__clang__)
  F r;
  for (int i = 0; i < kLanes; ++i) r[i] = index[i] < kLanes ? a[index[i]] : b[index[i] - kLanes];
  return r;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

// Indices for a shuffle of two vectors: in each group of 2 * half lanes, the `upper` halves of a's group and
// of b's, one after the other.
template <int half, bool upper>
static inline I halves() {
  I index;
  for (int i = 0; i < kLanes; ++i) {
    const int group = i / (2 * half) * (2 * half), place = i % (2 * half);
    index[i] = group + (place % half) + (upper ? half : 0) + (place < half ? 0 : kLanes);
  }
  return index;
}

template <int half>
static inline void reduce_max_step(F* x) {
  for (int i = 0; i < half; ++i)
    x[i] = max(shuffle(x[i], x[i + half], halves<half, false>()), shuffle(x[i], x[i + half], halves<half, true>()));
  if constexpr (half > 1) reduce_max_step<half / 2>(x);
}

// The largest lane of each of kLanes vectors, as one vector: a transposition that folds as it goes.
static inline F reduce_max_each(F* x) {
  reduce_max_step<kLanes / 2>(x);
  return x[0];
}

}  // namespace onedraw::cpu::ONEDRAW_TARGET
