// The weight without float64 or 64-bit integers (R2.2 as its fused multiply-adds), for a block or row whose largest
// value has |z| below kFastLimit: the nearest integer comes from adding a magic number, and its bits count in units
// of 1.
//
// A value far below (down to -inf) makes h leave its binade: as an unsigned difference of bits it still is further away
// than any shift reaches, and whatever else is computed for it, is shifted out.
#pragma once

#include "mass.h"

namespace onedraw::spec {

constexpr float kMagic = 0x1.8p23f;
constexpr float kFastLimit = 0x1p21f;

// Whether every distance to this value can be taken from bits.
ONEDRAW_FN bool is_fast(float largest, float scale) {
  const float z = mul(largest, scale);
  return z < kFastLimit && z > -kFastLimit;
}

ONEDRAW_FN uint32_t magic_bits(float x, float scale) { return bits_of(fma(x, scale, kMagic)); }

struct FastWeight {
  uint32_t magic;     // bits of h: differences are differences of n
  uint32_t mantissa;  // bits of p in [1, 2): m is its low 23 bits and the hidden one
};

ONEDRAW_FN FastWeight fast_weight(float x, float scale) {
  const float h = fma(x, scale, kMagic);
  const float n = add(h, -kMagic);
  const float r = fma(x, scale, -n);
  const float a = add(add(r, 1.5f), -1.5f);
  float p = fma(kC5, a, kC4);
  p = fma(p, a, kC3);
  p = fma(p, a, kC2);
  p = fma(p, a, kC1);
  p = fma(p, a, kC0);
  return {bits_of(h), bits_of(p)};
}

// W of R3.1 in a block whose largest value has these bits.
ONEDRAW_FN uint32_t fast_block_weight(FastWeight w, uint32_t largest) {
  const uint32_t shift = largest + 3 - w.magic;
  return shift > 31 ? 0u : (w.mantissa << 8) >> shift;
}

}  // namespace onedraw::spec
