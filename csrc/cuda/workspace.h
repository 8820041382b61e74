// The memory that a launch works in: counters, which are zero between launches, then what the scan finds of each row in
// flight.
#pragma once

#include "row.cuh"
#include "tuning.h"

namespace onedraw::cuda {

constexpr int64_t kAlign = 256;

__host__ __device__ inline int64_t aligned_bytes(int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

struct Workspace {
  static constexpr int64_t kCounters = int64_t{kMostSplit} * 4;  // bytes; a place of their own, whatever the shape

  char* memory;
  int64_t blocks;  // of a row
  int64_t slots;

  __host__ __device__ int64_t slot_bytes() const { return aligned_bytes(blocks * 4) + 2 * aligned_bytes(blocks * 8); }
  __host__ __device__ int64_t bytes() const { return kCounters + slots * slot_bytes(); }
  // How many of a row's thread blocks have arrived.
  __device__ unsigned* arrived(int64_t slot) const { return reinterpret_cast<unsigned*>(memory) + slot; }
  __device__ Slot slot(int64_t i) const {
    char* const p = memory + kCounters + i * slot_bytes();
    char* const mass = p + aligned_bytes(blocks * 4);
    return {reinterpret_cast<float*>(p), reinterpret_cast<uint64_t*>(mass),
            reinterpret_cast<uint64_t*>(mass + aligned_bytes(blocks * 8))};
  }
};

}  // namespace onedraw::cuda
