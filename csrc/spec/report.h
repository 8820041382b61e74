// Rules R6.1 to R6.5: what is told about a draw, in float64, each operation named.
#pragma once

#include "mass.h"

namespace onedraw::spec {

constexpr double kLn2Double = 0x1.62e42fefa39efp-1;
constexpr double kLnSqrt2 = 0x1.62e42fefa39efp-2;

// ln x of a positive normal x: 2^e * g with g in [sqrt(1/2), sqrt(2)), ln g = 2 atanh((g - 1) / (g + 1)) by its
// series. The remainder after 11 terms is below 2^-58; no libm, the same bits everywhere.
ONEDRAW_FN double log64(double x) {
  const uint64_t u = bits_of(x);
  int e = static_cast<int>(u >> 52) - 1023;
  double g = double_of((u & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
  if (g > 0x1.6a09e667f3bcdp+0) {
    g = mul(g, 0.5);
    e += 1;
  }
  const double s = div(add(g, -1.0), add(g, 1.0));
  const double z = mul(s, s);
  double p = 0;
  for (int i = 10; i >= 0; --i) p = add(mul(p, z), div(1.0, static_cast<double>(2 * i + 1)));
  return add(mul(static_cast<double>(e), kLn2Double), mul(mul(2.0, s), p));
}

ONEDRAW_FN double log_mass(uint64_t mass) {
  return add(log64(static_cast<double>(mass)), -mul(static_cast<double>(kRowBits), kLn2Double));
}

// R6.2: of a token with this split, in a row of exponent n_row and kept mass `mass`.
ONEDRAW_FN float logprob(const Split& s, int64_t n_row, uint64_t mass) {
  const double t = add(static_cast<double>(s.n - n_row), s.exact);
  return static_cast<float>(add(add(mul(t, kLn2Double), kLnSqrt2), -log_mass(mass)));
}

// R6.4
ONEDRAW_FN float share(uint64_t part, uint64_t whole) {
  return static_cast<float>(div(static_cast<double>(part), static_cast<double>(whole)));
}

// R6.4: m * 2^(n - n_row - 23) / (mass * 2^-40); `below` is n_row - n.
ONEDRAW_FN float probability(uint32_t m, int64_t below, uint64_t mass) {
  if (below > 1000) return 0.0f;
  const double power = double_of(static_cast<uint64_t>(1023 + kRowBits - 23 - below) << 52);
  return static_cast<float>(div(mul(static_cast<double>(m), power), static_cast<double>(mass)));
}

// R6.4: D, the distance of a token's grid point below the first token's, in steps of 2^-23.
ONEDRAW_FN uint64_t grid_distance(const Split& first, const Split& s) {
  const int64_t steps = static_cast<int64_t>(mul(add(static_cast<double>(first.a), -static_cast<double>(s.a)), 0x1p23));
  return static_cast<uint64_t>((first.n - s.n) * (int64_t{1} << 23) + steps);
}

// R6.4: from the row's sum A of weight times distance.
ONEDRAW_FN float entropy(unsigned __int128 a, uint64_t mass, float first_a) {
  const double high = static_cast<double>(static_cast<uint64_t>(a >> 64));
  const double low = static_cast<double>(static_cast<uint64_t>(a));
  const double sum = add(mul(high, 0x1p64), low);
  const double mean = div(mul(sum, 0x1p-51), mul(static_cast<double>(mass), 0x1p-40));
  const double top = add(mul(static_cast<double>(first_a), kLn2Double), kLnSqrt2);
  const double h = add(add(log_mass(mass), -top), mul(mean, kLn2Double));
  return h > 0 ? static_cast<float>(h) : 0.0f;
}

}  // namespace onedraw::spec
