#include "cut.h"

#include <algorithm>

namespace onedraw::cpu {

namespace {

bool earlier(const Candidate& a, const Candidate& b) { return a.order > b.order; }

uint32_t block_of(const Candidate& c) { return spec::id_of_order(c.order) / spec::kBlock; }

uint64_t median(uint64_t a, uint64_t b, uint64_t c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); }

// The mass (R3.3) of a growing prefix, kept by block in scratch.kept_mass.
class PrefixMass {
 public:
  PrefixMass(Scratch& scratch, const Kept& base) : scratch_(scratch), total_(base.mass), base_(base) {
    for (int64_t i = 0; i < base.blocks; ++i) scratch.kept_mass[scratch.racer_id[i]] = scratch.racer_mass[i];
  }
  void add(const Candidate& c, uint64_t times = 1) { change(c, times * weight(c)); }
  void remove(const Candidate& c, uint64_t times = 1) { change(c, 0 - times * weight(c)); }
  uint64_t total() const { return total_; }
  // Leaves scratch.kept_mass zero; c: all that was added.
  void clear(const Candidate* c, int64_t count) {
    for (int64_t i = 0; i < count; ++i) scratch_.kept_mass[block_of(c[i])] = 0;
    for (int64_t i = 0; i < base_.blocks; ++i) scratch_.kept_mass[scratch_.racer_id[i]] = 0;
  }

 private:
  uint64_t weight(const Candidate& c) const {
    return spec::block_weight(c.m, static_cast<int64_t>(c.below) - scratch_.block_below[block_of(c)]);
  }
  void change(const Candidate& c, uint64_t by) {
    const uint32_t b = block_of(c);
    uint64_t& mass = scratch_.kept_mass[b];
    total_ -= spec::aligned(mass, scratch_.block_below[b]);
    mass += by;
    total_ += spec::aligned(mass, scratch_.block_below[b]);
  }

  Scratch& scratch_;
  uint64_t total_;
  const Kept& base_;
};

}  // namespace

uint64_t select_rank(Candidate* c, int64_t count, int64_t n) {
  std::nth_element(c, c + (n - 1), c + count, earlier);
  return c[n - 1].order;
}

// A quickselect by mass: [0, low) is in the prefix and its mass is counted; the token at which the mass reaches the
// target is in [low, high). After 64 rounds (unlucky pivots) the rest is sorted.
uint64_t select_mass(Candidate* c, int64_t count, const Kept& base, uint64_t target, Scratch& scratch) {
  PrefixMass mass(scratch, base);
  int64_t low = 0, high = count;
  uint64_t last = 0;
  for (int round = 0; high - low > 24 && round < 64; ++round) {
    const uint64_t pivot = median(c[low].order, c[low + (high - low) / 2].order, c[high - 1].order);
    Candidate* const split = std::partition(c + low, c + high, [&](const Candidate& a) { return a.order > pivot; });
    const int64_t middle = split - c;
    for (int64_t i = low; i < middle; ++i) mass.add(c[i]);
    if (mass.total() >= target) {
      for (int64_t i = low; i < middle; ++i) mass.remove(c[i]);
      high = middle;
      continue;
    }
    std::iter_swap(split, std::find_if(split, c + high, [&](const Candidate& a) { return a.order == pivot; }));
    mass.add(*split);
    low = middle + 1;
    last = pivot;
    if (mass.total() >= target) high = low;
  }
  std::sort(c + low, c + high, earlier);
  while (mass.total() < target && low < count) {
    mass.add(c[low]);
    last = c[low++].order;
  }
  mass.clear(c, low);
  return last;
}

uint64_t select_mass_of_ties(Candidate* c, int64_t count, const Kept& base, uint64_t target, Scratch& scratch) {
  PrefixMass mass(scratch, base);
  int64_t i = 0;
  while (i < count) {  // whole blocks
    int64_t end = i + 1;
    while (end < count && block_of(c[end]) == block_of(c[i])) ++end;
    const uint64_t times = static_cast<uint64_t>(end - i);
    mass.add(c[i], times);
    if (mass.total() >= target) {
      mass.remove(c[i], times);
      break;
    }
    i = end;
  }
  while (mass.total() < target && i < count) mass.add(c[i++]);
  mass.clear(c, i);
  return i > 0 ? c[i - 1].order : 0;
}

void sort_first(Candidate* c, int64_t count, int64_t n) {
  std::partial_sort(c, c + std::min(n, count), c + count, earlier);
}

}  // namespace onedraw::cpu
