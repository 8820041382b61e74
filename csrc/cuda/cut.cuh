// Section 4 of the specification: where the filters cut a scanned row. Every step is an exact look at the row by all
// threads; an interval of keys is halved until one key is left, then, among its tokens, one of ids. So the work is
// bounded, whatever the row.
#pragma once

#include "../spec/bisect.h"
#include "row.cuh"

namespace onedraw::cuda {

__device__ inline uint64_t order_through(uint32_t key) { return spec::order(key, 0xFFFFFFFFu); }
__device__ inline float value_of_order(uint64_t order) { return spec::value_of_key(spec::key_of_order(order)); }

// What a prefix of the order of tokens holds.
struct Kept {
  uint64_t mass;
  int64_t count;
};

// Whether a token is in the prefix that ends with `last`.
struct Keeps {
  float value;
  int64_t last_id;

  __device__ explicit Keeps(uint64_t last) : value(value_of_order(last)), last_id(spec::id_of_order(last)) {}
  __device__ bool operator()(float x, int64_t id) const { return x > value || (x == value && id <= last_id); }
};

// The prefix that ends with `last`; with `store`, its mass in each block too.
template <DType dtype>
__device__ __noinline__ Kept keep(const Row<dtype>& row, uint64_t last, bool store) {
  const Keeps keeps(last);
  uint64_t mass = 0;
  int64_t count = 0;
  for (int b = row.group().index; b < row.blocks; b += Group<Row<dtype>::kTokens>::kGroups) {
    const float largest = row.block_max(b);
    uint64_t block_mass = 0;
    if (largest >= keeps.value) {
      const auto t = row.load(b);
      uint32_t w[Row<dtype>::kTokens];
      row.weigh(t, largest, w);
      for (int i = 0; i < Row<dtype>::kTokens; ++i) {
        const bool kept = keeps(t.x[i], row.first_id(b) + i);
        block_mass += kept ? w[i] : 0;
        count += kept;
      }
      block_mass = row.group().reduce(block_mass, Add());
      if (row.group().lane == 0) mass += spec::aligned(block_mass, row.below(largest));
    }
    if (store && row.group().lane == 0) row.slot.kept_mass[b] = block_mass;
  }
  return {row.all(mass, Add()), row.all(count, Add())};
}

// How many tokens have at least this value; above -inf.
template <DType dtype>
__device__ __noinline__ int64_t count(const Row<dtype>& row, float least) {
  int64_t n = 0;
  row.for_blocks(least, [&](int, float, const auto& t) {
    for (float x : t.x) n += x >= least;
  });
  return row.all(n, Add());
}

// How many tokens are in the prefix that ends with `last`.
template <DType dtype>
__device__ __noinline__ int64_t count_through(const Row<dtype>& row, uint64_t last) {
  const Keeps keeps(last);
  int64_t n = 0;
  row.for_blocks(keeps.value, [&](int b, float, const auto& t) {
    for (int i = 0; i < Row<dtype>::kTokens; ++i) n += keeps(t.x[i], row.first_id(b) + i);
  });
  return row.all(n, Add());
}

// How many blocks have a token of at least this value.
template <DType dtype>
__device__ __noinline__ int64_t count_blocks(const Row<dtype>& row, float least) {
  int64_t n = 0;
  for (int b = static_cast<int>(threadIdx.x); b < row.blocks; b += kThreads) n += row.block_max(b) >= least;
  return row.all(n, Add());
}

// The highest key in [low, high) that reaches(key); `low` does.
template <class Reaches>
__device__ uint32_t highest_key(uint32_t low, uint32_t high, Reaches reaches) {
  for (bool by_value = true; high - low > 1; by_value = !by_value) {
    const uint32_t middle = key_between(low, high, by_value);
    (reaches(middle) ? low : high) = middle;
  }
  return low;
}

// The lowest id below `vocab` that reaches(id); the last one does.
template <class Reaches>
__device__ int64_t lowest_id(int64_t vocab, Reaches reaches) {
  int64_t low = -1, high = vocab - 1;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (reaches(middle) ? high : low) = middle;
  }
  return high;
}

