// The race (section 5 of the specification). Random bits come from vectors of Philox; a cheap bound then says which
// racers could still win, and only those few take the logarithm and the division.
#pragma once

#include "kernel.h"
#include "simd.h"

namespace onedraw::cpu::ONEDRAW_TARGET {

struct RandomVector {
  U low, high;
};

struct PairOfRandomVectors {
  RandomVector even, odd;
};

// R5.1 for the ids 2 * c and 2 * c + 1 of kLanes counters c.
static inline PairOfRandomVectors random_pair(const spec::Noise& noise, spec::Level level, uint32_t sample, U c0) {
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
  return {{c0, c1}, {c2, c3}};
}

// R5.1 for kLanes ids.
static inline RandomVector random_vector(const spec::Noise& noise, spec::Level level, uint32_t sample, U id) {
  const PairOfRandomVectors pair = random_pair(noise, level, sample, id >> 1);
  const U odd = -(id & 1);
  return {(pair.even.low & ~odd) | (pair.odd.low & odd), (pair.even.high & ~odd) | (pair.odd.high & odd)};
}

struct Best {
  int64_t score = INT64_MAX;
  uint32_t id = 0;
  int64_t index = 0;
  float bound = 0;  // a little above E / mass of the best, with the mass as approximate() has it
};

static inline uint32_t id_at(const Racers& r, int64_t i) { return r.id ? r.id[i] : static_cast<uint32_t>(i); }

static void consider(Best& best, const Racers& r, int64_t index, uint64_t bits) {
  const uint32_t id = id_at(r, index);
  const float variate = spec::variate(bits);
  const spec::Weight w = spec::mass_weight(r.mass[index], -static_cast<int64_t>(r.below[index] - r.least_below));
  const int64_t score = spec::score(variate, w.m, w.n);
  if (score > best.score || (score == best.score && id > best.id)) return;
  const float share = r.share[index];
  best = {score, id, index, share > 0 ? variate / share * (1 + 0x1p-16f) : __FLT_MAX__};
}

// E is at least 1 - v, which is at least (2^32 - 1 - high) / 2^32. Who needs more than the best has, cannot win; the
// roundings here (2^-22 or so) are within the margin of best.bound. Distances count from least_below, and saturate:
// R5.3's stop at -2^20 is met before or after that shift, which no winner can tell.
static inline uint32_t may_win(const Best& best, F share, const RandomVector& u) {
  const F least = __builtin_convertvector(reinterpret_cast<I>(~u.high >> 1), F) * splat(0x1p-31f);
  return at_least(share * splat(best.bound), least);
}

// Considers those of kLanes racers, at first, first + step, ..., that may win.
static inline void consider_lanes(Best& best, const Racers& r, int64_t first, int step, F share,
                                  const RandomVector& u) {
  for (uint32_t lanes = may_win(best, share, u); lanes; lanes &= lanes - 1) {
    const int j = __builtin_ctz(lanes);
    const int64_t index = first + step * j;
    if (index >= r.count || r.mass[index] == 0) continue;
    consider(best, r, index, static_cast<uint64_t>(u.high[j]) << 32 | u.low[j]);
  }
}

// Lanes 0, 2, 4, ... (or 1, 3, 5, ...) of two vectors, one after the other.
template <bool odd>
static inline F every_other(F a, F b) {
  I index;
  for (int i = 0; i < kLanes; ++i) index[i] = 2 * i + odd;
  return shuffle(a, b, index);
}

// The arrays behind `racers` are padded to a multiple of 2 * kLanes where its ids are 0, 1, 2, ..., else to kLanes.
static int64_t race(const spec::Noise& noise, spec::Level level, uint32_t sample, const Racers& racers) {
  // One of the racers with the largest exponent goes first: its score lets the bound exclude most of the others.
  int64_t leader = 0;
  while (leader + 1 < racers.count && (racers.below[leader] != racers.least_below || racers.mass[leader] == 0))
    ++leader;
  Best best;
  consider(best, racers, leader, spec::random_bits(noise, level, sample, id_at(racers, leader)));
  if (racers.id) {
    for (int64_t i = 0; i < racers.count; i += kLanes)
      consider_lanes(best, racers, i, 1, load(racers.share + i),
                     random_vector(noise, level, sample, load(racers.id + i)));
    return best.index;
  }
  U counter;
  for (int j = 0; j < kLanes; ++j) counter[j] = static_cast<uint32_t>(j);
  for (int64_t i = 0; i < racers.count; i += 2 * kLanes, counter += splat(uint32_t{kLanes})) {
    const PairOfRandomVectors u = random_pair(noise, level, sample, counter);
    const F a = load(racers.share + i), b = load(racers.share + i + kLanes);
    consider_lanes(best, racers, i, 2, every_other<false>(a, b), u.even);
    consider_lanes(best, racers, i + 1, 2, every_other<true>(a, b), u.odd);
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
