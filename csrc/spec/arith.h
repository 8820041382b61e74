// The only floating point the specification uses: single operations, each correctly rounded, each with
// a name. Host code is compiled with -ffp-contract=off and without fast-math; device code uses the
// _rn intrinsics, which the compiler never fuses.
//
// Functions are `static` so that every object file has its own copy: an inline function shared by the
// linker would put one instruction set's code into another's kernel.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define ONEDRAW_FN __host__ __device__ static inline
#else
#define ONEDRAW_FN [[maybe_unused]] static inline
#endif

namespace onedraw::spec {

ONEDRAW_FN uint32_t bits_of(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

ONEDRAW_FN float float_of(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

ONEDRAW_FN uint64_t bits_of(double x) {
  uint64_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

ONEDRAW_FN double double_of(uint64_t u) {
  double x;
  memcpy(&x, &u, sizeof x);
  return x;
}

#if defined(__CUDA_ARCH__)

ONEDRAW_FN float add(float a, float b) { return __fadd_rn(a, b); }
ONEDRAW_FN float mul(float a, float b) { return __fmul_rn(a, b); }
ONEDRAW_FN float div(float a, float b) { return __fdiv_rn(a, b); }
ONEDRAW_FN float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
ONEDRAW_FN double add(double a, double b) { return __dadd_rn(a, b); }
ONEDRAW_FN double mul(double a, double b) { return __dmul_rn(a, b); }
ONEDRAW_FN double div(double a, double b) { return __ddiv_rn(a, b); }
ONEDRAW_FN int leading_zeros(uint64_t x) { return __clzll(static_cast<long long>(x)); }

#else

ONEDRAW_FN float add(float a, float b) { return a + b; }
ONEDRAW_FN float mul(float a, float b) { return a * b; }
ONEDRAW_FN float div(float a, float b) { return a / b; }
ONEDRAW_FN double add(double a, double b) { return a + b; }
ONEDRAW_FN double mul(double a, double b) { return a * b; }
ONEDRAW_FN double div(double a, double b) { return a / b; }
ONEDRAW_FN int leading_zeros(uint64_t x) { return x == 0 ? 64 : __builtin_clzll(x); }

#if defined(__FMA__) || defined(__aarch64__)
ONEDRAW_FN float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
// Where the processor has no fused multiply-add: the product is exact in float64; the sum is rounded to
// odd there (its lost part makes the last bit 1), so that the second rounding, to float32, sees on which side of
// a tie it stands. Results are correctly rounded for finite arguments; infinities give an infinity or a NaN, which
// callers shift out.
ONEDRAW_FN float fma(float a, float b, float c) {
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  double sum = product + addend;
  const double back = sum - product;
  const double lost = (product - (sum - back)) + (addend - back);  // exact (Knuth's two-sum)
  uint64_t u = bits_of(sum);
  if (lost != 0 && (u & 1) == 0) {
    u += ((lost > 0) == (sum > 0)) ? uint64_t{1} : ~uint64_t{0};
    sum = double_of(u);
  }
  return static_cast<float>(sum);
}
#endif

#endif

// To the nearest integer, ties to even, for any finite x.
ONEDRAW_FN double nearest(double x) {
  const double big = 0x1p52;  // from here on every float64 is an integer
  if (x >= big || x <= -big) return x;
  return x >= 0 ? add(add(x, big), -big) : add(add(x, -big), big);
}

}  // namespace onedraw::spec
