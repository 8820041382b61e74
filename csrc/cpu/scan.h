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

// Whole blocks that need no edit, in the logits' own type, from the first one on.
template <DType dtype>
struct Source {
  const void* logits;

  BlockOfVectors block(int64_t b) const {
    if constexpr (dtype == DType::float32) return load_block(static_cast<const float*>(logits) + b * kBlock);
    const uint16_t* p = static_cast<const uint16_t*>(logits) + b * kBlock;
    BlockOfVectors v;
    for (int i = 0; i < kVectors; ++i)
      v.v[i] = dtype == DType::float16 ? load_float16(p + i * kLanes) : load_bfloat16(p + i * kLanes);
    return v;
  }
  // The hardware reads ahead only to the end of a page, and stops while exponentials are computed.
  void prefetch(int64_t b) const {
    constexpr int64_t size = kBlock * (dtype == DType::float32 ? 4 : 2);
    for (int64_t i = 0; i < size; i += 64) __builtin_prefetch(static_cast<const char*>(logits) + b * size + i);
  }
};

constexpr int kAhead = 32;  // blocks

// Lane by lane.
static inline F largest_lanes(const BlockOfVectors& b) {
  F m = b.v[0];
  for (int i = 1; i < kVectors; ++i) m = max(m, b.v[i]);
  return m;
}

// Where max loses a NaN, a sum has one. So has a sum of opposite infinities: see has_nan.
static inline F sum_lanes(const BlockOfVectors& b) {
  F sum = b.v[0];
  for (int i = 1; i < kVectors; ++i) sum += b.v[i];
  return sum;
}

static inline bool has_nan(const BlockOfVectors& b) {
  U nan{};
  for (F v : b.v) nan |= is_unordered(v, v);
  return any(nan);
}

// R3.1 by the book, where the fast forms do not reach: infinities, |z| of 2^21 or more, tiny given weights.
static void weights_by_the_book(const BlockOfVectors& b, const Settings& s, float largest, U* w) {
  alignas(64) float x[kBlock];
  for (int i = 0; i < kVectors; ++i) store(x + i * kLanes, b.v[i]);
  const int64_t n_b = weight_of(s, largest).n;
  for (int i = 0; i < kBlock; ++i) {
    uint32_t weight = 0;
    if (x[i] != -__builtin_inff()) {
      const spec::Weight t = weight_of(s, x[i]);
      weight = spec::block_weight(t.m, n_b - t.n);
    }
    w[i / kLanes][i % kLanes] = weight;
  }
}

static inline void logit_weights(const BlockOfVectors& b, float largest, float scale, U* w) {
  const U base = splat(magic_bits(largest, scale) + 3);
  const F s = splat(scale);
  for (int i = 0; i < kVectors; ++i) {
    const VectorWeight v = weigh(b.v[i], s);
    w[i] = shr(v.mantissa << 8, base - v.magic);
  }
}

// R2.5: the float's own fraction and exponent. In a block whose largest exponent field is 64 or more, subnormals
// (field 0) are shifted out; so is -inf, the mark of no candidate.
static inline void given_weights(const BlockOfVectors& b, float largest, U* w) {
  const U base = splat((spec::bits_of(largest) >> 23) + 3);
  for (int i = 0; i < kVectors; ++i) {
    const U u = bits_of(b.v[i]);
    w[i] = shr(u << 8 | splat(uint32_t{0x80000000u}), base - (u >> 23));
  }
}

