// Exact selection among gathered candidates, by rank or by mass, in the order of tokens.
#pragma once

#include <algorithm>

#include "kernel.h"

namespace onedraw::cpu {

[[maybe_unused]] static inline bool is_earlier(const Candidate& a, const Candidate& b) { return a.order > b.order; }

// The n-th (from 1) in the order of tokens; what is before it is moved to the front. spec::kKeepAll if there are fewer.
uint64_t select_rank(Candidate* c, int64_t count, int64_t n);

void sort_first(Candidate* c, int64_t count, int64_t n);

// The candidates up to and including `last` in the order of tokens, which were moved to the front.
struct Prefix {
  uint64_t last;  // 0: all of them are not enough
  int64_t count;
};

// The shortest prefix with which `mass` reaches the target, and which it has then added. `mass` has a total, and adds
// and removes candidates.
//
// A quickselect: the masses of [0, low) are added; the token at which the target is reached is in [low, high). After
// 64 rounds (unlucky pivots) the rest is sorted.
template <class Mass>
Prefix select(Candidate* c, int64_t count, Mass& mass, uint64_t target) {
  int64_t low = 0, high = count;
  for (int round = 0; high - low > 24 && round < 64; ++round) {
    const uint64_t a = c[low].order, b = c[low + (high - low) / 2].order, d = c[high - 1].order;
    const uint64_t pivot = std::max(std::min(a, b), std::min(std::max(a, b), d));
    Candidate* const split = std::partition(c + low, c + high, [&](const Candidate& x) { return x.order > pivot; });
    const int64_t middle = split - c;
    for (int64_t i = low; i < middle; ++i) mass.add(c[i]);
    if (mass.total >= target) {
      for (int64_t i = low; i < middle; ++i) mass.remove(c[i]);
      high = middle;
      continue;
    }
    std::iter_swap(split, std::find_if(split, c + high, [&](const Candidate& x) { return x.order == pivot; }));
    mass.add(*split);
    low = middle + 1;
    if (mass.total >= target) return {pivot, low};
  }
  std::sort(c + low, c + high, is_earlier);
  while (mass.total < target && low < high) mass.add(c[low++]);
  return {mass.total < target || low == 0 ? 0 : c[low - 1].order, low};
}

// Candidates that are a prefix of the order of tokens, as racers in scratch.
Kept keep_candidates(const Candidate* c, int64_t count, Scratch& scratch);

// Extends what is kept (a prefix of the order of tokens, its racers in scratch) by candidates, which are all those
// that follow, until its mass reaches the target. Returns the last token; 0 if all are not enough, and then kept and
// racers are what they were.
uint64_t extend_to_mass(Candidate* c, int64_t count, int64_t blocks, uint64_t target, Scratch& scratch, Kept& kept);

// The n-th by id of a block's tokens of one key.
struct Tie {
  int64_t block, n;
};

// The same where all that follow are equal: counts[b] of them in block b, each with the weight of `tie`. They are
// enough.
Tie extend_by_ties(const Candidate& tie, const uint32_t* counts, int64_t blocks, uint64_t target, Scratch& scratch,
                   Kept& kept);

}  // namespace onedraw::cpu
