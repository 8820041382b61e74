// A row's logits 16 bytes at a time, also where the row begins between two such places in memory: loads are aligned,
// and the data is shifted into place, so that a block of tokens is the same block in every row.
#pragma once

#include <cuda_fp16.h>

#include "../spec/reader.h"
#include "lanes.cuh"

namespace onedraw::cuda {

// What one lane holds of a block: vectors that are kLanes apart, so that a group reads its block in one piece.
template <DType dtype>
struct Vectors {
  static constexpr int kSize = dtype == DType::float32 ? 4 : 2;
  static constexpr int kPerVector = 16 / kSize;  // tokens
  static constexpr int kCount = kTokens / kPerVector;
  static constexpr int kOfBlock = kLanes * kCount;

  uint4 v[kCount];

  // Of block b, the i-th token of this lane.
  static __device__ int64_t id(int b, int i) {
    return static_cast<int64_t>(b) * spec::kBlock + (i / kPerVector * kLanes + lane()) * kPerVector + i % kPerVector;
  }

  __device__ void widen(float (&x)[kTokens]) const {
#pragma unroll
    for (int i = 0; i < kTokens; ++i) {
      const uint4& u = v[i / kPerVector];
      const int word = i % kPerVector * kSize / 4;
      const uint32_t bits = word == 0 ? u.x : word == 1 ? u.y : word == 2 ? u.z : u.w;
      if constexpr (dtype == DType::float32) x[i] = spec::float_of(bits);
      if constexpr (dtype == DType::bfloat16) x[i] = spec::float_of(i % 2 ? bits & 0xFFFF0000u : bits << 16);
      if constexpr (dtype == DType::float16)
        x[i] = __half2float(__ushort_as_half(static_cast<uint16_t>(i % 2 ? bits >> 16 : bits)));
    }
  }
};

// The 16 bytes that begin `shift` bytes (even, below 16) behind the first of 32.
__device__ inline uint4 shifted(uint4 a, uint4 b, unsigned shift) {
  uint32_t w[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
  for (int i = 0; i < 6; ++i) w[i] = shift & 8 ? w[i + 2] : w[i];
#pragma unroll
  for (int i = 0; i < 5; ++i) w[i] = shift & 4 ? w[i + 1] : w[i];
#pragma unroll
  for (int i = 0; i < 4; ++i) w[i] = __funnelshift_r(w[i], w[i + 1], (shift & 2) * 8);
  return {w[0], w[1], w[2], w[3]};
}

// Where a row's vectors lie, and which of its blocks can be read so: none of a row with edits, and not those for which
// a load would reach beyond the row's ends.
template <DType dtype>
struct Source {
  const uint4* vectors;  // the row's beginning, or the aligned place before it
  unsigned shift;        // bytes from there to the row
  int first, end;        // blocks

  __device__ explicit Source(const Reader& reader) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(reader.logits);
    shift = static_cast<unsigned>(begin % 16);
    vectors = reinterpret_cast<const uint4*>(begin - shift);
    const int64_t behind = shift ? Vectors<dtype>::kPerVector : 0;
    first = shift ? 1 : 0;
    end = is_edited(reader) || reader.vocab < behind ? 0 : static_cast<int>((reader.vocab - behind) / spec::kBlock);
  }

  __device__ bool has(int b) const { return first <= b && b < end; }

  template <bool aligned>
  __device__ Vectors<dtype> load(int b) const {
    Vectors<dtype> t;
#pragma unroll
    for (int i = 0; i < Vectors<dtype>::kCount; ++i) {
      const uint4* const at = vectors + (b * Vectors<dtype>::kOfBlock + i * kLanes + lane());
      t.v[i] = aligned ? __ldg(at) : shifted(__ldg(at), __ldg(at + 1), shift);
    }
    return t;
  }
  __device__ Vectors<dtype> load(int b) const { return shift ? load<false>(b) : load<true>(b); }
};

}  // namespace onedraw::cuda
