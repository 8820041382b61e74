// The one pass over a row: block maxima, and block masses where the mass of everything matters.
#pragma once

#include "row.cuh"

namespace onedraw::cuda {

__device__ inline float largest_of(const float (&x)[kTokens]) {
  float largest = x[0];
#pragma unroll
  for (int i = 1; i < kTokens; ++i) largest = Larger()(largest, x[i]);
  return largest;
}

// Blocks that the source has, of a row without edits. Several loads are under way before the first is waited for.
// Returns whether some masses are wrong: those of blocks to which the fast form does not reach.
template <bool aligned, DType dtype>
__device__ __forceinline__ bool scan_vectors(Row<dtype> row, int first, int end, bool masses) {
  constexpr int kInFlight = 4 / Vectors<dtype>::kCount;  // blocks: 4 x 16 bytes a thread
  const Source<dtype> source = row->source;
  const float scale = row->settings.scale;
  const int own = group() % kGroupsOfWarp;
  bool is_slow = false;
  for (int from = first + thread() / 32 * kGroupsOfWarp; from < end; from += kInFlight * kGroups) {
    Vectors<dtype> t[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int b = from + i * kGroups + own;
      t[i] = b < end ? source.template load<aligned>(b) : Vectors<dtype>{};
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int b = from + i * kGroups + own;
      float x[kTokens];
      t[i].widen(x);
      const float largest = reduce_group<true>(largest_of(x), Larger());
      if (lane() == 0 && b < end) row->slot.block_max[b] = largest;
      if (!masses) continue;
      const uint32_t bits = spec::magic_bits(largest, scale);
      uint32_t sum = 0;
#pragma unroll
      for (int j = 0; j < kTokens; ++j) sum += hot_block_weight(x[j], scale, bits);
      const bool is_empty = largest == -__builtin_inff();
      is_slow |= !is_empty && !spec::is_fast(largest, scale);
      const uint64_t mass = reduce_group<true>(uint64_t{is_empty ? 0 : sum}, Add());
      if (lane() == 0 && b < end) row->slot.block_mass[b] = mass;
    }
  }
  return is_slow;
}

// Any blocks, of any row, by the book.
template <DType dtype>
__device__ __noinline__ void scan_blocks(Row<dtype> row, int first, int end, bool masses) {
  for (int b = first + group(); b < end; b += kGroups) {
    const Block t = row.load(b);
    const float largest = reduce_group(largest_of(t.x), Larger());
    if (lane() == 0) row->slot.block_max[b] = largest;
    if (!masses) continue;
    uint32_t sum = 0;
    if (largest > -__builtin_inff()) {
      uint32_t w[kTokens];
      row.weigh(t.x, largest, w);
#pragma unroll
      for (int i = 0; i < kTokens; ++i) sum += w[i];
    }
    const uint64_t mass = reduce_group(uint64_t{sum}, Add());
    if (lane() == 0) row->slot.block_mass[b] = mass;
  }
}

// Blocks [first, end).
template <DType dtype>
__device__ __noinline__ void scan(Row<dtype> row, int first, int end, bool masses) {
  const int from = min(max(first, row->source.first), end);
  int to = max(min(end, row->source.end), from);  // [from, to) by vectors
  const bool is_slow =
      row->source.shift == 0 ? scan_vectors<true>(row, from, to, masses) : scan_vectors<false>(row, from, to, masses);
  if (__syncthreads_or(is_slow)) to = from;
  scan_blocks(row, first, from, masses);
  scan_blocks(row, to, end, masses);
}

}  // namespace onedraw::cuda
