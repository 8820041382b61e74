// Weights of a vector of values, in the fast form (fast.h).
#pragma once

#include "../spec/fast.h"
#include "simd.h"

namespace onedraw::cpu::ONEDRAW_TARGET {

using spec::is_fast;
using spec::kFastLimit;
using spec::kMagic;
using spec::magic_bits;

struct VectorWeight {
  U magic;     // bits of h: differences are differences of n
  U mantissa;  // bits of p in [1, 2): m is its low 23 bits and the hidden one
};

#if defined(ONEDRAW_NO_FMA)

// In float64 a product of two float32 is exact; z + magic rounds to the integer, once; and for every value that has a
// weight z - n and the polynomial's sums are exact, so that the conversion to float32 is the one rounding. For a is a
// multiple of 2^-23, and p, a float32, of 2^-23 of its binade: from a coefficient of 2^-10 (p * a a multiple of
// 2^-56, added to one of 2^-7) to those of 2^-1 and 1 (of 2^-49, 2^-48), no sum's bits span more than 51.
static inline VectorWeight weigh(F x, F scale) {
  const D magic = splat(0x1.8p52);
  const D z = widen(x) * widen(scale);
  const D n = (z + magic) - magic;
  const F middle = splat(1.5f);
  const D a = widen((narrow(z - n) + middle) - middle);
  D p = splat(double{spec::kC5});
  p = widen(narrow(p * a + splat(double{spec::kC4})));
  p = widen(narrow(p * a + splat(double{spec::kC3})));
  p = widen(narrow(p * a + splat(double{spec::kC2})));
  p = widen(narrow(p * a + splat(double{spec::kC1})));
  return {bits_of(narrow(n + splat(double{kMagic}))), bits_of(narrow(p * a + splat(double{spec::kC0})))};
}

#else

static inline VectorWeight weigh(F x, F scale) {
  const F magic = splat(kMagic), middle = splat(1.5f);
  const F h = fma(x, scale, magic);
  const F n = h - magic;
  const F r = fma(x, scale, -n);
  const F a = (r + middle) - middle;
  F p = fma(splat(spec::kC5), a, splat(spec::kC4));
  p = fma(p, a, splat(spec::kC3));
  p = fma(p, a, splat(spec::kC2));
  p = fma(p, a, splat(spec::kC1));
  p = fma(p, a, splat(spec::kC0));
  return {bits_of(h), bits_of(p)};
}

#endif

}  // namespace onedraw::cpu::ONEDRAW_TARGET
