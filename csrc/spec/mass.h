// Rules R3.1 to R3.3: weights as integers, summed in a block, aligned to the row.
#pragma once

#include "weight.h"

namespace onedraw::spec {

constexpr int kBlock = 64;         // tokens
constexpr int kBlockBits = 28;     // fractional bits of a weight in its block
constexpr int kRowBits = 40;       // fractional bits of a row's mass
constexpr int64_t kFarApart = 63;  // a block this far below the row's exponent is shifted out

// W of R3.1; `below` is n_b - n >= 0.
ONEDRAW_FN uint32_t block_weight(uint32_t m, int64_t below) {
  return below > kBlockBits ? 0u : (m << 8) >> (static_cast<int>(below) + 3);
}

// `below` is n_row - n_b >= 0.
ONEDRAW_FN uint64_t aligned(uint64_t block_mass, int64_t below) {
  return below > kFarApart ? 0 : (block_mass << (kRowBits - kBlockBits)) >> below;
}

}  // namespace onedraw::spec
