// Where a cut of the row probably is, from what the scan left and from a sample of its blocks. What rests on it, is
// checked by an exact look.
#pragma once

#include "../spec/bisect.h"
#include "look.cuh"

namespace onedraw::cuda {

// The highest key in [low, high) that reaches(key), or `low`; after so many steps at most one near it that does.
template <class Reaches>
__device__ uint32_t highest_key(uint32_t low, uint32_t high, int steps, Reaches reaches) {
  for (bool by_value = true; high - low > 1 && steps > 0; by_value = !by_value, --steps) {
    const uint32_t middle = key_between(low, high, by_value);
    (reaches(middle) ? low : high) = middle;
  }
  return low;
}

// How many blocks have a token of at least this value.
template <DType dtype>
__device__ __noinline__ int count_blocks(Row<dtype> row, float least) {
  int n = 0;
  for (int b = thread(); b < row->blocks; b += kThreads) n += row.block_max(b) >= least;
  return row.all(n, Add());
}

// A key that at least n tokens reach, because as many blocks do, and few more; the lowest of all where too few do.
template <DType dtype>
__device__ __noinline__ uint32_t key_of_blocks(Row<dtype> row, int64_t n) {
  const uint32_t lowest = spec::kKeyNegInf + 1;
  if (n > row->blocks || count_blocks(row, kLowest) < n) return lowest;
  uint32_t low = lowest, high = spec::key(row->max) + 1;
  int64_t reach = row->blocks;
  for (bool by_value = true; high - low > 1 && reach > n + n / 4 + 8; by_value = !by_value) {
    const uint32_t middle = key_between(low, high, by_value);
    const int64_t here = count_blocks(row, spec::value_of_key(middle));
    if (here >= n) {
      low = middle;
      reach = here;
    } else {
      high = middle;
    }
  }
  return low;
}

// What the tokens of at least this key weigh, at the least: of each block that has one, its largest token, or all of it
// less 63 tokens of that key.
template <DType dtype>
__device__ __noinline__ uint64_t least_mass(Row<dtype> row, uint32_t key) {
  const bool is_all = row->search.within == spec::kKeepAll;  // else the blocks' masses are those that are kept
  const float value = spec::value_of_key(key);
  const spec::Weight w = weight(row->settings, value);
  const uint64_t others = (spec::kBlock - 1) * (spec::aligned(uint64_t{w.m} << 5, row->n_row - w.n) + 1);
  uint64_t mass = 0;
  for (int b = thread(); b < row->blocks; b += kThreads) {
    const float largest = row.block_max(b);
    if (!(largest >= value)) continue;
    const uint32_t below = row.below(largest);
    const uint64_t own = spec::aligned(is_all ? row.block_mass(b) : row.kept_mass(b), below);
    const uint64_t first = spec::aligned(row.block_weight(largest, largest), below);
    mass += own > others && own - others > first ? own - others : first;
  }
  return row.all(mass, Add());
}

// A key from which on the tokens surely reach the target, in few blocks; 0 where there seems to be none.
template <DType dtype>
__device__ __noinline__ uint32_t key_of_mass(Row<dtype> row) {
  constexpr float kReach = 30;  // octaves: what is further below the row's
                                // largest token has little mass
  const float low = row->max - kReach / row->settings.scale;
  if (!(low < row->max) || !(low >= kLowest) || !(row->max <= -kLowest)) return 0;
  const uint32_t lowest = spec::key(low);
  const auto reaches = [&](uint32_t key) { return least_mass(row, key) >= row->search.target.amount; };
  if (!reaches(lowest)) return 0;
  const uint32_t key = highest_key(lowest, spec::key(row->max) + 1, 16, reaches);
  return count_blocks(row, spec::value_of_key(key)) <= kCandidates / 2 ? key : 0;
}

// The tokens of kGroups blocks, evenly spread, as far as they are in the prefix that ends with `within`, in row->order,
// sorted. Returns how many.
template <DType dtype>
__device__ __noinline__ int sample(Row<dtype> row) {
  static_assert(kGroups * spec::kBlock <= kCandidates, "");
  const Keeps keeps(row->search.within);
  __syncthreads();
  if (thread() == 0) row->gathered = 0;
  __syncthreads();
  const int b = static_cast<int>(int64_t{2 * group() + 1} * row->blocks / (2 * kGroups));
  const Block t = row.load(b);
#pragma unroll
  for (int i = 0; i < kTokens; ++i) {
    const int64_t id = Vectors<dtype>::id(b, i);
    if (keeps(t.x[i], id))
      row->order[atomicAdd(&row->gathered, 1)] = spec::order(spec::key(t.x[i]), static_cast<uint32_t>(id));
  }
  __syncthreads();
  const int count = row->gathered;
  sort_orders(row, count);
  return count;
}

// The first of the sorted tokens with which their plain sum of aligned weights reaches the target; `count` if all are
// not enough.
template <DType dtype>
__device__ __noinline__ int first_reaching(Row<dtype> row, int count, uint64_t target) {
  const int each = (count + kThreads - 1) / kThreads;
  const int from = min(count, thread() * each), end = min(count, from + each);
  uint64_t own = 0;
  for (int i = from; i < end; ++i) own += placed(row, row->order[i]).aligned();
  uint64_t sum = scan_all(own, row->reductions).before;
  if (thread() == 0) row->found = count;
  __syncthreads();
  if (sum < target && sum + own >= target) {
    int i = from;
    for (; i + 1 < end; ++i) {
      sum += placed(row, row->order[i]).aligned();
      if (sum >= target) break;
    }
    row->found = i;
  }
  __syncthreads();
  return row->found;
}

// The cut is probably at or above `low` and below `high`; 0 and kKeyNaN where the sample does not say.
struct Bracket {
  uint32_t low, high;
};

template <DType dtype>
__device__ Bracket bracket_of(Row<dtype> row, int count, int low, int high) {
  return {0 <= low && low < count ? spec::key_of_order(row->order[low]) : 0,
          0 <= high && high < count ? spec::key_of_order(row->order[high]) + 1 : spec::kKeyNaN};
}

// For the cut behind so many tokens.
template <DType dtype>
__device__ __noinline__ Bracket bracket_of_count(Row<dtype> row, float sigmas) {
  const int count = sample(row);
  const float wanted = static_cast<float>(row->search.target.amount) * kGroups / static_cast<float>(row->blocks);
  const float rest = static_cast<float>(count) - wanted, spread = wanted < rest ? wanted : rest;
  const float margin = sigmas * sqrtf(spread > 1 ? spread : 1.0f) + 3;
  return bracket_of(row, count, static_cast<int>(wanted + margin), static_cast<int>(floorf(wanted - margin)));
}

// For the cut that leaves out so much of the mass. Heavy tokens are few: what they weigh in the sample says little.
// What is left out is many light ones: their sum, of weights up to w, has a variance of w times itself or less.
template <DType dtype>
__device__ __noinline__ Bracket bracket_of_mass(Row<dtype> row, float sigmas) {
  const int count = sample(row);
  const uint64_t left_out = row->cut.mass - row->search.target.amount;
  uint64_t own = 0;
  for (int i = thread(); i < count; i += kThreads) own += placed(row, row->order[i]).aligned();
  const uint64_t all = row.all(own, Add());
  const uint64_t rest = static_cast<uint64_t>(static_cast<float>(left_out) * kGroups / static_cast<float>(row->blocks));
  if (rest >= all || rest == 0) return {0, spec::kKeyNaN};
  const int middle = first_reaching(row, count, all - rest);
  const uint64_t w = placed(row, row->order[min(middle, count - 1)]).aligned();
  const uint64_t margin =
      static_cast<uint64_t>(sigmas * sqrtf(static_cast<float>(w) * static_cast<float>(rest))) + 3 * w;
  const int low = margin < rest ? first_reaching(row, count, all - rest + margin) : count;
  const int high = margin < all - rest ? first_reaching(row, count, all - rest - margin) : -1;
  return bracket_of(row, count, low, high);
}

}  // namespace onedraw::cuda