// A key that at least n tokens reach, because as many blocks do, or the lowest of all.
template <DType dtype>
__device__ __noinline__ uint32_t key_of_blocks(const Row<dtype>& row, int64_t n) {
  const uint32_t lowest = spec::kKeyNegInf + 1;
  if (count_blocks(row, kLowest) < n) return lowest;
  return highest_key(lowest, spec::key(row.max) + 1,
                     [&](uint32_t key) { return count_blocks(row, spec::value_of_key(key)) >= n; });
}

// R4.1: the last of the first k.
template <DType dtype>
__device__ __noinline__ uint64_t cut_top_k(const Row<dtype>& row) {
  const int64_t k = row.settings.top_k;
  if (count(row, kLowest) <= k) return spec::kKeepAll;
  const uint32_t key = highest_key(key_of_blocks(row, k), spec::key(row.max) + 1,
                                   [&](uint32_t at) { return count(row, spec::value_of_key(at)) >= k; });
  if (row.settings.ties_keep) return order_through(key);
  if (count(row, spec::value_of_key(key)) == k) return order_through(key);
  const int64_t last = lowest_id(row.reader.vocab, [&](int64_t id) {
    return count_through(row, spec::order(key, static_cast<uint32_t>(id))) >= k;
  });
  return spec::order(key, static_cast<uint32_t>(last));
}

// R4.2 within the prefix that ends with `within` and has this mass.
template <DType dtype>
__device__ __noinline__ uint64_t cut_top_p(const Row<dtype>& row, uint64_t within, uint64_t mass) {
  const uint64_t target = spec::top_p_target(row.settings.top_p, mass);
  const auto reaches = [&](uint64_t last) { return keep(row, last > within ? last : within, false).mass >= target; };
  const uint32_t key = highest_key(spec::key_of_order(within), spec::key(row.max) + 1,
                                   [&](uint32_t at) { return reaches(order_through(at)); });
  if (row.settings.ties_keep) return order_through(key);
  const int64_t last =
      lowest_id(row.reader.vocab, [&](int64_t id) { return reaches(spec::order(key, static_cast<uint32_t>(id))); });
  return spec::order(key, static_cast<uint32_t>(last));
}

// R4.3: weights are monotone in keys, so the lowest key that passes is found by halving.
template <DType dtype>
__device__ __noinline__ uint64_t cut_min_p(const Row<dtype>& row) {
  const spec::Weight top = weight(row.settings, row.max);
  uint32_t fails = spec::kKeyNegInf, passes = spec::key(row.max);
  while (passes - fails > 1) {
    const uint32_t middle = fails + (passes - fails) / 2;
    const spec::Weight w = weight(row.settings, spec::value_of_key(middle));
    (spec::passes_min_p(w, top, row.settings.min_p) ? passes : fails) = middle;
  }
  return order_through(passes);
}

struct Cut {
  bool is_filtered;
  uint64_t last;  // the last kept token in the order of tokens
  Kept kept;      // where filtered; its blocks in the slot's kept_mass
  uint64_t mass;  // of what is kept
  uint64_t mass_all;
};

template <DType dtype>
__device__ Cut cut(const Row<dtype>& row) {
  const Settings& s = row.settings;
  const bool by_k = s.top_k > 0 && s.top_k < row.reader.vocab, by_p = s.top_p < 1, by_min = s.min_p > 0;
  uint64_t mass = 0;
  for (int b = static_cast<int>(threadIdx.x); b < row.blocks; b += kThreads) {
    const float largest = row.block_max(b);
    if (largest > -__builtin_inff()) mass += spec::aligned(row.block_mass(b), row.below(largest));
  }
  Cut cut{by_k || by_p || by_min, spec::kKeepAll, {}, 0, row.all(mass, Add())};
  cut.mass = cut.mass_all;
  if (!cut.is_filtered) return cut;
  if (by_k) cut.last = cut_top_k(row);
  if (by_p) {
    if (by_k) cut.mass = keep(row, cut.last, false).mass;
    cut.last = cut_top_p(row, cut.last, cut.mass);
  }
  if (by_min) {
    const uint64_t last = cut_min_p(row);
    cut.last = last > cut.last ? last : cut.last;
  }
  cut.kept = keep(row, cut.last, true);
  cut.mass = cut.kept.mass;
  return cut;
}

}  // namespace onedraw::cuda
