#include "cut.h"

#include <algorithm>

namespace onedraw::cpu {

namespace {

bool earlier(const Candidate& a, const Candidate& b) { return a.order > b.order; }

uint32_t block_of(const Candidate& c) { return spec::id_of_order(c.order) / spec::kBlock; }

// Moves the candidates behind [0, kept) that have the cut's key in front, too.
int64_t with_ties(Gathered g, int64_t kept, uint64_t last) {
  const uint32_t key = spec::key_of_order(last);
  for (int64_t i = kept; i < g.count; ++i)
    if (spec::key_of_order(g.at[i].order) == key) std::swap(g.at[i], g.at[kept++]);
  return kept;
}

uint64_t median(uint64_t a, uint64_t b, uint64_t c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); }

}  // namespace

void KeptMass::change(const Candidate& c, uint64_t by) {
  const uint32_t b = block_of(c);
  uint64_t& mass = scratch_.kept_mass[b];
  total_ -= spec::aligned(mass, scratch_.block_below[b]);
  mass += by;
  total_ += spec::aligned(mass, scratch_.block_below[b]);
}

static uint64_t weight_in_block(const Candidate& c, const Scratch& scratch) {
  return spec::block_weight(c.m, static_cast<int64_t>(c.below) - scratch.block_below[block_of(c)]);
}

void KeptMass::add(const Candidate& c) { change(c, weight_in_block(c, scratch_)); }
void KeptMass::remove(const Candidate& c) { change(c, 0 - weight_in_block(c, scratch_)); }

void KeptMass::clear(const Candidate* c, int64_t count) {
  for (int64_t i = 0; i < count; ++i) scratch_.kept_mass[block_of(c[i])] = 0;
  total_ = 0;
}

int64_t keep_top_k(Gathered g, int64_t k, bool ties) {
  if (k >= g.count) return g.count;
  std::nth_element(g.at, g.at + (k - 1), g.at + g.count, earlier);
  return ties ? with_ties(g, k, g.at[k - 1].order) : k;
}

// A quickselect by mass: [0, low) is in the prefix and its mass is counted; the token whose mass reaches the target is
// in [low, high). The candidates' whole mass must reach the target.
int64_t keep_top_p(Gathered g, uint64_t target, bool ties, Scratch& scratch) {
  KeptMass mass(scratch);
  Candidate* const a = g.at;
  int64_t low = 0, high = g.count;
  uint64_t last = 0;
  for (int round = 0; high - low > 24 && round < 64; ++round) {
    const uint64_t pivot = median(a[low].order, a[low + (high - low) / 2].order, a[high - 1].order);
    Candidate* const split =
        std::partition(a + low, a + high, [&](const Candidate& c) { return c.order > pivot; });
    const int64_t middle = split - a;
    for (int64_t i = low; i < middle; ++i) mass.add(a[i]);
    if (mass.total() >= target) {
      for (int64_t i = low; i < middle; ++i) mass.remove(a[i]);
      high = middle;
      continue;
    }
    std::iter_swap(split, std::find_if(split, a + high, [&](const Candidate& c) { return c.order == pivot; }));
    mass.add(*split);
    low = middle + 1;
    last = pivot;
    if (mass.total() >= target) {
      high = low;
      break;
    }
  }
  std::sort(a + low, a + high, earlier);
  while (mass.total() < target) {
    mass.add(a[low]);
    last = a[low++].order;
  }
  mass.clear(a, low);
  return ties ? with_ties(g, low, last) : low;
}

int64_t keep_min_p(Gathered g, float min_p) {
  const Candidate& first = *std::max_element(g.at, g.at + g.count, [](const Candidate& a, const Candidate& b) { return a.order < b.order; });
  const spec::Weight top{-static_cast<int64_t>(first.below), first.m};
  return std::partition(g.at, g.at + g.count, [&](const Candidate& c) { return spec::passes_min_p({-static_cast<int64_t>(c.below), c.m}, top, min_p); }) - g.at;
}

void sort_first(Gathered g, int64_t n) { std::partial_sort(g.at, g.at + std::min(n, g.count), g.at + g.count, earlier); }

}  // namespace onedraw::cpu
