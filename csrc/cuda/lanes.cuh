// The threads of a thread block as they work on a row: groups that hold one block of 64 tokens each, and reductions
// over all of them.
#pragma once

#include "../spec/mass.h"

namespace onedraw::cuda {

constexpr int kThreads = 256;
constexpr int kResident = 3;  // thread blocks of a processor at once (80 registers a thread), without reports
constexpr int kResidentWithReports = 2;
constexpr int kWarps = kThreads / 32;
constexpr int kTokens = 8;  // of a block in each lane: eight weights add up in 32 bits (R3.1)
constexpr int kLanes = spec::kBlock / kTokens;
constexpr int kGroups = kThreads / kLanes;
constexpr int kGroupsOfWarp = 32 / kLanes;
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
// A NaN stays.
struct Larger {
  __device__ float operator()(float a, float b) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    float largest;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(largest) : "f"(a), "f"(b));
    return largest;
#else
    return a > b || a != a ? a : b;
#endif
  }
};

__device__ inline int thread() { return static_cast<int>(threadIdx.x); }
__device__ inline int lane() { return thread() % kLanes; }
__device__ inline int group() { return thread() / kLanes; }

// Over a group's lanes, to each of them. Groups of a warp may go different ways; where none does, `all_of_warp`.
template <bool all_of_warp = false, class T, class Op>
__device__ T reduce_group(T value, Op op) {
  const unsigned mask = all_of_warp ? kAll : ((1u << kLanes) - 1) << (threadIdx.x % 32 / kLanes * kLanes);
#pragma unroll
  for (int d = kLanes / 2; d > 0; d /= 2) value = op(value, __shfl_xor_sync(mask, value, d));
  return value;
}

// Over all threads, to all threads; everyone must take part. `shared` has kWarps entries.
template <class T, class Op>
__device__ __noinline__ T reduce_all(T value, Op op, uint64_t* shared) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "");
#pragma unroll
  for (int d = 16; d > 0; d /= 2) value = op(value, __shfl_xor_sync(kAll, value, d));
  T* const parts = reinterpret_cast<T*>(shared);
  __syncthreads();  // the last reduction has been read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = parts[0];
#pragma unroll
  for (int i = 1; i < kWarps; ++i) value = op(value, parts[i]);
  return value;
}

// What the threads before this one have, and what all have.
struct Sums {
  uint64_t before, all;
};

__device__ inline Sums scan_all(uint64_t value, uint64_t* shared) {
  uint64_t through = value;
#pragma unroll
  for (int d = 1; d < 32; d *= 2) {
    const uint64_t other = __shfl_up_sync(kAll, through, d);
    if (thread() % 32 >= d) through += other;
  }
  __syncthreads();
  if (thread() % 32 == 31) shared[thread() / 32] = through;
  __syncthreads();
  Sums sums{through - value, 0};
#pragma unroll
  for (int i = 0; i < kWarps; ++i) {
    if (i < thread() / 32) sums.before += shared[i];
    sums.all += shared[i];
  }
  return sums;
}

}  // namespace onedraw::cuda
