// Section 6 of the specification: what is told of a draw, and of a row that could not be drawn from.
#pragma once

#include "../spec/bad.h"
#include "../spec/report.h"
#include "first.cuh"
#include "scan.cuh"

namespace onedraw::cuda {

// By one thread.
template <class T>
__device__ void put(T* out, int64_t at, T value) {
  if (out && threadIdx.x == 0) out[at] = value;
}

// R1.6
__device__ __noinline__ void write_bad(const Job& job, int64_t row, Status status) {
  if (job.worst && thread() == 0) job.worst[row] = Max()(job.worst[row], static_cast<int32_t>(status));
  fill_bad(job, row, status, [](auto* out, int64_t first, int64_t count, auto value) {
    if (!out) return;
#pragma unroll 1
    for (int64_t i = thread(); i < count; i += kThreads) out[first + i] = value;
  });
}

// R1.8: the first in the order of tokens.
template <DType dtype>
__device__ __noinline__ int64_t first_token(Row<dtype> row) {
  int64_t first = INT64_MAX;
  for_blocks(row, Keeps(order_through(spec::key(row->max))), [&](int b, float, const float (&x)[kTokens]) {
#pragma unroll
    for (int i = 0; i < kTokens; ++i)
      if (x[i] == row->max && Vectors<dtype>::id(b, i) < first) first = Vectors<dtype>::id(b, i);
  });
  return row.all(first, Min());
}

__device__ __noinline__ float logprob(const Settings& s, float x, int64_t n_row, uint64_t mass) {
  return spec::logprob(spec::split(x, s.scale), n_row, mass);
}

template <DType dtype>
__device__ float logprob_of(Row<dtype> row, float x) {
  return logprob(row->settings, x, row->n_row, row->cut.mass);
}

template <DType dtype>
__device__ __noinline__ uint64_t grid_distance(Row<dtype> row, float x) {
  return spec::grid_distance(spec::split(row->max, row->settings.scale), spec::split(x, row->settings.scale));
}

// R6.4. In a block, distances count from its largest token, so that their sum fits in 64 bits.
template <DType dtype>
__device__ __noinline__ float entropy(Row<dtype> row) {
  const Keeps keeps(row->cut.last);
  unsigned __int128 total = 0;
  for_blocks(row, keeps, [&](int b, float largest, const float (&x)[kTokens]) {
    const uint32_t below = row.below(largest);
    const uint64_t block_distance = grid_distance(row, largest);
    uint64_t mass = 0, sum = 0;
    uint32_t w[kTokens];
    row.weigh(x, largest, w);
#pragma unroll
    for (int i = 0; i < kTokens; ++i) {
      if (w[i] == 0 || !keeps(x[i], Vectors<dtype>::id(b, i))) continue;
      mass += w[i];
      sum += w[i] * (grid_distance(row, x[i]) - block_distance);
    }
    mass = reduce_group(mass, Add());
    sum = reduce_group(sum, Add());
    if (lane() == 0 && below <= spec::kFarApart)
      total += (static_cast<unsigned __int128>(mass) * block_distance + sum) >> below;
  });
  unsigned __int128 all = 0;
#pragma unroll
  for (int limb = 3; limb >= 0; --limb)
    all = (all << 32) + row.all(static_cast<uint64_t>(total >> (32 * limb)) & 0xFFFFFFFFu, Add());
  return spec::entropy(all, row->cut.mass, spec::split(row->max, row->settings.scale).a);
}

// A vector of the vocabulary's length, zero but for what is kept.
template <DType dtype, class T, class Entry>
__device__ void scatter(Row<dtype> row, T* out, Entry entry) {
  if (!out) return;
  T* const at = out + row->index * row->job.vocab;
  const Keeps keeps(row->cut.last);
  for (int64_t id = thread(); id < row->reader.vocab; id += kThreads) {
    const float x = row.value_at(id);
    at[id] = keeps(x, id) ? entry(x) : T{};
  }
}

// The first candidates, kept or not. What the row held of its cut is gone after this.
template <DType dtype>
__device__ __noinline__ void write_top(Row<dtype> row) {
  const Job& job = row->job;
  if (job.num_top == 0) return;
  const auto put_top = [&](int64_t i, int64_t token, float log) {
    if (job.top_token) job.top_token[row->index * job.num_top + i] = token;
    if (job.top_logprob) job.top_logprob[row->index * job.num_top + i] = log;
  };
  const auto put_token = [&](int64_t i, int64_t token) {
    const float x = row.value_at(token);
    float log = -__builtin_inff();
    if (spec::order(spec::key(x), static_cast<uint32_t>(token)) >= row->cut.last)
      log = row->settings.greedy ? 0.0f : logprob_of(row, x);
    put_top(i, token, log);
  };
  const uint32_t key = key_of_blocks(row, job.num_top);
  look(row, order_through(key), order_through(spec::key(row->max) + 1), false);
  const int64_t found = row->window.count_low;
  int64_t written = 0;
  if (row->window.is_gathered() && (found >= job.num_top || key == spec::kKeyNegInf + 1)) {
    written = found < job.num_top ? found : job.num_top;
    for (int64_t i = thread(); i < written; i += kThreads)
      put_token(i, static_cast<int64_t>(spec::id_of_order(row->order[i])));
  } else {
    written = first_tokens(row, job.num_top, spec::kKeepAll, OrderScore(), put_token);
  }
  for (int64_t i = written + thread(); i < job.num_top; i += kThreads) put_top(i, job.bad_token, -__builtin_inff());
}

// The largest value of the scanned blocks; NaN if there is one.
template <DType dtype>
__device__ __noinline__ float max_of_blocks(Row<dtype> row) {
  float largest = -__builtin_inff();
  for (int b = thread(); b < row->blocks; b += kThreads) largest = Larger()(largest, row.block_max(b));
  return row.all(largest, Larger());
}

// R6.3: of the row as it came, which `row` is from here on.
template <DType dtype>
__device__ __noinline__ float raw_logprob(Row<dtype> row) {
  __syncthreads();
  if (thread() == 0) {
    row->settings = {};
    row->settings.scale = spec::scale_of(1);
    row->reader.mask = Mask::none;
    row->reader.bias = nullptr;
    row->reader.bias_count = 0;
    row->source = Source<dtype>(row->reader);
  }
  __syncthreads();
  scan(row, 0, row->blocks, true);
  __syncthreads();
  const float largest = max_of_blocks(row);
  if (largest != largest) return __builtin_nanf("");
  const float x = raw_value(row->reader, row->token);
  if (x == -__builtin_inff()) return x;
  if (thread() == 0) row.set_max(largest);
  __syncthreads();
  return logprob(row->settings, x, row->n_row, mass_of(row, row->slot.block_mass));
}

}  // namespace onedraw::cuda
