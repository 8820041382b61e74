// R5.2: the exponential variate over every float w that its polynomial sees.
//
// N, the distance of v * 2^lz to 1 in units of 2^-65, is odd * 2^lz, and w is RN(N) * 2^-65. With lz = 0 every float N
// from 2^25 on is met by the odd number behind it, and the odd N below are met themselves; an even N below is met with
// lz > 0, where a whole number of halvings is added.
#include <algorithm>
#include <cmath>

#include "../spec/race.h"
#include "exhaustive.h"

namespace onedraw::tests {
namespace {

constexpr int kChunk = 4096;

// The u whose v * 2^lz is 1 - N * 2^-65, for N = odd * 2^lz below 2^64.
uint64_t random_bits_of(uint64_t n, int lz) {
  const uint64_t end = lz == 0 ? 0 : uint64_t{1} << (64 - lz);  // 2^(64 - lz)
  return end - ((n >> lz >> 1) + 1);
}

// -ln v
long double exact_variate(uint64_t n, int lz) {
  return static_cast<long double>(lz) * logl(2.0L) - log1pl(-static_cast<long double>(n) * 0x1p-65L);
}

struct Chunk {
  uint64_t n[kChunk], u[kChunk];
  float e[kChunk], plain[kChunk];
  int lz;
  int count = 0;

  void push(uint64_t some_n) {
    n[count] = some_n;
    u[count++] = random_bits_of(some_n, lz);
  }
};

// The n ascend. Every `step`-th is compared with the logarithm.
void look_at(Chunk& c, int step, long double& worst, Findings& findings) {
  const auto wrong = [&](const char* what, int i) {
    findings.add("variate of 0x%016llx %s: %.9g", static_cast<unsigned long long>(c.u[i]), what,
                 static_cast<double>(c.e[i]));
  };
  best_target().variates(c.u, c.count, c.e);
  plain_target().variates(c.u, c.count, c.plain);
  for (int i = 0; i < c.count; ++i) {
    if (spec::bits_of(c.e[i]) != spec::bits_of(c.plain[i])) wrong("depends on the target", i);
    if (i > 0 && c.e[i] < c.e[i - 1]) wrong("falls", i);
    if (!(c.e[i] > 0) || c.e[i] < static_cast<float>(c.n[i]) * 0x1p-65f) wrong("is below w", i);
    if (spec::leading_zeros(c.u[i]) != c.lz) wrong("is not the one meant", i);
    if (i % step) continue;
    const long double exact = exact_variate(c.n[i], c.lz), error = fabsl(static_cast<long double>(c.e[i]) / exact - 1);
    worst = std::max(worst, error);
    if (!(error < 0x1p-22L)) wrong("is off", i);
  }
}

// The i-th of the N described above, for this lz; i counts from 0 over all of them, 41 binades of 2^23.
constexpr int64_t kArguments = int64_t{41} << 23;
uint64_t argument(int64_t i, int lz) {
  const uint64_t fraction = static_cast<uint64_t>(i) & 0x7FFFFF;
  const int octave = static_cast<int>(i >> 23);  // 0: below 2^24; k: [2^(23+k), 2^(24+k))
  const uint64_t n = octave == 0 ? 2 * fraction + 1 : ((uint64_t{1} << 23 | fraction) << octave) + 1;
  return n << lz;
}

// Whether argument(i, lz) is below 2^64.
bool exists(int64_t i, int lz) { return lz <= spec::leading_zeros(argument(i, 0)); }

}  // namespace

void every_variate(Effort effort, Findings& findings) {
  long double worst = 0;
  int64_t looked_at = 0;
  for (int lz = 0; lz < 64; ++lz) {
    int64_t stride = effort == Effort::quick ? 9973 : 997;  // of chunks
    if (lz == 0) stride = effort == Effort::quick ? 61 : effort == Effort::usual ? 3 : 1;
#pragma omp parallel for schedule(dynamic, 16) reduction(max : worst) reduction(+ : looked_at)
    for (int64_t chunk = 0; chunk < kArguments / kChunk; chunk += stride) {
      Chunk c;
      c.lz = lz;
      for (int64_t i = std::max<int64_t>(0, chunk * kChunk - 1); i < (chunk + 1) * kChunk && c.count < kChunk; ++i)
        if (exists(i, lz)) c.push(argument(i, lz));
      look_at(c, 61, worst, findings);
      looked_at += c.count;
    }
  }
  // The ends of each run of leading zeros, where N turns from its largest to its smallest.
  float before = 0;
  for (int lz = 0; lz <= 64; ++lz) {
    const uint64_t high = ~uint64_t{0} >> std::min(lz, 63),
                   low = lz < 63 ? (high >> 1) + 1 : high;  // largest u, smallest
    const uint64_t ends[] = {lz == 64 ? 0 : high, lz == 64 ? 0 : low};
    for (const uint64_t u : ends) {
      const float e = spec::variate(u);
      const long double exact = 65 * logl(2.0L) - logl(2 * static_cast<long double>(u) + 1);
      const long double from_one = u >> 63 ? -log1pl(-static_cast<long double>(2 * ~u + 1) * 0x1p-65L) : exact;
      if (!(fabsl(static_cast<long double>(e) / from_one - 1) < 0x1p-22L))
        findings.add("variate of 0x%016llx is off", static_cast<unsigned long long>(u));
      if (e < before) findings.add("variate falls at 0x%016llx", static_cast<unsigned long long>(u));
      before = e;
    }
  }
  printf("  %lld arguments; the worst relative error seen is 2^%.4f\n", static_cast<long long>(looked_at),
         static_cast<double>(log2l(worst)));
}

}  // namespace onedraw::tests
