// Rules R4.1 to R4.4: where the filters cut the order of tokens.
#pragma once

#include "mass.h"

namespace onedraw::spec {

// Kept is what stands at or before `last` in the order of tokens (see order() in key.h).
struct Cut {
  uint64_t last;
  int64_t num_kept;
};

constexpr uint64_t kKeepAll = (static_cast<uint64_t>(kKeyNegInf) + 1) << 32;

ONEDRAW_FN bool keeps(const Cut& cut, uint32_t k, uint32_t id) { return order(k, id) >= cut.last; }

// R4.2: max(1, ceil(p * mass)) for 0 < p < 1.
ONEDRAW_FN uint64_t top_p_target(float p, uint64_t mass) {
  const Weight w = given_weight(p);              // p = m * 2^(n - 23)
  const int shift = static_cast<int>(23 - w.n);  // 24 or more
  if (shift > 100) return 1;
  const unsigned __int128 product = static_cast<unsigned __int128>(mass) * w.m;
  const unsigned __int128 one = 1;
  const uint64_t target = static_cast<uint64_t>((product + (one << shift) - 1) >> shift);
  return target > 1 ? target : 1;
}

// R4.3: whether w >= q * top, exactly, for 0 < q <= 1.
ONEDRAW_FN bool passes_min_p(Weight w, Weight top, float q) {
  const Weight r = given_weight(q);
  const int64_t shift = (top.n - w.n) + (r.n - 23);             // w.m >= r.m * top.m * 2^shift ?
  const uint64_t product = static_cast<uint64_t>(r.m) * top.m;  // 2^46 .. 2^48
  if (shift >= 0) return false;
  if (shift <= -48) return true;
  const uint64_t threshold = (product + (uint64_t{1} << -shift) - 1) >> -shift;
  return w.m >= threshold;
}

}  // namespace onedraw::spec
