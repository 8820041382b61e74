// Rules R1.4, R1.5: a float32 as an integer in the same order.
#pragma once

#include "arith.h"

namespace onedraw::spec {

constexpr uint32_t kKeyNaN = 0xFFFFFFFFu;
constexpr uint32_t kKeyNegInf = 0x007FFFFFu;
constexpr uint32_t kKeyPosInf = 0xFF800000u;

ONEDRAW_FN uint32_t key(float x) {
  const uint32_t u = bits_of(x);
  const uint32_t magnitude = u & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return kKeyNaN;
  if (magnitude == 0) return 0x80000000u;  // -0 equals +0
  return (u >> 31) ? ~u : u | 0x80000000u;
}

// The float32 of a key that is not NaN's (zero comes back as +0).
ONEDRAW_FN float value_of_key(uint32_t k) { return float_of((k >> 31) ? k & 0x7FFFFFFFu : ~k); }

ONEDRAW_FN bool is_candidate(uint32_t k) { return k > kKeyNegInf; }

// One number in the total order of tokens (R1.7): larger is earlier. ids are below 2^32.
ONEDRAW_FN uint64_t order(uint32_t k, uint32_t id) { return (static_cast<uint64_t>(k) << 32) | (0xFFFFFFFFu - id); }
ONEDRAW_FN uint32_t key_of_order(uint64_t o) { return static_cast<uint32_t>(o >> 32); }
ONEDRAW_FN uint32_t id_of_order(uint64_t o) { return 0xFFFFFFFFu - static_cast<uint32_t>(o); }

}  // namespace onedraw::spec
