// The second look: only at blocks whose maximum says that they hold candidates.
#pragma once

#include "../spec/bisect.h"
#include "scan.h"

namespace onedraw::cpu::ONEDRAW_TARGET {

static inline uint32_t saturated(int64_t below) { return below > kFar ? kFar : static_cast<uint32_t>(below); }

static void distances(const Settings& s, float row_max, int64_t blocks, Scratch& scratch) {
  if (s.weights || !is_fast(row_max, s.scale)) {
    const int64_t n_row = weight_of(s, row_max).n;
    for (int64_t b = 0; b < blocks; ++b) {
      const float x = scratch.block_max[b];
      scratch.block_below[b] = x > -__builtin_inff() ? saturated(n_row - weight_of(s, x).n) : kFar;
    }
    return;
  }
  const U top = splat(magic_bits(row_max, s.scale)), far = splat(kFar);
  for (int64_t b = 0; b < blocks; b += kLanes) {  // scratch is padded
    const F h = fma(load(scratch.block_max + b), splat(s.scale), splat(kMagic));
    const U below = top - bits_of(h);
    store(scratch.block_below + b, below > far ? far : below);
  }
}

static uint64_t align(const Settings& s, float row_max, int64_t blocks, Scratch& scratch) {
  distances(s, row_max, blocks, scratch);
  uint64_t mass = 0;
  for (int64_t b = 0; b < blocks; ++b) mass += spec::aligned(scratch.block_mass[b], scratch.block_below[b]);
  for (int64_t b = 0; b < blocks; b += kLanes) {
    const U below = load(scratch.block_below + b);
    const U scaled = bits_of(load(scratch.block_share + b)) - (below << 23);
    store(scratch.block_share + b, float_of(below > splat(kShareReach) ? U{} : scaled));
  }
  return mass;
}

static int64_t count_at_least(const float* x, int64_t n, float least) {
  int64_t count = 0;
  const F t = splat(least);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) count += __builtin_popcount(at_least(load(x + i), t));
  for (; i < n; ++i) count += x[i] >= least;
  return count;
}

// Halves the interval until few more than `count` maxima are above, or the interval is one key.
static Threshold threshold(const float* block_max, int64_t blocks, int64_t count, float row_max) {
  const uint32_t none = spec::kKeyNegInf;
  uint32_t low = none, high = spec::key(row_max);  // `low` is reached by enough, or is none; high by too few
  int64_t reach_low = blocks;
  const int64_t top = count_at_least(block_max, blocks, row_max), enough = count + count / 4 + 8;
  if (top >= count) return {row_max, top};
  for (bool by_value = true; high - low > 1 && (low == none || reach_low > enough); by_value = !by_value) {
    const uint32_t middle = key_between(low, high, by_value);
    const int64_t reach = count_at_least(block_max, blocks, spec::value_of_key(middle));
    if (reach >= count) {
      low = middle;
      reach_low = reach;
    } else {
      high = middle;
    }
  }
  return {low == none ? -__builtin_inff() : spec::value_of_key(low), reach_low};
}

// Calls body(b) for the blocks in [first, last) whose maximum reaches `value`, ascending.
template <class Body>
static inline void for_blocks(const float* block_max, int64_t first, int64_t last, float value, Body body) {
  const F v = splat(value);
  for (int64_t b = first / kLanes * kLanes; b < last; b += kLanes) {  // padded behind
    for (uint32_t lanes = at_least(load(block_max + b), v); lanes; lanes &= lanes - 1) {
      const int64_t at = b + __builtin_ctz(lanes);
      if (first <= at && at < last) body(at);
    }
  }
}

// Fills in m and below of candidates.
static void weigh_candidates(const Settings& s, float row_max, Candidate* c, int64_t count) {
  const auto value_at = [&](int64_t i) { return spec::value_of_key(spec::key_of_order(c[i].order)); };
  if (s.weights || !is_fast(row_max, s.scale)) {
    const int64_t n_row = weight_of(s, row_max).n;
    for (int64_t i = 0; i < count; ++i) {
      const spec::Weight w = weight_of(s, value_at(i));
      c[i].m = w.m;
      c[i].below = saturated(n_row - w.n);
    }
    return;
  }
  const uint32_t top = magic_bits(row_max, s.scale);
  for (int64_t i = 0; i < count; i += kLanes) {
    const int here = static_cast<int>(count - i < kLanes ? count - i : kLanes);
    F x = splat(row_max);
    for (int j = 0; j < here; ++j) x[j] = value_at(i + j);
    const VectorWeight v = weigh(x, splat(s.scale));
    for (int j = 0; j < here; ++j) {
      const uint32_t below = top - v.magic[j];
      c[i + j].m = (v.mantissa[j] & 0x7FFFFFu) | 0x800000u;
      c[i + j].below = below > kFar ? kFar : below;
      // Beyond the fast form's reach n and m may be off; nothing there has mass, but it may still race.
      if (below > kFar) c[i + j].m = weight_of(s, x[j]).m;
    }
  }
}

static inline uint64_t mask_at_least(const float* x, float least) {
  uint64_t mask = 0;
  for (int i = 0; i < kVectors; ++i)
    mask |= static_cast<uint64_t>(at_least(load(x + i * kLanes), splat(least))) << (i * kLanes);
  return mask;
}

