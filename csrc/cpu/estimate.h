// Where a cut of the row probably is, by a sample of its blocks. A guess: what rests on it, is checked.
#pragma once

#include "row.h"

namespace onedraw::cpu {

// The cut is likely at or above `low` and below `high`; 0 and kKeyNaN where the sample does not say.
struct Bracket {
  uint32_t low, high;
};

// For the cut that keeps this share of the candidates, with a margin of so many standard deviations.
Bracket bracket_of_count(const Row& row, double kept, double sigmas);

// For the cut that leaves out so much of the mass of the prefix that ends with row.last.
Bracket bracket_of_mass(const Row& row, double left_out, double sigmas);

}  // namespace onedraw::cpu
