#include "cut.h"

namespace onedraw::cpu {

namespace {

uint32_t block_of(const Candidate& c) { return spec::id_of_order(c.order) / spec::kBlock; }

// The mass (R3.3) of a growing prefix, by block in scratch.kept_mass.
class PrefixMass {
 public:
  PrefixMass(Scratch& scratch, const Kept& base) : total(base.mass), scratch_(scratch), base_(base) {
    for (int64_t i = 0; i < base.blocks; ++i) scratch.kept_mass[scratch.racer_id[i]] = scratch.racer_mass[i];
  }
  void add(const Candidate& c) { change(block_of(c), weight(c, block_of(c))); }
  void remove(const Candidate& c) { change(block_of(c), 0 - weight(c, block_of(c))); }
  void add_ties(const Candidate& c, int64_t block, uint64_t n) { change(block, n * weight(c, block)); }
  void remove_ties(const Candidate& c, int64_t block, uint64_t n) { change(block, 0 - n * weight(c, block)); }

  // The racers of the prefix; for_added(body) calls body(block) for each block added to. scratch.kept_mass is zero
  // again.
  template <class ForAdded>
  Kept racers(int64_t count, ForAdded for_added) {
    Kept kept{total, count, 0};
    const auto emit = [&](int64_t block) {
      const uint64_t mass = scratch_.kept_mass[block];
      if (mass == 0) return;  // done already
      const uint32_t below = scratch_.block_below[block];
      scratch_.kept_mass[block] = 0;
      scratch_.racer_id[kept.blocks] = static_cast<uint32_t>(block);
      scratch_.racer_mass[kept.blocks] = mass;
      scratch_.racer_below[kept.blocks] = below;
      scratch_.racer_share[kept.blocks++] = share_of(mass, below);
    };
    for (int64_t i = 0; i < base_.blocks; ++i) emit(scratch_.racer_id[i]);  // never overwrites one that it has not read
    for_added(emit);
    return kept;
  }
  void clear(int64_t blocks) { std::fill_n(scratch_.kept_mass, blocks, 0); }

  uint64_t total;

 private:
  uint64_t weight(const Candidate& c, int64_t block) const {
    return spec::block_weight(c.m, static_cast<int64_t>(c.below) - scratch_.block_below[block]);
  }
  void change(int64_t block, uint64_t by) {
    uint64_t& mass = scratch_.kept_mass[block];
    const uint32_t below = scratch_.block_below[block];
    total -= spec::aligned(mass, below);
    mass += by;
    total += spec::aligned(mass, below);
  }

  Scratch& scratch_;
  const Kept base_;
};

}  // namespace

uint64_t select_rank(Candidate* c, int64_t count, int64_t n) {
  if (count < n) return spec::kKeepAll;
  std::nth_element(c, c + (n - 1), c + count, is_earlier);
  return c[n - 1].order;
}

void sort_first(Candidate* c, int64_t count, int64_t n) {
  std::partial_sort(c, c + std::min(n, count), c + count, is_earlier);
}

Kept keep_candidates(const Candidate* c, int64_t count, Scratch& scratch) {
  PrefixMass mass(scratch, {});
  for (int64_t i = 0; i < count; ++i) mass.add(c[i]);
  return mass.racers(count, [&](auto emit) {
    for (int64_t i = 0; i < count; ++i) emit(block_of(c[i]));
  });
}

uint64_t extend_to_mass(Candidate* c, int64_t count, int64_t blocks, uint64_t target, Scratch& scratch, Kept& kept) {
  PrefixMass mass(scratch, kept);
  const Prefix prefix = select(c, count, mass, target);
  if (prefix.last == 0) {
    mass.clear(blocks);
    return 0;
  }
  kept = mass.racers(kept.count + prefix.count, [&](auto emit) {
    for (int64_t i = 0; i < prefix.count; ++i) emit(block_of(c[i]));
  });
  return prefix.last;
}

Tie extend_by_ties(const Candidate& tie, const uint32_t* counts, int64_t blocks, uint64_t target, Scratch& scratch,
                   Kept& kept) {
  PrefixMass mass(scratch, kept);
  Tie last{0, 0};
  int64_t count = kept.count;
  for (int64_t b = 0; b < blocks && mass.total < target; ++b) {
    if (counts[b] == 0) continue;
    mass.add_ties(tie, b, counts[b]);
    last = {b, counts[b]};
    if (mass.total >= target) {  // within this block, then
      mass.remove_ties(tie, b, counts[b]);
      for (last.n = 0; last.n < counts[b] && mass.total < target; ++last.n) mass.add_ties(tie, b, 1);
    }
    count += last.n;
  }
  kept = mass.racers(count, [&](auto emit) {
    for (int64_t b = 0; b <= last.block; ++b) emit(b);
  });
  return last;
}

}  // namespace onedraw::cpu