// n_row - n of one value.
static inline uint32_t distance(const Settings& s, float row_max, float x) {
  if (s.weights || !is_fast(row_max, s.scale)) return saturated(weight_of(s, row_max).n - weight_of(s, x).n);
  const uint32_t below = magic_bits(row_max, s.scale) - magic_bits(x, s.scale);
  return below > kFar ? kFar : below;
}

static int64_t gather(const Reader& reader, const Settings& settings, float row_max, float least, float limit,
                      int64_t first, int64_t last, Scratch& scratch) {
  alignas(64) float buffer[kBlock];
  BiasCursor cursor;
  int64_t count = 0;
  const float lowest = least > -__builtin_inff() ? least : -__FLT_MAX__;
  for_blocks(scratch.block_max, first, last, lowest, [&](int64_t b) {
    scratch.block_below[b] = distance(settings, row_max, scratch.block_max[b]);
    const float* x = block_values(reader, b, cursor, buffer);
    for (uint64_t mask = mask_at_least(x, lowest) & ~mask_at_least(x, limit); mask; mask &= mask - 1) {
      const int i = __builtin_ctzll(mask);
      scratch.candidates[count++].order = spec::order(spec::key(x[i]), static_cast<uint32_t>(b * kBlock + i));
    }
  });
  return count;
}

static int64_t count(const Reader& reader, float value, const Scratch& scratch) {
  alignas(64) float buffer[kBlock];
  BiasCursor cursor;
  const int64_t blocks = (reader.vocab + kBlock - 1) / kBlock;
  int64_t total = 0;
  for_blocks(scratch.block_max, 0, blocks, value, [&](int64_t b) {
    total += __builtin_popcountll(mask_at_least(block_values(reader, b, cursor, buffer), value));
  });
  return total;
}

static void ties(const Reader& reader, const Settings& settings, float row_max, float value, uint32_t* counts,
                 Scratch& scratch) {
  alignas(64) float buffer[kBlock];
  BiasCursor cursor;
  const int64_t blocks = (reader.vocab + kBlock - 1) / kBlock;
  const F v = splat(value);
  memset(counts, 0, static_cast<size_t>(blocks) * sizeof(uint32_t));
  for_blocks(scratch.block_max, 0, blocks, value, [&](int64_t b) {
    const float* x = block_values(reader, b, cursor, buffer);
    for (int i = 0; i < kVectors; ++i) {
      const F u = load(x + i * kLanes);
      counts[b] += static_cast<uint32_t>(__builtin_popcount(at_least(u, v) & at_least(v, u)));
    }
    scratch.block_below[b] = distance(settings, row_max, scratch.block_max[b]);
  });
}

// Which lanes of a block's vectors a cut keeps: values of at least `value`, or above it after the last token's id.
struct CutLanes {
  float value;
  int64_t last_id;

  I of(F x, int64_t id) const {  // id: of lane 0
    const F v = splat(value);
    if (id > last_id) return x > v;
    if (id + kLanes - 1 <= last_id) return x >= v;
    I lane;
    for (int j = 0; j < kLanes; ++j) lane[j] = id + j <= last_id ? -1 : 0;
    return (x > v) | ((x >= v) & lane);
  }
};

static Kept keep(const Reader& reader, const Settings& settings, float row_max, uint64_t last, Scratch& scratch) {
  alignas(64) float buffer[kBlock];
  BiasCursor cursor;
  const CutLanes cut{spec::value_of_key(spec::key_of_order(last)), spec::id_of_order(last)};
  const int64_t blocks = (reader.vocab + kBlock - 1) / kBlock;
  Kept kept{};
  for_blocks(scratch.block_max, 0, blocks, cut.value, [&](int64_t b) {
    const float largest = scratch.block_max[b];
    if (largest == cut.value && b * kBlock > cut.last_id) return;  // nothing but ties behind the last token
    const float* x = block_values(reader, b, cursor, buffer);
    const BlockOfVectors v = load_block(x);
    U w[kVectors];
    block_weights(v, settings, largest, w);
    int lanes = 0;
    for (int i = 0; i < kVectors; ++i) {
      const I mask = cut.of(v.v[i], b * kBlock + i * kLanes);
      w[i] &= reinterpret_cast<U>(mask);
      lanes += count_lanes(mask);
    }
    if (lanes == 0) return;
    const uint32_t below = distance(settings, row_max, largest);
    const uint64_t mass = mass_of_lanes(w);
    scratch.block_below[b] = below;
    scratch.racer_id[kept.blocks] = static_cast<uint32_t>(b);
    scratch.racer_mass[kept.blocks] = mass;
    scratch.racer_below[kept.blocks] = below;
    scratch.racer_share[kept.blocks++] = share_of(mass, below);
    kept.mass += spec::aligned(mass, below);
    kept.count += lanes;
  });
  return kept;
}

static int64_t count_before(const Reader& reader, float value, int64_t id) {
  alignas(64) float buffer[kBlock];
  BiasCursor cursor;
  const int64_t blocks = (reader.vocab + kBlock - 1) / kBlock;
  int64_t count = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    const float* x = block_values(reader, b, cursor, buffer);
    const int64_t begin = b * kBlock;
    // Up to and including the token, equal values come before it; after it, only larger ones do.
    if (begin + kBlock <= id) {
      count += __builtin_popcountll(mask_at_least(x, value));
      continue;
    }
    for (int i = 0; i < kBlock; ++i) count += x[i] > value || (x[i] == value && begin + i < id);
  }
  return count;
}

}  // namespace onedraw::cpu::ONEDRAW_TARGET
