// R2.1 to R2.4 and R3.1 over all finite float32, both zeros and +inf, at several scales: the weight never falls from a
// key to the next, is within 2^-22 of sqrt(2) * 2^(x * scale), and every kernel has it, and the mass of blocks made of
// it, bit for bit.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "../spec/mass.h"
#include "exhaustive.h"

namespace onedraw::tests {
namespace {

constexpr int kChunk = 4096;  // keys
constexpr int kBlocks = kChunk / spec::kBlock;
constexpr uint32_t kFirst = spec::kKeyNegInf + 1;
constexpr int64_t kKeys = static_cast<int64_t>(spec::kKeyPosInf) - kFirst + 1;
constexpr int64_t kChunks = (kKeys + kChunk - 1) / kChunk;

// A run of keys, with the weight of each; one key more, the one before, where there is one.
struct Chunk {
  float scale;
  uint32_t first;
  int count;
  int64_t n[kChunk + 1];
  uint32_t m[kChunk + 1];
  int64_t plain_n[kChunk + 1];
  uint32_t plain_m[kChunk + 1];
  float x[kChunk + 1];

  Chunk(int64_t index, float a_scale) : scale(a_scale) {
    const int64_t begin = std::max<int64_t>(0, index * kChunk - 1);
    first = kFirst + static_cast<uint32_t>(begin);
    count = static_cast<int>(std::min(kKeys, (index + 1) * kChunk) - begin);
    best_target().weights(first, count, scale, n, m);
    for (int i = 0; i < count; ++i) x[i] = spec::value_of_key(first + static_cast<uint32_t>(i));
  }
};

void look_at_order(const Chunk& c, Findings& findings) {
  for (int i = 1; i < c.count; ++i)
    if (c.n[i] < c.n[i - 1] || (c.n[i] == c.n[i - 1] && c.m[i] < c.m[i - 1]))
      findings.add("weight falls at key 0x%08x, scale %a", c.first + static_cast<uint32_t>(i), double{c.scale});
}

void look_at_plain(Chunk& c, Findings& findings) {
  plain_target().weights(c.first, c.count, c.scale, c.plain_n, c.plain_m);
  for (int i = 0; i < c.count; ++i)
    if (c.n[i] != c.plain_n[i] || c.m[i] != c.plain_m[i])
      findings.add("weight of %a, scale %a, depends on the target", double{c.x[i]}, double{c.scale});
}

long double worst_error(const Chunk& c, int step, Findings& findings) {
  long double worst = 0;
  for (int i = 0; i < c.count; i += step) {
    const long double t = static_cast<long double>(c.x[i]) * static_cast<long double>(c.scale);  // exact
    if (!(fabsl(t) < 0x1p61L)) continue;
    const long double exact = exp2l(0.5L + (t - static_cast<long double>(c.n[i])));
    const long double error = fabsl(static_cast<long double>(c.m[i]) * 0x1p-23L / exact - 1);
    worst = std::max(worst, error);
    if (!(error < 0x1p-22L)) findings.add("weight of %a, scale %a, is off", double{c.x[i]}, double{c.scale});
  }
  return worst;
}

Settings settings_of(float scale) {
  Settings s{};
  s.scale = scale;
  s.top_p = 1;
  return s;
}

// Kernel::weigh, below the value row_max.
void look_at_weigh(const Chunk& c, const cpu::Kernel& kernel, float row_max, Findings& findings) {
  cpu::Candidate candidates[kChunk + 1];
  for (int i = 0; i < c.count; ++i)
    candidates[i].order = spec::order(c.first + static_cast<uint32_t>(i), static_cast<uint32_t>(i));
  kernel.weigh(settings_of(c.scale), row_max, candidates, c.count);
  const int64_t top = spec::weight(row_max, c.scale).n;
  for (int i = 0; i < c.count; ++i) {
    const int64_t below = std::min<int64_t>(top - c.n[i], cpu::kFar);
    if (candidates[i].m != c.m[i] || candidates[i].below != below)
      findings.add("%s: weigh(%a), scale %a, row_max %a: m 0x%x, below %u; not 0x%x, %lld", kernel.name, double{c.x[i]},
                   double{c.scale}, double{row_max}, candidates[i].m, candidates[i].below, c.m[i],
                   static_cast<long long>(below));
  }
}

// Kernel::scan of the chunk's values as a row; each block is led by `leader`, if that is a number.
void look_at_scan(const Chunk& c, const cpu::Kernel& kernel, float leader, Findings& findings) {
  const bool led = leader == leader;
  const int begin = c.count > kChunk ? 1 : 0, count = c.count - begin;
  float x[kChunk];
  std::copy_n(c.x + begin, count, x);
  for (int i = 0; led && i < count; i += spec::kBlock) x[i] = leader;
  alignas(64) float block_max[kBlocks], block_share[kBlocks];
  alignas(64) uint64_t block_mass[kBlocks];
  cpu::Scratch scratch{};
  scratch.block_max = block_max;
  scratch.block_mass = block_mass;
  scratch.block_share = block_share;
  Reader reader{};
  reader.logits = x;
  reader.vocab = count;
  const int blocks = (count + spec::kBlock - 1) / spec::kBlock;
  kernel.scan(reader, settings_of(c.scale), 0, blocks, true, scratch);
  const spec::Weight top = spec::weight(leader, c.scale);
  for (int b = 0; b < blocks; ++b) {
    const int from = begin + b * spec::kBlock, to = std::min(from + spec::kBlock, c.count);
    const int64_t n_b = led ? top.n : c.n[to - 1];
    uint64_t mass = led ? spec::block_weight(top.m, 0) : 0;
    for (int i = from + led; i < to; ++i) mass += spec::block_weight(c.m[i], n_b - c.n[i]);
    if (block_mass[b] != mass || !(block_max[b] == (led ? leader : c.x[to - 1])))
      findings.add("%s: the mass of the block from %a, scale %a, leader %a: 0x%llx, not 0x%llx", kernel.name,
                   double{c.x[from]}, double{c.scale}, double{leader}, static_cast<unsigned long long>(block_mass[b]),
                   static_cast<unsigned long long>(mass));
  }
}

// Leaders and row maxima: at the upper edge of the fast form, at 0, at its lower edge, beyond it; the lowest that the
// chunk allows counts from `choice`.
float leader_of(const Chunk& c, int64_t choice) {
  const float edge = 0x1.fffp20f / c.scale, largest = c.x[c.count - 1];
  const float leaders[] = {-edge, 0.0f, edge, __FLT_MAX__};
  for (int64_t i = choice & 3; i < 4; ++i)
    if (largest <= leaders[i]) return leaders[i];
  return __builtin_inff();
}

void one_scale(const std::vector<UsableKernel>& kernels, float scale, int64_t stride, int64_t plain,
               Findings& findings) {
  long double worst = 0;
#pragma omp parallel for schedule(dynamic, 64) reduction(max : worst)
  for (int64_t i = 0; i < kChunks; i += stride) {
    Chunk c(i, scale);
    look_at_order(c, findings);
    worst = std::max(worst, worst_error(c, 256, findings));
    const int64_t turn = i / stride;
    const float leader = leader_of(c, turn / 2);
    for (const UsableKernel& k : kernels) {
      if (!k.kernel) continue;
      // Without a fused multiply-add everything takes several times as long.
      const std::string name = k.kernel->name;
      if ((name == "scalar" || name == "wide") && turn % 8 > 1) continue;
      look_at_weigh(c, *k.kernel, turn % 2 ? leader : c.x[c.count - 1], findings);
      look_at_scan(c, *k.kernel, __builtin_nanf(""), findings);
      if (turn % 2 == 0) look_at_scan(c, *k.kernel, leader, findings);
    }
    if (turn % plain == 0) look_at_plain(c, findings);
  }
  printf("  scale %-10.6g the worst relative error seen is 2^%.4f\n", double{scale}, static_cast<double>(log2l(worst)));
  fflush(stdout);
}

}  // namespace

void every_weight(const std::vector<UsableKernel>& kernels, Effort effort, Findings& findings) {
  printf("  %lld keys\n", static_cast<long long>(kKeys));
  // Temperature 1 and the ends of what is asked for, of which the thorough way leaves nothing out; then between them.
  const float scales[] = {spec::kLog2E, 1e-2f,      1e7f, 0.1f, 0.7213475f, 1.0f,
                          2.0609929f,   14.426950f, 1e3f, 1e5f, 1442695.0f};
  for (int i = 0; i < 11; ++i) {
    const int64_t stride = effort == Effort::thorough ? (i < 3 ? 1 : 5)
                           : effort == Effort::usual  ? (i < 1 ? 5 : 97)
                                                      : 997;
    one_scale(kernels, scales[i], stride, i < 1 ? 1 : 16, findings);
  }
}

}  // namespace onedraw::tests