// W of a block that has a candidate.
static inline void block_weights(const BlockOfVectors& b, const Settings& s, float largest, U* w) {
  if (!s.weights && is_fast(largest, s.scale)) return logit_weights(b, largest, s.scale, w);
  if (s.weights && largest >= 0x1p-63f) return given_weights(b, largest, w);
  weights_by_the_book(b, s, largest, w);
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

// logit_weights and mass_of_lanes in one, for the hottest loop: no weight leaves its register.
static inline uint64_t logit_mass(const BlockOfVectors& b, float largest, float scale) {
  const U base = splat(magic_bits(largest, scale) + 3);
  const F s = splat(scale);
  uint64_t mass = 0;
  for (int i = 0; i < kVectors; i += 8) {
    U sum{};
    for (int j = i; j < i + 8 && j < kVectors; ++j) {
      const VectorWeight v = weigh(b.v[j], s);
      sum += shr(v.mantissa << 8, base - v.magic);
    }
    mass += reduce_add(sum);
  }
  return mass;
}

static inline uint64_t block_mass(const BlockOfVectors& b, const Settings& s, float largest) {
  if (!(largest > -__builtin_inff())) return 0;
  if (!s.weights && is_fast(largest, s.scale)) return logit_mass(b, largest, s.scale);
  U w[kVectors];
  block_weights(b, s, largest, w);
  return mass_of_lanes(w);
}

// kLanes blocks at a time, so that no block waits for its own maximum: first all maxima, which leave as one vector,
// then, from the first-level cache, the masses. The source's block `from` is the row's block b.
template <class Source>
static inline bool scan_group(const Settings& s, const Source& source, int64_t from, int64_t b, bool masses,
                              Scratch& scratch) {
  F largest[kLanes];
  F sum{};
  for (int i = 0; i < kLanes; ++i) {
    const BlockOfVectors v = source.block(from + i);
    sum += sum_lanes(v);
    largest[i] = largest_lanes(v);
  }
  if (any(is_unordered(sum, sum)))
    for (int i = 0; i < kLanes; ++i)
      if (has_nan(source.block(from + i))) return false;
  const F maxima = reduce_max_each(largest);
  store(scratch.block_max + b, maxima);
  if (!masses) return true;
  const F z = maxima * splat(s.scale);
  const bool all_fast = !s.weights && !any(reinterpret_cast<U>((z >= splat(kFastLimit)) | (z <= splat(-kFastLimit))));
  for (int i = 0; i < kLanes; ++i) {
    const BlockOfVectors v = source.block(from + i);
    source.prefetch(from + i + kAhead);
    const float top = scratch.block_max[b + i];
    const uint64_t mass = all_fast ? logit_mass(v, top, s.scale) : block_mass(v, s, top);
    scratch.block_mass[b + i] = mass;
    scratch.block_share[b + i] = share_of(mass, 0);
  }
  return true;
}

// Whole groups in place; returns the block at which it stopped: `last`, fewer than a group before it, or at a NaN.
template <DType dtype>
static int64_t scan_in_place(const Reader& reader, const Settings& settings, int64_t first, int64_t last, bool masses,
                             Scratch& scratch, bool& fine) {
  const Source<dtype> source{reader.logits};
  int64_t b = first;
  for (; fine && b + kLanes <= last && (b + kLanes) * kBlock <= reader.vocab; b += kLanes)
    fine = scan_group(settings, source, b, b, masses, scratch);
  return b;
}

static void scan(const Reader& reader, const Settings& settings, int64_t first, int64_t last, bool masses,
                 Scratch& scratch) {
  bool fine = true;
  int64_t b = first;
  if (!is_edited(reader)) {
    const auto in_place = reader.dtype == DType::float32   ? scan_in_place<DType::float32>
                          : reader.dtype == DType::float16 ? scan_in_place<DType::float16>
                                                           : scan_in_place<DType::bfloat16>;
    b = in_place(reader, settings, first, last, masses, scratch, fine);
  }
  alignas(64) float buffer[kLanes * kBlock];
  const Source<DType::float32> edited{buffer};
  BiasCursor cursor;
  for (; fine && b < last; b += kLanes) {
    for (int i = 0; i < kLanes; ++i) copy_block(reader, b + i, cursor, buffer + i * kBlock);
    fine = scan_group(settings, edited, 0, b, masses, scratch);
  }
  if (!fine) __atomic_store_n(&scratch.has_nan, true, __ATOMIC_RELAXED);
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
