// Where a cut of the row probably is, from what the scan left and from a sample of its blocks. What rests on it, is
// checked by an exact look.
#pragma once

#include "../spec/bisect.h"
#include "look.cuh"

namespace onedraw::cuda {

// What is told of the row's mass in a sketch: less than 2^31.
__device__ inline int sketch_shift(uint64_t mass) { return max(0, 33 - __clzll(static_cast<long long>(mass))); }

template <DType dtype>
__device__ __noinline__ Sketch made_sketch(Row<dtype> row, int b) {
  const float largest = row.block_max(b);
  uint64_t own = 0;
  if (row->sketch_masses && largest > -__builtin_inff()) {
    const bool is_held = row->cut.held == row->search.within;  // else it is all that the scan found
    own = spec::aligned(is_held ? row.kept_mass(b) : row.block_mass(b), row.below(largest));
  }
  return {largest, static_cast<uint32_t>(own >> sketch_shift(row->cut.mass))};
}

// Before a guess, which looks at the blocks often: their sketches, in shared memory if they have room there.
template <DType dtype>
__device__ void sketch_blocks(Row<dtype> row, bool masses) {
  if (thread() == 0) row->sketch_masses = masses;
  __syncthreads();
  if (row->blocks > kCandidates) return;
  for (int b = thread(); b < row->blocks; b += kThreads) row->sketch[b] = made_sketch(row, b);
}

// Of one of a thread's own blocks: thread(), and every kThreads-th from there on.
template <DType dtype>
__device__ Sketch sketch(Row<dtype> row, int b) {
  return row->blocks > kCandidates ? made_sketch(row, b) : row->sketch[b];
}

// How many blocks have a token of at least this value.
template <DType dtype>
__device__ __noinline__ int count_blocks(Row<dtype> row, float least) {
  int n = 0;
  for (int b = thread(); b < row->blocks; b += kThreads) n += sketch(row, b).largest >= least;
  return row.all(n, Add());
}

// A key that at least n tokens reach, because as many blocks do, and few more; the lowest of all where too few do.
template <DType dtype>
__device__ __noinline__ uint32_t key_of_blocks(Row<dtype> row, int64_t n) {
  const uint32_t lowest = spec::kKeyNegInf + 1;
  if (n > row->blocks) return lowest;
  sketch_blocks(row, false);
  uint32_t low = spec::key(row->max);
  int reach = 0;
  for (int b = thread(); b < row->blocks; b += kThreads) {
    const uint32_t key = spec::key(sketch(row, b).largest);
    reach += key >= lowest;
    if (key >= lowest && key < low) low = key;
  }
  low = row.all(low, Min());
  reach = row.all(reach, Add());
  if (reach < n) return lowest;
  uint32_t high = spec::key(row->max) + 1;
  for (bool by_value = true; high - low > 1 && reach > n + n / 4 + 8; by_value = !by_value) {
    const uint32_t middle = key_between(low, high, by_value);
    const int here = count_blocks(row, spec::value_of_key(middle));
    if (here >= n) {
      low = middle;
      reach = here;
    } else {
      high = middle;
    }
  }
  return low;
}

// What the tokens of at least this key weigh, at the least, as sketches have it: of each block that has one, its
// largest token, or all of it less 63 tokens of that key.
template <DType dtype>
__device__ __noinline__ uint32_t least_mass(Row<dtype> row, uint32_t key) {
  const float value = spec::value_of_key(key);
  const spec::Weight w = weight(row->settings, value);
  const int shift = sketch_shift(row->cut.mass);
  const uint64_t most = (spec::kBlock - 1) * (spec::aligned(uint64_t{w.m} << 5, row->n_row - w.n) + 1);
  const uint32_t others = static_cast<uint32_t>(min(most >> shift, uint64_t{1} << 31)) + 1;
  uint32_t mass = 0;
  for (int b = thread(); b < row->blocks; b += kThreads) {
    const Sketch block = sketch(row, b);
    if (!(block.largest >= value)) continue;
    const uint64_t first = spec::aligned(row.block_weight(block.largest, block.largest), row.below(block.largest));
    const uint32_t least = min(static_cast<uint32_t>(first >> shift), block.mass);
    mass += max(least, block.mass > others ? block.mass - others : 0);
  }
  return row.all(mass, Add());
}

// A key from which on the tokens surely reach the target, in few blocks; 0 where there seems to be none.
template <DType dtype>
__device__ __noinline__ uint32_t key_of_mass(Row<dtype> row) {
  constexpr float kReach = 30;  // octaves: what is further below the row's
                                // largest token has little mass
  constexpr int kSteps = 8;     // which leave an eighth of an octave
  const float lowest = row->max - kReach / row->settings.scale;
  if (!(lowest < row->max) || !(lowest >= kLowest) || !(row->max <= -kLowest)) return 0;
  sketch_blocks(row, true);
  const uint64_t target = (row->search.target.amount >> sketch_shift(row->cut.mass)) + 1;
  const auto reaches = [&](uint32_t key) { return least_mass(row, key) >= target; };
  uint32_t low = spec::key(lowest), high = spec::key(row->max) + 1;
  if (!reaches(low)) return 0;
  for (int i = 0; i < kSteps && high - low > 1; ++i) {
    const uint32_t middle = key_between(low, high, true);
    (reaches(middle) ? low : high) = middle;
  }
  return count_blocks(row, spec::value_of_key(low)) <= min(kCandidates, row->blocks) / 2 ? low : 0;
}

// The tokens of kGroups blocks, evenly spread, as far as they are in the prefix that ends with `within`, in row->order,
// sorted. Returns how many.
template <DType dtype>
__device__ __noinline__ int sample(Row<dtype> row) {
  static_assert(kGroups * spec::kBlock <= kCandidates, "");
  const Keeps keeps(row->search.within);
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

// Between ends that looks have found, by interpolation, as many tokens as surely have room: near to one another they
// are spread evenly.
__device__ inline Bracket bracket_between(const Search& s) {
  const float least = spec::value_of_key(s.low), span = spec::value_of_key(s.high) - least;
  if (!(least >= kLowest) || !(span <= -kLowest)) return {0, spec::kKeyNaN};
  const uint64_t high = s.target.is_mass ? s.mass_high : static_cast<uint64_t>(s.count_high);
  const uint64_t low = s.target.is_mass ? s.mass_low : static_cast<uint64_t>(s.count_low);
  const float share = static_cast<float>(low - s.target.amount) / static_cast<float>(low - high);
  const float reach = 0.4f * kCandidates / static_cast<float>(s.count_low - s.count_high);
  return {spec::key(least + span * (share - reach)), spec::key(least + span * (share + reach))};
}

}  // namespace onedraw::cuda
