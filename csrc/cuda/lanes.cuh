// The threads of a thread block as they work on a row: groups that hold one block of 64 tokens each, and reductions
// over all of them.
#pragma once

#include "../spec/mass.h"

namespace onedraw::cuda {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kAll = 0xFFFFFFFFu;

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Min {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// Lanes of a warp that hold a block, kTokens each (16 bytes of logits). Groups of a warp may go different ways.
template <int tokens>
struct Group {
  static constexpr int kTokens = tokens;
  static constexpr int kLanes = spec::kBlock / tokens;
  static constexpr int kGroups = kThreads / kLanes;

  int lane = static_cast<int>(threadIdx.x) % kLanes;
  int index = static_cast<int>(threadIdx.x) / kLanes;

  template <class T, class Op>
  __device__ T reduce(T value, Op op) const {
    const unsigned mask = ((1u << kLanes) - 1) << (threadIdx.x % 32 - static_cast<unsigned>(lane));
    for (int d = kLanes / 2; d > 0; d /= 2) value = op(value, __shfl_xor_sync(mask, value, d));
    return value;
  }
};

// Of all threads, to all threads; everyone must take part. `shared` has kWarps entries.
template <class T, class Op>
__device__ __noinline__ T reduce_all(T value, Op op, uint64_t* shared) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "");
  for (int d = 16; d > 0; d /= 2) value = op(value, __shfl_xor_sync(kAll, value, d));
  T* const parts = reinterpret_cast<T*>(shared);
  __syncthreads();  // the last reduction has been read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = parts[0];
#pragma unroll 1
  for (int i = 1; i < kWarps; ++i) value = op(value, parts[i]);
  return value;
}

}  // namespace onedraw::cuda
