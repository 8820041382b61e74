// The quick ones: keys of all float32, all float16 and bfloat16, all arguments of the mantissa's polynomial.
#include <algorithm>
#include <cmath>

#include "../spec/mass.h"
#include "../spec/widen.h"
#include "exhaustive.h"

namespace onedraw::tests {

// R1.4: the key orders as the float does, -0 as +0, and leads back to it.
void every_key(Effort effort, Findings& findings) {
  const int64_t stride = effort == Effort::quick ? 61 : 1;
#pragma omp parallel for schedule(static)
  for (int64_t chunk = 0; chunk < 1 << 16; chunk += stride) {
    for (uint32_t i = 0; i < 1 << 16; ++i) {
      const uint32_t u = static_cast<uint32_t>(chunk) << 16 | i;
      const float x = spec::float_of(u);
      const uint32_t k = spec::key(x);
      if (x != x) {
        if (k != spec::kKeyNaN) findings.add("key of the NaN 0x%08x is 0x%08x", u, k);
        continue;
      }
      if (spec::value_of_key(k) != x)
        findings.add("key of 0x%08x leads to 0x%08x", u, spec::bits_of(spec::value_of_key(k)));
      if (spec::is_candidate(k) != (x > -__builtin_inff())) findings.add("0x%08x as a candidate", u);
      const float y = spec::float_of(u + 1);  // a neighbour
      if (y == y && ((y < x) != (spec::key(y) < k) || (y == x) != (spec::key(y) == k)))
        findings.add("keys 0x%08x and 0x%08x are not in the order of the floats", k, spec::key(y));
    }
  }
}

namespace {

float widened(uint16_t h, DType dtype) {
  return dtype == DType::float16 ? spec::widen_float16(h) : spec::widen_bfloat16(h);
}

// The value by its definition: sign, exponent, fraction.
double float16_by_definition(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  const double magnitude = exponent == 31 ? (fraction ? std::nan("") : HUGE_VAL)
                           : exponent     ? std::ldexp(1024 + fraction, exponent - 25)
                                          : std::ldexp(fraction, -24);
  return h >> 15 ? -magnitude : magnitude;
}

// A kernel's own widening: the number among 63 that are -inf is the block's largest.
void widened_by(const cpu::Kernel& kernel, DType dtype, Findings& findings) {
  const uint16_t none = dtype == DType::float16 ? 0xFC00 : 0xFF80;
  std::vector<uint16_t> row(size_t{1} << 22, none);
  for (uint32_t h = 0; h < 1 << 16; ++h) {
    const float x = widened(static_cast<uint16_t>(h), dtype);
    if (x == x) row[h * 64 + h % 64] = static_cast<uint16_t>(h);
  }
  std::vector<float> block_max(1 << 16);
  cpu::Scratch scratch{};
  scratch.block_max = block_max.data();
  Reader reader{};
  reader.logits = row.data();
  reader.dtype = dtype;
  reader.vocab = static_cast<int64_t>(row.size());
  Settings settings{};
  settings.scale = 1;
  kernel.scan(reader, settings, 0, 1 << 16, false, scratch);
  if (scratch.has_nan) findings.add("%s: a NaN where there is none", kernel.name);
  for (uint32_t h = 0; h < 1 << 16; ++h) {
    const float x = widened(static_cast<uint16_t>(h), dtype);
    if (x == x && spec::bits_of(block_max[h]) != spec::bits_of(x))
      findings.add("%s: 0x%04x widens to 0x%08x, not 0x%08x", kernel.name, h, spec::bits_of(block_max[h]),
                   spec::bits_of(x));
  }
  for (uint32_t h = 0; h < 1 << 16; ++h) {
    const float x = widened(static_cast<uint16_t>(h), dtype);
    if (x == x) continue;
    row[h % 64] = static_cast<uint16_t>(h);
    scratch.has_nan = false;
    kernel.scan(reader, settings, 0, 64, false, scratch);
    row[h % 64] = none;
    if (!scratch.has_nan) findings.add("%s: the NaN 0x%04x is not seen", kernel.name, h);
  }
}

}  // namespace

// R1.2
void every_narrow_float(const std::vector<UsableKernel>& kernels, Findings& findings) {
  for (uint32_t h = 0; h < 1 << 16; ++h) {
    const double exact = float16_by_definition(static_cast<uint16_t>(h)),
                 x = double{spec::widen_float16(static_cast<uint16_t>(h))};
    if (!(x == exact && std::signbit(x) == std::signbit(exact)) && !(x != x && exact != exact))
      findings.add("float16 0x%04x widens to %.9g", h, x);
    if (spec::bits_of(spec::widen_bfloat16(static_cast<uint16_t>(h))) != h << 16) findings.add("bfloat16 0x%04x", h);
  }
  for (const UsableKernel& k : kernels) {
    if (!k.kernel) continue;
    widened_by(*k.kernel, DType::float16, findings);
    widened_by(*k.kernel, DType::bfloat16, findings);
  }
}

// R2.3, R2.4: p never leaves [1, 2 - 2^-23] (else the bits of m, which has no room for it, are far off), never falls,
// and is within 2^-22.3 of sqrt(2) * 2^a; what the grid of a adds to that (2^-24 in the exponent) leaves it within
// 2^-22.
void every_mantissa(Findings& findings) {
  constexpr int kHalf = 1 << 22;
  constexpr int kCount = 2 * kHalf + 1;
  std::vector<uint32_t> m(kCount), plain(kCount);
  best_target().mantissas(-kHalf, kCount, m.data());
  plain_target().mantissas(-kHalf, kCount, plain.data());
  long double worst = 0;
  for (int i = 0; i < kCount; ++i) {
    if (m[static_cast<size_t>(i)] != plain[static_cast<size_t>(i)])
      findings.add("mantissa of %d * 2^-23 depends on the target", i - kHalf);
    if (i > 0 && m[static_cast<size_t>(i)] < m[static_cast<size_t>(i) - 1])
      findings.add("mantissa falls at %d * 2^-23", i - kHalf);
    if (m[static_cast<size_t>(i)] >> 23 != 1) findings.add("mantissa of %d * 2^-23 has not 24 bits", i - kHalf);
    const long double exact = exp2l(0.5L + static_cast<long double>(i - kHalf) * 0x1p-23L);
    worst = std::max(worst, fabsl(static_cast<long double>(m[static_cast<size_t>(i)]) * 0x1p-23L / exact - 1));
  }
  if (!(worst < exp2l(-22.3L)))
    findings.add("a mantissa's relative error is 2^%.4f", static_cast<double>(log2l(worst)));
  printf("  %d arguments; the worst relative error is 2^%.4f\n", kCount, static_cast<double>(log2l(worst)));
}

}  // namespace onedraw::tests
