// Rule R5.1: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once

#include "arith.h"

namespace onedraw::spec {

constexpr uint32_t kPhiloxM0 = 0xD2511F53u;
constexpr uint32_t kPhiloxM1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxW0 = 0x9E3779B9u;
constexpr uint32_t kPhiloxW1 = 0xBB67AE85u;
constexpr int kPhiloxRounds = 10;

struct Words {
  uint32_t w[4];
};

ONEDRAW_FN Words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kPhiloxM0) * c0;
    const uint64_t p1 = static_cast<uint64_t>(kPhiloxM1) * c2;
    const uint32_t next0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t next2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = next0;
    c2 = next2;
    k0 += kPhiloxW0;
    k1 += kPhiloxW1;
  }
  return {{c0, c1, c2, c3}};
}

enum class Level : uint32_t { block = 0, token = 1, flat = 2 };

// Where a row's noise comes from; `sample` is below 2^24.
struct Noise {
  uint64_t seed;
  uint32_t position;
  uint32_t stream;
};

// The 64 random bits of a block or token.
ONEDRAW_FN uint64_t random_bits(const Noise& noise, Level level, uint32_t sample, uint32_t id) {
  const Words r = philox(id >> 1, static_cast<uint32_t>(level) | sample << 8, noise.position, noise.stream,
                         static_cast<uint32_t>(noise.seed), static_cast<uint32_t>(noise.seed >> 32));
  const bool odd = id & 1;
  return static_cast<uint64_t>(odd ? r.w[3] : r.w[1]) << 32 | (odd ? r.w[2] : r.w[0]);
}

}  // namespace onedraw::spec
