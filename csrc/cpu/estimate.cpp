#include "estimate.h"

#include <algorithm>
#include <cmath>

#include "cut.h"

namespace onedraw::cpu {

namespace {

struct Sample {
  Candidate* c;
  int64_t count;
  double fraction;  // of the row's blocks
};

// The candidates of blocks evenly spread over the row, less those behind row.last, in scratch.candidates.
Sample sample_tokens(const Row& row) {
  const int64_t blocks = std::clamp<int64_t>(row.blocks / 4, 1, 32);
  Scratch here = row.scratch;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t b = (2 * i + 1) * row.blocks / (2 * blocks);
    here.candidates +=
        row.kernel.gather(row.reader, row.settings, row.max, -__builtin_inff(), __builtin_nanf(""), b, b + 1, here);
  }
  Candidate* const c = row.scratch.candidates;
  const auto is_behind = [&](const Candidate& a) { return a.order < row.last; };
  return {c, std::remove_if(c, here.candidates, is_behind) - c,
          static_cast<double>(blocks) / static_cast<double>(row.blocks)};
}

// A plain sum: in the row's units, not by block.
struct SumOfWeights {
  uint64_t total = 0;

  static uint64_t weight(const Candidate& c) {
    return c.below > 63 ? 0 : static_cast<uint64_t>(c.m) << (spec::kRowBits - 23) >> c.below;
  }
  void add(const Candidate& c) { total += weight(c); }
  void remove(const Candidate& c) { total -= weight(c); }
};

// The candidates at which the sum, of `all` in the end, reaches `wanted`, give or take its spread.
Bracket bracket(Candidate* c, int64_t count, double wanted, double all, double spread, double sigmas) {
  Bracket found{0, spec::kKeyNaN};
  if (all < 1) return found;
  SumOfWeights sum;
  const auto target = [&](double mass) { return static_cast<uint64_t>(std::clamp(mass, 1.0, all)); };
  const Prefix middle = select(c, count, sum, target(wanted));
  if (middle.last == 0) return found;
  // A sum of weights up to w that is `spread` on average has a variance of w * spread or less.
  const double w = static_cast<double>(SumOfWeights::weight(c[middle.count - 1]));
  const double margin = sigmas * std::sqrt(w * spread) + 3 * w;
  if (wanted + margin < all) {
    const Prefix low = select(c + middle.count, count - middle.count, sum, target(wanted + margin));
    if (low.last) found.low = spec::key_of_order(low.last);
  }
  if (wanted - margin >= 1) {
    SumOfWeights above;
    const Prefix high = select(c, middle.count, above, target(wanted - margin));
    if (high.last) found.high = spec::key_of_order(high.last) + 1;
  }
  return found;
}

}  // namespace

Bracket bracket_of_count(const Row& row, double kept, double sigmas) {
  const Sample sample = sample_tokens(row);
  for (int64_t i = 0; i < sample.count; ++i) {
    sample.c[i].m = 1;
    sample.c[i].below = spec::kRowBits - 23;
  }
  const double all = static_cast<double>(sample.count), wanted = kept * all;
  return bracket(sample.c, sample.count, wanted, all, std::min(wanted, all - wanted), sigmas);
}

Bracket bracket_of_mass(const Row& row, double left_out, double sigmas) {
  const Sample sample = sample_tokens(row);
  row.kernel.weigh(row.settings, row.max, sample.c, sample.count);
  SumOfWeights sum;
  for (int64_t i = 0; i < sample.count; ++i) sum.add(sample.c[i]);
  // Heavy tokens are few: what they weigh in the sample says little. What is left out is many light ones.
  const double all = static_cast<double>(sum.total), rest = left_out * sample.fraction;
  return bracket(sample.c, sample.count, all - rest, all, rest, sigmas);
}

}  // namespace onedraw::cpu
