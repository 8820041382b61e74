// Exact selection among gathered candidates; each returns the last token kept, as its place in the order of tokens.
#pragma once

#include "kernel.h"

namespace onedraw::cpu {

// The n-th in the order of tokens; 1 <= n <= count. What is before it is moved to the front.
uint64_t select_rank(Candidate* c, int64_t count, int64_t n);

// The first in the order of tokens at which the mass of `base` and all up to it reaches the target; base is what comes
// before all the candidates, still in scratch's racers. It must be reached among them.
uint64_t select_mass(Candidate* c, int64_t count, const Kept& base, uint64_t target, Scratch& scratch);

// The same, for tokens that all have one key: they stand ascending by id, and n of a block weigh the same.
uint64_t select_mass_of_ties(Candidate* c, int64_t count, const Kept& base, uint64_t target, Scratch& scratch);

void sort_first(Candidate* c, int64_t count, int64_t n);

}  // namespace onedraw::cpu
