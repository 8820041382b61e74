// Exact looks at a scanned row, by all threads: how many tokens a prefix of the order of tokens has, and what mass.
#pragma once

#include "row.cuh"
#include "sort.cuh"

namespace onedraw::cuda {

template <DType dtype>
__device__ __noinline__ void sort_orders(Row<dtype> row, int count) {
  sort(row->order, count, uint64_t{0}, [](uint64_t a, uint64_t b) { return a > b; });
}

// The tokens from look_low on and before look_high, in the order of tokens, into the window; what it says of those
// before; and kept_mass. Masses of the lower end only on request. Tokens of one key, which may be too many for the
// window, are counted in each block, in the place of its mass.
template <DType dtype>
__device__ __noinline__ void look_as_told(Row<dtype> row) {
  const Keeps from(row->look_low), above(row->look_high);
  int count_low = 0, count_high = 0;
  uint64_t mass_low = 0, mass_high = 0;
  if (thread() == 0) row->gathered = 0;
  const auto body = [&](int b, float largest, const float (&x)[kTokens]) {
    unsigned is_from = 0, is_above = 0;
    uint32_t sum_low = 0, sum_high = 0;
    const bool weigh = row->look_masses || largest >= above.value;
#pragma unroll
    for (int i = 0; i < kTokens; ++i) {
      const int64_t id = Vectors<dtype>::id(b, i);
      is_from |= static_cast<unsigned>(from(x[i], id)) << i;
      is_above |= static_cast<unsigned>(above(x[i], id)) << i;
    }
    if (weigh) {
      uint32_t w[kTokens];
      row.weigh(x, largest, w);
#pragma unroll
      for (int i = 0; i < kTokens; ++i) {
        sum_low += is_from >> i & 1 ? w[i] : 0;
        sum_high += is_above >> i & 1 ? w[i] : 0;
      }
    }
    count_low += __popc(is_from);
    count_high += __popc(is_above);
    const unsigned between = is_from & ~is_above;
    int at = between ? atomicAdd(&row->gathered, __popc(between)) : 0;
#pragma unroll
    for (int i = 0; i < kTokens; ++i) {
      if (!(between >> i & 1)) continue;
      if (at < kCandidates)
        row->order[at] = spec::order(spec::key(x[i]), static_cast<uint32_t>(Vectors<dtype>::id(b, i)));
      ++at;
    }
    const uint64_t all_low = weigh ? reduce_group(uint64_t{sum_low}, Add()) : 0;
    const uint64_t all_high = weigh ? reduce_group(uint64_t{sum_high}, Add()) : 0;
    if (row->look_ties) {
      const int ties = reduce_group(__popc(between), Add());
      if (lane() == 0) row->slot.block_mass[b] = ties;
    }
    if (lane() != 0) return;
    const uint32_t below = row.below(largest);
    mass_low += spec::aligned(all_low, below);
    mass_high += spec::aligned(all_high, below);
    row->slot.kept_mass[b] = all_high;
  };
  for_blocks(row, from, body, [&](int b) {
    row->slot.kept_mass[b] = 0;
    if (row->look_ties) row->slot.block_mass[b] = 0;
  });
  count_low = row.all(count_low, Add());
  count_high = row.all(count_high, Add());
  mass_low = row.all(mass_low, Add());
  mass_high = row.all(mass_high, Add());
  if (thread() == 0) {
    row->window = {row->look_low, row->look_high, count_low, count_high, mass_low, mass_high, 0};
    row->cut.held = 0;
  }
  __syncthreads();
  if (row->window.is_gathered()) sort_orders(row, count_low - count_high);
}

// Where the next look goes. It stands in shared memory, so that no thread keeps it.
template <DType dtype>
__device__ void tell(Row<dtype> row, uint64_t low, uint64_t high, bool masses) {
  if (thread() == 0) {
    row->look_low = low;
    row->look_high = high;
    row->look_masses = masses;
    row->look_ties = spec::key_of_order(high) - spec::key_of_order(low) == 1;
  }
  __syncthreads();
}

template <DType dtype>
__device__ void look(Row<dtype> row, uint64_t low, uint64_t high, bool masses) {
  tell(row, low, high, masses);
  look_as_told(row);
}

// How many tokens are in the prefix that ends with `last`.
template <DType dtype>
__device__ __noinline__ int64_t count_through(Row<dtype> row, uint64_t last) {
  const Keeps keeps(last);
  int64_t n = 0;
  for_blocks(row, keeps, [&](int b, float, const float (&x)[kTokens]) {
#pragma unroll
    for (int i = 0; i < kTokens; ++i) n += keeps(x[i], Vectors<dtype>::id(b, i));
  });
  return row.all(n, Add());
}

// The mass of a row whose blocks have these.
template <DType dtype>
__device__ __noinline__ uint64_t mass_of(Row<dtype> row, const uint64_t* block_masses) {
  uint64_t mass = 0;
  for (int b = thread(); b < row->blocks; b += kThreads) {
    const float largest = row.block_max(b);
    if (largest > -__builtin_inff()) mass += spec::aligned(row.at(block_masses, b), row.below(largest));
  }
  return row.all(mass, Add());
}

// A gathered token's place and weight.
struct Placed {
  int block;
  uint32_t weight, below;

  __device__ uint64_t aligned() const { return spec::aligned(weight, below); }
};

template <DType dtype>
__device__ Placed placed(Row<dtype> row, uint64_t order) {
  const int b = static_cast<int>(spec::id_of_order(order) / spec::kBlock);
  const float largest = row.block_max(b);
  return {b, row.block_weight(value_of_order(order), largest), row.below(largest)};
}

// How many of the window's tokens are in the prefix that ends with `last`.
template <DType dtype>
__device__ int gathered_through(Row<dtype> row, uint64_t last) {
  int low = 0, high = static_cast<int>(row->window.count_low - row->window.count_high);
  while (low < high) {
    const int middle = (low + high) / 2;
    if (row->order[middle] >= last)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

template <DType dtype>
__device__ void set_last(Row<dtype> row, uint64_t last) {
  __syncthreads();
  if (thread() == 0) row->cut.last = last;
  __syncthreads();
}

// Makes kept_mass, and the cut's count and mass, those of the prefix that ends with the cut's last token, which is in
// the window (or the window's end: what is above it).
template <DType dtype>
__device__ __noinline__ void hold_in_window(Row<dtype> row) {
  const uint64_t last = row->cut.last;
  const int held = row->window.held, wanted = row->window.has(last) ? gathered_through(row, last) : 0;
  const bool more = wanted > held;
  for (int i = (more ? held : wanted) + thread(); i < (more ? wanted : held); i += kThreads) {
    const Placed p = placed(row, row->order[i]);
    const unsigned long long w = p.weight;
    atomicAdd(reinterpret_cast<unsigned long long*>(row->slot.kept_mass) + p.block, more ? w : 0 - w);
  }
  __syncthreads();
  const uint64_t mass = mass_of(row, row->slot.kept_mass);
  if (thread() == 0) {
    row->window.held = wanted;
    row->cut.count = row->window.count_high + wanted;
    row->cut.mass = mass;
    row->cut.held = last;
  }
  __syncthreads();
}

// The same for any token.
template <DType dtype>
__device__ void hold(Row<dtype> row) {
  if (row->cut.held == row->cut.last) return;
  if (!row->window.has(row->cut.last)) look(row, row->cut.last, row->cut.last, true);
  hold_in_window(row);
}

}  // namespace onedraw::cuda
