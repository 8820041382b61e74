// Rules R5.2, R5.3: the exponential variate and the score that races.
#pragma once

#include "cut.h"
#include "philox.h"

namespace onedraw::spec {

// -ln(1 - w) = w * Q(w) on (0, 1/2]; Q(0) = 1, so a variate is never below w.
constexpr float kQ[9] = {0x1p+0f,         0x1.fffec0p-2f, 0x1.55a3a8p-2f,  0x1.f30fdap-3f, 0x1.0e0510p-2f,
                         -0x1.7297a8p-3f, 0x1.356e70p+0f, -0x1.a3bc58p+0f, 0x1.6a1fe6p+0f};
constexpr float kLn2 = 0x1.62e430p-1f;

// -ln((2u + 1) / 2^65): lz halvings, and w, the distance to 1 of what is left, which keeps its leading
// bits however small it is.
ONEDRAW_FN float variate(uint64_t u) {
  constexpr float q[9] = {kQ[0], kQ[1], kQ[2], kQ[3], kQ[4], kQ[5], kQ[6], kQ[7], kQ[8]};
  const int lz = leading_zeros(u);
  const uint64_t shifted = lz == 64 ? 0 : (u << 1 | 1) << lz;
  const uint64_t rest = 0 - shifted;
  const float w = rest == 0 ? 0.5f : mul(static_cast<float>(rest), 0x1p-65f);
  float p = q[8];
  for (int i = 7; i >= 0; --i) p = fma(p, w, q[i]);
  const float f = mul(w, p);
  return lz == 0 ? f : fma(static_cast<float>(lz), kLn2, f);
}

// R5.3 for the weight m * 2^(e - 23), m of 24 bits; e counts from the row's (or block's) exponent.
// An exponent 2^20 below the leader's cannot win, nor be told from one further down.
ONEDRAW_FN int64_t score(float variate, uint32_t m, int64_t e) {
  const int64_t floor = -(int64_t{1} << 20);
  const float q = div(variate, mul(static_cast<float>(m), 0x1p-23f));
  return static_cast<int64_t>(bits_of(q)) - (e < floor ? floor : e) * (int64_t{1} << 23);
}

// A block's mass as a weight: its top 24 bits, and the place of its leading bit; n_b counts from the row.
ONEDRAW_FN Weight mass_weight(uint64_t block_mass, int64_t n_b) {
  const int lead = 63 - leading_zeros(block_mass);
  const uint32_t m = static_cast<uint32_t>(lead >= 23 ? block_mass >> (lead - 23) : block_mass << (23 - lead));
  return {n_b + lead - kBlockBits, m};
}

}  // namespace onedraw::spec
