// Halving an interval of float32 keys.
#pragma once

#include "key.h"

namespace onedraw {

// A key strictly between two that are at least 2 apart. Halving the values is quick where logits are spread evenly,
// but may take forever beside a huge one; halving the keys takes 32 steps at most, but spends them near zero.
// Alternate.
ONEDRAW_FN uint32_t key_between(uint32_t low, uint32_t high, bool by_value) {
  const uint32_t middle = low + (high - low) / 2;
  if (!by_value) return middle;
  const uint32_t k = spec::key(0.5f * spec::value_of_key(low) + 0.5f * spec::value_of_key(high));
  return low < k && k < high ? k : middle;
}

}  // namespace onedraw
