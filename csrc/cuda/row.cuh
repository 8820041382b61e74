// One row as a thread block sees it: its logits a block of 64 at a time, and what the scan left of it in the workspace.
#pragma once

#include <cuda_fp16.h>

#include "../spec/fast.h"
#include "../spec/reader.h"
#include "../spec/settings.h"
#include "lanes.cuh"

namespace onedraw::cuda {

constexpr float kLowest = -__FLT_MAX__;
constexpr uint32_t kFar = 1u << 20;  // distances saturate here: nothing so far below the row has mass, races or wins

template <DType dtype>
constexpr int kTokensOfLane = dtype == DType::float32 ? 4 : 8;

// What is too long to stand at each place, and not hot.
__device__ __noinline__ spec::Weight weight(const Settings& s, float x) { return weight_of(s, x); }
__device__ __noinline__ float edited_value(const Reader& r, int64_t id) { return value(r, id); }

template <int tokens>
struct Tokens {
  float x[tokens];
};

// The scan's findings of one row, and room for what is kept; in global memory.
struct Slot {
  float* block_max;
  uint64_t* block_mass;
  uint64_t* kept_mass;
};

// In shared memory, once for a thread block.
template <DType dtype>
struct Row {
  static constexpr int kTokens = kTokensOfLane<dtype>;
  using Block = Tokens<kTokens>;

  const Job& job;
  int64_t index;
  Settings settings;
  Reader reader;
  Slot slot;
  uint64_t* parts;  // of reductions, in shared memory
  int blocks;
  bool in_place;  // whole blocks can be read 16 bytes at a time, and need no edit

  float max;
  bool is_fast;
  uint32_t top_bits;
  int64_t n_row;

  __device__ Row(const Job& a_job, int64_t row, Slot a_slot, uint64_t* a_parts)
      : job(a_job),
        index(row),
        settings(settings_of(a_job, row)),
        reader(reader_of(a_job, row)),
        slot(a_slot),
        parts(a_parts),
        blocks(static_cast<int>((a_job.vocab + spec::kBlock - 1) / spec::kBlock)),
        in_place(!is_edited(reader) && reinterpret_cast<uintptr_t>(reader.logits) % 16 == 0) {}

  static __device__ Group<kTokens> group() { return {}; }

  static __device__ int64_t first_id(int b) { return static_cast<int64_t>(b) * spec::kBlock + group().lane * kTokens; }

  // This lane's tokens of block b; past the vocabulary there is nothing.
  __device__ Block load(int b) const {
    const int64_t id = first_id(b);
    Block t;
    if (in_place && id + kTokens <= reader.vocab) {
      if constexpr (dtype == DType::float32) {
        const float4 v = __ldg(reinterpret_cast<const float4*>(static_cast<const float*>(reader.logits) + id));
        t.x[0] = v.x;
        t.x[1] = v.y;
        t.x[2] = v.z;
        t.x[3] = v.w;
      } else {
        const uint4 v = __ldg(reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(reader.logits) + id));
        const uint32_t words[4] = {v.x, v.y, v.z, v.w};
        for (int i = 0; i < kTokens; ++i) t.x[i] = widen(static_cast<uint16_t>(words[i / 2] >> (i % 2 * 16)));
      }
      return t;
    }
    for (int i = 0; i < kTokens; ++i) t.x[i] = id + i < reader.vocab ? edited_value(reader, id + i) : -__builtin_inff();
    return t;
  }

  static __device__ float widen(uint16_t h) {
    if constexpr (dtype == DType::float16) return __half2float(__ushort_as_half(h));
    return spec::widen_bfloat16(h);
  }

  // W of this lane's tokens in a block with this largest value (R3.1).
  __device__ void weigh(const Block& t, float largest, uint32_t* w) const {
    if (!settings.weights && spec::is_fast(largest, settings.scale)) {
      const uint32_t top = spec::magic_bits(largest, settings.scale);
      for (int i = 0; i < kTokens; ++i) w[i] = spec::fast_block_weight(spec::fast_weight(t.x[i], settings.scale), top);
      return;
    }
    const int64_t n_b = weight(settings, largest).n;
    for (int i = 0; i < kTokens; ++i) {
      w[i] = 0;
      if (t.x[i] == -__builtin_inff()) continue;
      const spec::Weight own = weight(settings, t.x[i]);
      w[i] = spec::block_weight(own.m, n_b - own.n);
    }
  }

  // Knows the row's largest value from here on.
  __device__ void set_max(float largest) {
    max = largest;
    is_fast = !settings.weights && spec::is_fast(largest, settings.scale);
    top_bits = spec::magic_bits(largest, settings.scale);
    n_row = weight(settings, largest).n;
  }

  // n_row - n of a value that is a block's largest.
  __device__ uint32_t below(float x) const {
    if (is_fast) {
      const uint32_t distance = top_bits - spec::magic_bits(x, settings.scale);
      return distance > kFar ? kFar : distance;
    }
    const int64_t distance = n_row - weight(settings, x).n;
    return distance > kFar ? kFar : static_cast<uint32_t>(distance);
  }

  __device__ float block_max(int b) const { return __ldcg(slot.block_max + b); }
  __device__ uint64_t block_mass(int b) const {
    return __ldcg(reinterpret_cast<const unsigned long long*>(slot.block_mass + b));
  }

  // body(b, largest, tokens) by the group of each block that has a token of at least this value.
  template <class Body>
  __device__ void for_blocks(float least, Body body) const {
    for (int b = group().index; b < blocks; b += Group<kTokens>::kGroups) {
      const float largest = block_max(b);
      if (largest >= least) body(b, largest, load(b));
    }
  }

  template <class T, class Op>
  __device__ T all(T part, Op op) const {
    return reduce_all(part, op, parts);
  }
};

// The largest value and the mass of blocks [first, last); whether this thread met a NaN.
template <DType dtype>
__device__ bool scan(const Row<dtype>& row, int first, int last) {
  constexpr int kTokens = Row<dtype>::kTokens;
  bool nan = false;
  for (int b = first + row.group().index; b < last; b += Group<kTokens>::kGroups) {
    const auto t = row.load(b);
    float largest = t.x[0];
    nan |= t.x[0] != t.x[0];
    for (int i = 1; i < kTokens; ++i) {
      largest = t.x[i] > largest ? t.x[i] : largest;
      nan |= t.x[i] != t.x[i];
    }
    largest = row.group().reduce(largest, Max());
    uint32_t w[kTokens];
    uint64_t mass = 0;
    if (largest > -__builtin_inff()) {
      row.weigh(t, largest, w);
      for (int i = 0; i < kTokens; ++i) mass += w[i];
    }
    mass = row.group().reduce(mass, Add());
    if (row.group().lane == 0) {
      row.slot.block_max[b] = largest;
      row.slot.block_mass[b] = mass;
    }
  }
  return nan;
}

}  // namespace onedraw::cuda
