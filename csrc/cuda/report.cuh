// Section 6 of the specification: what is told of a draw, and of a row that could not be drawn from.
#pragma once

#include "../spec/report.h"
#include "race.cuh"

namespace onedraw::cuda {

// By one thread.
template <class T>
__device__ void put(T* out, int64_t at, T value) {
  if (out && threadIdx.x == 0) out[at] = value;
}

// R1.6
__device__ __noinline__ void write_bad(const Job& job, int64_t row, Status status) {
  const float nan = __builtin_nanf("");
  put(job.status, row, static_cast<int32_t>(status));
  if (job.worst && threadIdx.x == 0) job.worst[row] = Max()(job.worst[row], static_cast<int32_t>(status));
  put(job.logprob, row, nan);
  put(job.raw_logprob, row, nan);
  put(job.kept_mass, row, nan);
  put(job.entropy, row, nan);
  put(job.rank, row, int64_t{0});
  put(job.num_kept, row, int64_t{0});
  for (int64_t i = threadIdx.x; job.token && i < job.num_samples; i += kThreads)
    job.token[row * job.num_samples + i] = job.bad_token;
  for (int64_t i = threadIdx.x; i < job.vocab; i += kThreads) {
    if (job.kept) job.kept[row * job.vocab + i] = 0;
    if (job.probs) job.probs[row * job.vocab + i] = 0;
  }
  for (int64_t i = 0; i < job.num_top; ++i) {
    put(job.top_token, row * job.num_top + i, job.bad_token);
    put(job.top_logprob, row * job.num_top + i, -__builtin_inff());
  }
}

// R1.8: the first in the order of tokens.
template <DType dtype>
__device__ __noinline__ int64_t first_token(const Row<dtype>& row) {
  int64_t first = INT64_MAX;
  row.for_blocks(row.max, [&](int b, float, const auto& t) {
    for (int i = Row<dtype>::kTokens - 1; i >= 0; --i)
      if (t.x[i] == row.max && row.first_id(b) + i < first) first = row.first_id(b) + i;
  });
  return row.all(first, Min());
}

__device__ __noinline__ float logprob(const Settings& s, float x, int64_t n_row, uint64_t mass) {
  return spec::logprob(spec::split(x, s.scale), n_row, mass);
}

// R6.4. In a block, distances count from its largest token, so that their sum fits in 64 bits.
template <DType dtype>
__device__ __noinline__ float entropy(const Row<dtype>& row, const Cut& cut) {
  constexpr int kTokens = Row<dtype>::kTokens;
  const float scale = row.settings.scale;
  const spec::Split first = spec::split(row.max, scale);
  const Keeps keeps(cut.last);
  unsigned __int128 total = 0;
  row.for_blocks(keeps.value, [&](int b, float largest, const auto& t) {
    const uint32_t below = row.below(largest);
    const uint64_t block_distance = spec::grid_distance(first, spec::split(largest, scale));
    uint32_t w[kTokens];
    row.weigh(t, largest, w);
    uint64_t mass = 0, sum = 0;
    for (int i = 0; i < kTokens; ++i) {
      if (w[i] == 0 || !keeps(t.x[i], row.first_id(b) + i)) continue;
      mass += w[i];
      sum += w[i] * (spec::grid_distance(first, spec::split(t.x[i], scale)) - block_distance);
    }
    mass = row.group().reduce(mass, Add());
    sum = row.group().reduce(sum, Add());
    if (row.group().lane == 0 && below <= spec::kFarApart)
      total += (static_cast<unsigned __int128>(mass) * block_distance + sum) >> below;
  });
  unsigned __int128 all = 0;
  for (int limb = 3; limb >= 0; --limb)
    all = (all << 32) + row.all(static_cast<uint64_t>(total >> (32 * limb)) & 0xFFFFFFFFu, Add());
  return spec::entropy(all, cut.mass, first.a);
}

// A vector of the vocabulary's length, zero but for what is kept.
template <DType dtype, class T, class Entry>
__device__ void scatter(const Row<dtype>& row, T* out, uint64_t last, Entry entry) {
  if (!out) return;
  T* const at = out + row.index * row.job.vocab;
  const Keeps keeps(last);
  for (int64_t id = threadIdx.x; id < row.reader.vocab; id += kThreads) {
    const float x = edited_value(row.reader, id);
    at[id] = keeps(x, id) ? entry(x) : T{};
  }
}

// The first candidates, kept or not.
template <DType dtype>
__device__ __noinline__ void write_top(const Row<dtype>& row, uint64_t last, uint64_t mass) {
  const Job& job = row.job;
  if (job.num_top == 0) return;
  const float least = spec::value_of_key(key_of_blocks(row, job.num_top));
  uint64_t previous = UINT64_MAX;
  for (int64_t i = 0; i < job.num_top; ++i) {
    uint64_t order = 0;
    row.for_blocks(least, [&](int b, float, const auto& t) {
      for (int j = 0; j < Row<dtype>::kTokens; ++j) {
        const uint32_t key = spec::key(t.x[j]);
        const uint64_t o = spec::order(key, static_cast<uint32_t>(row.first_id(b) + j));
        if (spec::is_candidate(key) && o < previous && o > order) order = o;
      }
    });
    order = previous = row.all(order, Max());
    const int64_t to = row.index * job.num_top + i;
    float log = -__builtin_inff();
    if (order >= last && order != 0)
      log = row.settings.greedy ? 0.0f : logprob(row.settings, value_of_order(order), row.n_row, mass);
    put(job.top_token, to, order ? static_cast<int64_t>(spec::id_of_order(order)) : job.bad_token);
    put(job.top_logprob, to, log);
  }
}

// R6.3: of the row as it came, which `row` is from here on.
template <DType dtype>
__device__ __noinline__ float raw_logprob(Row<dtype>& row, int64_t token) {
  __syncthreads();
  if (threadIdx.x == 0) {
    row.settings = {};
    row.settings.scale = spec::scale_of(1);
    row.reader.mask = Mask::none;
    row.reader.bias = nullptr;
    row.reader.bias_count = 0;
    row.in_place = reinterpret_cast<uintptr_t>(row.reader.logits) % 16 == 0;
  }
  __syncthreads();
  const auto for_all = [&](auto body) {
    for (int b = row.group().index; b < row.blocks; b += Group<Row<dtype>::kTokens>::kGroups) {
      const auto t = row.load(b);
      float largest = t.x[0];
      for (float x : t.x) largest = x > largest || x != x ? x : largest;  // a NaN stays
      body(t, largest);
    }
  };
  uint32_t top = 0;  // a key
  for_all([&](const auto& t, float) {
    for (float x : t.x) top = Max()(top, spec::key(x));
  });
  top = row.all(top, Max());
  if (top == spec::kKeyNaN) return __builtin_nanf("");
  const float x = raw_value(row.reader, token);
  if (x == -__builtin_inff()) return x;
  if (threadIdx.x == 0) row.set_max(spec::value_of_key(top));
  __syncthreads();
  uint64_t mass = 0;
  for_all([&](const auto& t, float largest) {
    largest = row.group().reduce(largest, Max());
    if (largest == -__builtin_inff()) return;
    uint32_t w[Row<dtype>::kTokens];
    row.weigh(t, largest, w);
    uint64_t block_mass = 0;
    for (uint32_t weight : w) block_mass += weight;
    block_mass = row.group().reduce(block_mass, Add());
    if (row.group().lane == 0) mass += spec::aligned(block_mass, row.below(largest));
  });
  return logprob(row.settings, x, row.n_row, row.all(mass, Add()));
}

}  // namespace onedraw::cuda
