// The one pass over a row: block maxima, and block masses where the mass of everything matters.
#pragma once

#include "block.h"
#include "kernel.h"
#include "weigh.h"

namespace onedraw::cpu::ONEDRAW_TARGET {

constexpr int kVectors = kBlock / kLanes;

struct BlockOfVectors {
  F v[kVectors];
};

static inline BlockOfVectors load_block(const float* x) {
  BlockOfVectors b;
  for (int i = 0; i < kVectors; ++i) b.v[i] = load(x + i * kLanes);
  return b;
}

static inline float block_max(const BlockOfVectors& b) {
  F m = b.v[0];
  for (int i = 1; i < kVectors; ++i) m = max(m, b.v[i]);
  return reduce_max(m);
}

// max alone would lose it.
static inline bool block_has_nan(const BlockOfVectors& b) {
  uint32_t nan = 0;
  for (int i = 0; i < kVectors; i += 2) nan |= unordered(b.v[i], b.v[i + 1]);
  return nan != 0;
}

// R3.1 and R3.2 by the book, where the fast form does not reach: infinities and |z| of 2^21 or more.
static uint64_t mass_by_the_book(const float* x, const Settings& s, float largest) {
  const int64_t n_b = weight_of(s, largest).n;
  uint64_t mass = 0;
  for (int i = 0; i < kBlock; ++i) {
    if (x[i] == -__builtin_inff()) continue;
    const spec::Weight w = weight_of(s, x[i]);
    mass += spec::block_weight(w.m, n_b - w.n);
  }
  return mass;
}

// At most eight weights add up in a lane before they are widened.
static inline uint64_t mass_of_lanes(const U* w) {
  uint64_t mass = 0;
  for (int i = 0; i < kVectors; i += 8) {
    U sum = w[i];
    for (int j = i + 1; j < i + 8 && j < kVectors; ++j) sum += w[j];
    mass += reduce_add(sum);
  }
  return mass;
}

static inline uint64_t logit_mass(const BlockOfVectors& b, float largest, float scale) {
  const U base = splat(magic_bits(largest, scale) + 3);
  const F s = splat(scale);
  U w[kVectors];
  for (int i = 0; i < kVectors; ++i) {
    const VectorWeight v = weigh(b.v[i], s);
    w[i] = shr(v.mantissa << 8, base - v.magic);
  }
  return mass_of_lanes(w);
}

// R2.5: the float's own fraction and exponent. In a block whose largest exponent field is 64 or more, subnormals
// (field 0) are shifted out; so is -inf, the mark of no candidate.
static inline uint64_t given_mass(const BlockOfVectors& b, float largest) {
  const U base = splat((spec::bits_of(largest) >> 23) + 3);
  U w[kVectors];
  for (int i = 0; i < kVectors; ++i) {
    const U u = bits_of(b.v[i]);
    w[i] = shr(u << 8 | splat(uint32_t{0x80000000u}), base - (u >> 23));
  }
  return mass_of_lanes(w);
}

static inline uint64_t block_mass(const float* x, const BlockOfVectors& b, const Settings& s, float largest) {
  if (!(largest > -__builtin_inff())) return 0;  // nothing there
  if (s.weights) return largest >= 0x1p-63f ? given_mass(b, largest) : mass_by_the_book(x, s, largest);
  return is_fast(largest, s.scale) ? logit_mass(b, largest, s.scale) : mass_by_the_book(x, s, largest);
}

static void scan(const Reader& reader, const Settings& settings, int64_t first, int64_t last, bool masses,
                 Scratch& scratch) {
  alignas(64) float buffer[kBlock];
  BiasCursor cursor;
  for (int64_t b = first; b < last; ++b) {
    const float* x = block_values(reader, b, cursor, buffer);
    const BlockOfVectors v = load_block(x);
    if (block_has_nan(v)) {
      __atomic_store_n(&scratch.has_nan, true, __ATOMIC_RELAXED);
      return;
    }
    const float largest = block_max(v);
    scratch.block_max[b] = largest;
    if (masses) scratch.block_mass[b] = block_mass(x, v, settings, largest);
  }
}

static float floor(const float* x, int64_t n) {
  F m0 = splat(-__builtin_inff()), m1 = m0, m2 = m0, m3 = m0;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    m0 = max(m0, load(x + i));
    m1 = max(m1, load(x + i + kLanes));
    m2 = max(m2, load(x + i + 2 * kLanes));
    m3 = max(m3, load(x + i + 3 * kLanes));
  }
  float largest = reduce_max(max(max(m0, m1), max(m2, m3)));
  for (; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

}  // namespace onedraw::cpu::ONEDRAW_TARGET
