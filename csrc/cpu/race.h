// The race (section 5 of the specification). Random bits come from vectors of Philox; a cheap bound then says which
// racers could still win, and only those few take the logarithm and the division.
#pragma once

#include "kernel.h"
#include "simd.h"

namespace onedraw::cpu::ONEDRAW_TARGET {

struct RandomVector {
  U low, high;
};

// R5.1 for kLanes ids.
static inline RandomVector random_vector(const spec::Noise& noise, spec::Level level, uint32_t sample, U id) {
  U c0 = id >> 1;
  U c1 = splat(static_cast<uint32_t>(level) | sample << 8);
  U c2 = splat(noise.position);
  U c3 = splat(noise.stream);
  uint32_t k0 = static_cast<uint32_t>(noise.seed), k1 = static_cast<uint32_t>(noise.seed >> 32);
  for (int round = 0; round < spec::kPhiloxRounds; ++round) {
    U low0, high0, low1, high1;
    multiply(c0, spec::kPhiloxM0, low0, high0);
    multiply(c2, spec::kPhiloxM1, low1, high1);
    c0 = high1 ^ c1 ^ splat(k0);
    c2 = high0 ^ c3 ^ splat(k1);
    c1 = low1;
    c3 = low0;
    k0 += spec::kPhiloxW0;
    k1 += spec::kPhiloxW1;
  }
  const U odd = -(id & 1);
  return {(c0 & ~odd) | (c2 & odd), (c1 & ~odd) | (c3 & odd)};
}

struct Best {
  int64_t score = INT64_MAX;
  uint32_t id = 0;
  int64_t index = 0;
  float bound = 0;  // a little above E / mass of the best, with the mass as approximate() has it
};

// The mass as a float32 in units of the leader's exponent, within a relative 2^-22; zero where it underflows.
static inline float approximate(uint64_t mass, uint32_t below) {
  if (below > 80) return 0.0f;
  return static_cast<float>(static_cast<int64_t>(mass)) * spec::float_of((127 - spec::kBlockBits - below) << 23);
}

static inline uint32_t id_at(const Racers& r, int64_t i) { return r.id ? r.id[i] : static_cast<uint32_t>(i); }

static void consider(Best& best, const Racers& r, int64_t index, uint64_t bits) {
  const uint32_t id = id_at(r, index);
  const uint32_t below = r.below[index] - r.least_below;
  const float variate = spec::variate(bits);
  const spec::Weight w = spec::mass_weight(r.mass[index], -static_cast<int64_t>(below));
  const int64_t score = spec::score(variate, w.m, w.n);
  if (score > best.score || (score == best.score && id > best.id)) return;
  const float mass = approximate(r.mass[index], below);
  best = {score, id, index, mass > 0 ? variate / mass * (1 + 0x1p-16f) : __FLT_MAX__};
}

static int64_t race(const spec::Noise& noise, spec::Level level, uint32_t sample, const Racers& racers) {
  // One of the racers with the largest exponent goes first: its score lets the bound exclude most of the others.
  int64_t leader = 0;
  while (racers.below[leader] != racers.least_below || racers.mass[leader] == 0) ++leader;
  Best best;
  consider(best, racers, leader, spec::random_bits(noise, level, sample, id_at(racers, leader)));
  alignas(64) float share[kLanes];
  for (int64_t i = 0; i < racers.count; i += kLanes) {
    const int here = static_cast<int>(racers.count - i < kLanes ? racers.count - i : kLanes);
    U id;
    for (int j = 0; j < kLanes; ++j) {
      id[j] = id_at(racers, i + (j < here ? j : 0));
      share[j] = j < here ? approximate(racers.mass[i + j], racers.below[i + j] - racers.least_below) : 0.0f;
    }
    const RandomVector u = random_vector(noise, level, sample, id);
    // E is at least 1 - v, which is at least (2^32 - 1 - high) / 2^32. Who needs more than the best has, cannot win; the
    // roundings of the bound (2^-22 or so) are within the margin of best.bound. A bound of 0 excludes nobody.
    const F least = __builtin_convertvector(reinterpret_cast<I>(~u.high >> 1), F) * splat(0x1p-31f);
    uint32_t may_win = at_least(load(share) * splat(best.bound), least);
    for (may_win &= (1u << here) - 1; may_win; may_win &= may_win - 1) {
      const int j = __builtin_ctz(may_win);
      if (i + j == leader || racers.mass[i + j] == 0) continue;
      consider(best, racers, i + j, static_cast<uint64_t>(u.high[j]) << 32 | u.low[j]);
    }
  }
  return best.index;
}

static void scores(const spec::Noise& noise, const Candidate* c, int64_t count, int64_t* scores) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int here = static_cast<int>(count - i < kLanes ? count - i : kLanes);
    U id;
    for (int j = 0; j < kLanes; ++j) id[j] = spec::id_of_order(c[i + (j < here ? j : 0)].order);
    const RandomVector u = random_vector(noise, spec::Level::flat, 0, id);
    for (int j = 0; j < here; ++j) {
      const uint64_t bits = static_cast<uint64_t>(u.high[j]) << 32 | u.low[j];
      scores[i + j] = spec::score(spec::variate(bits), c[i + j].m, -static_cast<int64_t>(c[i + j].below));
    }
  }
}

}  // namespace onedraw::cpu::ONEDRAW_TARGET
