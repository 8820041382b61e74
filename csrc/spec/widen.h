// Rule R1.2: float16 and bfloat16 as float32, exactly.
#pragma once

#include "arith.h"

namespace onedraw::spec {

ONEDRAW_FN float widen_bfloat16(uint16_t h) { return float_of(static_cast<uint32_t>(h) << 16); }

ONEDRAW_FN float widen_float16(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t rest = h & 0x7FFFu;
  if (rest >= 0x7C00u) return float_of(sign | 0x7F800000u | (rest & 0x3FFu) << 13);
  // Small integers times a power of two: exact for subnormals too.
  const uint32_t exponent = rest >> 10;
  const uint32_t fraction = exponent ? (rest & 0x3FFu) | 0x400u : rest;
  const float unit = float_of((exponent ? exponent - 1 + 103 : 103) << 23);  // 2^-24 for subnormals
  return float_of(bits_of(mul(static_cast<float>(fraction), unit)) | sign);
}

}  // namespace onedraw::spec
