// Rules R2.1 to R2.5: the weight of a token, m * 2^(n - 23).
#pragma once

#include "key.h"

namespace onedraw::spec {

constexpr float kLog2E = 0x1.715476p+0f;
constexpr int64_t kSaturated = int64_t{1} << 61;  // n of a finite logit is never beyond
constexpr int64_t kInfinite = int64_t{1} << 62;   // n of +inf

// sqrt(2) * 2^a on [-1/2, 1/2], fitted by a linear program under P(-1/2) >= 1 and P(1/2) <= 2 - 2^-23,
// then by a search over the last bits for the smallest worst error (2^-22.30) without an inversion.
constexpr float kC0 = 0x1.6a09e8p+0f;
constexpr float kC1 = 0x1.f5e452p-1f;
constexpr float kC2 = 0x1.5be082p-2f;
constexpr float kC3 = 0x1.418cb8p-4f;
constexpr float kC4 = 0x1.c0723cp-7f;
constexpr float kC5 = 0x1.e8129cp-10f;

struct Weight {
  int64_t n;
  uint32_t m;  // 24 bits, the first of them 1
};

// t = x * scale as n + a: `a` on the polynomial's grid (R2.2), `exact` before it was put there.
struct Split {
  int64_t n;
  float a;
  double exact;
};

ONEDRAW_FN float scale_of(float temperature) { return div(kLog2E, temperature); }

ONEDRAW_FN Split split(float x, float scale) {
  if (bits_of(x) == 0x7F800000u) return {kInfinite, -0.5f, -0.5};
  const double t = mul(static_cast<double>(x), static_cast<double>(scale));  // exact: 48 bits
  if (t >= 0x1p61) return {kSaturated, -0.5f, -0.5};
  if (t <= -0x1p61) return {-kSaturated, -0.5f, -0.5};
  const double n = nearest(t);
  const double exact = add(t, -n);
  const float y = add(static_cast<float>(exact), 1.5f);
  return {static_cast<int64_t>(n), add(y, -1.5f), exact};
}

ONEDRAW_FN uint32_t mantissa(float a) {
  float p = fma(kC5, a, kC4);
  p = fma(p, a, kC3);
  p = fma(p, a, kC2);
  p = fma(p, a, kC1);
  p = fma(p, a, kC0);
  return (bits_of(p) & 0x7FFFFFu) | 0x800000u;
}

ONEDRAW_FN Weight weight(float x, float scale) {
  const Split s = split(x, scale);
  return {s.n, mantissa(s.a)};
}

// R2.5: a positive finite float32 that is itself the weight.
ONEDRAW_FN Weight given_weight(float x) {
  const uint32_t u = bits_of(x);
  const uint32_t fraction = u & 0x7FFFFFu;
  const int exponent = static_cast<int>(u >> 23);
  if (exponent != 0) return {exponent - 127, fraction | 0x800000u};
  const int shift = leading_zeros(fraction) - 40;  // brings the leading bit to bit 23
  return {-126 - shift, fraction << shift};
}

}  // namespace onedraw::spec
