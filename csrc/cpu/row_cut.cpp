// Section 4 of the specification: from a scanned row to the last token that the filters keep.
//
// A small k, or a nucleus in a few blocks, is selected among the candidates of these blocks. Where that would be much
// of the row, an interval of values is halved instead, each step an exact count or mass of the row, until few tokens
// are in it; then only those are selected among. Either way the work is bounded, whatever the row.
#include <algorithm>

#include "bisect.h"
#include "cut.h"
#include "row.h"

namespace onedraw::cpu {

namespace {

constexpr int64_t kFewTokens = 2048;    // worth selecting among without another step
constexpr int64_t kSampledBlocks = 24;  // enough for a guess within a few hundredths of the row

bool top_k_is_on(const Job& job, const Settings& s) { return s.top_k > 0 && s.top_k < job.vocab; }

// What ties="keep" adds: all tokens of the last one's key.
uint64_t with_ties(const Row& row, uint64_t last) {
  return row.settings.ties_keep ? spec::order(spec::key_of_order(last), 0xFFFFFFFFu) : last;
}

// An interval of keys: the tokens from `low` on reach what is looked for, those from `high` on do not.
struct Interval {
  uint32_t low, high;
  int64_t count_low, count_high;

  bool one_key() const { return high - low <= 1; }  // all its tokens are equal
  bool small() const { return one_key() || count_low - count_high <= kFewTokens; }
};

struct Reached {
  bool enough;
  int64_t count;
};

// The tokens of some blocks, spread over the row, as an estimate of all.
class Sample {
 public:
  Sample(const Row& row, float least, float limit, bool by_mass) : at_(row.scratch.candidates), by_mass_(by_mass) {
    const int64_t step = std::max<int64_t>(1, row.blocks / kSampledBlocks);
    for (int64_t b = step / 2; b < row.blocks; b += step) {
      Scratch behind = row.scratch;
      behind.candidates += count_;
      count_ += row.kernel.gather(row.reader, row.settings, row.max, least, limit, b, b + 1, behind);
    }
    row.kernel.weigh(row.settings, row.max, at_, count_);
    sort_first(at_, count_, count_);
    for (int64_t i = 0; i < count_; ++i) total_ += weight(at_[i]);
  }

  // The key at which this share of the sample is reached; 0 if there is none.
  uint32_t key_at(double share) const {
    double sum = 0;
    for (int64_t i = 0; i < count_; ++i) {
      sum += weight(at_[i]);
      if (sum >= share * total_) return spec::key_of_order(at_[i].order);
    }
    return 0;
  }

 private:
  double weight(const Candidate& c) const {
    if (!by_mass_) return 1;
    return c.below > 60 ? 0.0 : static_cast<double>(c.m) / static_cast<double>(uint64_t{1} << c.below);
  }

  Candidate* at_;
  int64_t count_ = 0;
  double total_ = 0;
  bool by_mass_;
};

// reaches(value) -> Reached: whether the tokens of at least this value are enough, and how many they are.
template <class Reaches>
void step(Interval& in, uint32_t key, Reaches reaches) {
  if (key <= in.low || key >= in.high) return;
  const Reached reached = reaches(spec::value_of_key(key));
  (reached.enough ? in.low : in.high) = key;
  (reached.enough ? in.count_low : in.count_high) = reached.count;
}

// `high` of an interval that starts above the whole row.
uint32_t above_row(const Row& row) { return spec::key(row.max) + 1; }

// The value below which an interval's tokens are not wanted; NaN (none) above the whole row.
float limit_of(const Row& row, const Interval& interval) {
  return interval.high > spec::key(row.max) ? __builtin_nanf("") : spec::value_of_key(interval.high);
}

// Narrows until few tokens are left: first to a guess from a sample of the interval's tokens, in the order of tokens
// with weights: `quantile` of their count, or of their mass, is looked for. Then by halving.
template <class Reaches>
Interval narrow(const Row& row, Interval in, bool by_mass, double quantile, Reaches reaches) {
  if (!in.small()) {
    const Sample sample(row, spec::value_of_key(in.low), limit_of(row, in), by_mass);
    step(in, sample.key_at(quantile + 0.04), reaches);
    step(in, sample.key_at(quantile - 0.04), reaches);
  }
  for (bool by_value = true; !in.small(); by_value = !by_value)
    step(in, key_between(in.low, in.high, by_value), reaches);
  return in;
}

// The n-th token, by id, of those with this key; there are as many.
uint64_t nth_of_key(const Row& row, uint32_t key, int64_t n) {
  constexpr int64_t few = 64;  // blocks at a time: n is often small
  const float limit = key < spec::kKeyPosInf ? spec::value_of_key(key + 1) : __builtin_nanf("");
  for (int64_t b = 0;; b += few) {
    const int64_t count = row.kernel.gather(row.reader, row.settings, row.max, spec::value_of_key(key), limit, b,
                                            std::min(b + few, row.blocks), row.scratch);
    if (n <= count) return row.scratch.candidates[n - 1].order;
    n -= count;
  }
}

// R4.1
uint64_t cut_top_k(const Row& row) {
  const int64_t k = row.settings.top_k;
  Candidate* const c = row.scratch.candidates;
  if (k <= row.blocks / 4) {
    const Threshold t = row.threshold(k);
    if (t.value > -__builtin_inff() && t.blocks <= 2 * k + 64)
      return with_ties(row, select_rank(c, row.gather(t.value), k));
  }
  const auto reaches = [&](float value) {
    const int64_t count = row.kernel.count(row.reader, value, row.scratch);
    return Reached{count >= k, count};
  };
  const uint32_t lowest = spec::kKeyNegInf + 1;
  const Reached all = reaches(spec::value_of_key(lowest));
  if (!all.enough) return spec::kKeepAll;
  const double quantile = static_cast<double>(k) / static_cast<double>(all.count);
  const Interval in = narrow(row, {lowest, above_row(row), all.count, 0}, false, quantile, reaches);
  const int64_t rest = k - in.count_high;
  if (in.one_key()) return with_ties(row, nth_of_key(row, in.low, rest));
  return with_ties(row, select_rank(c, row.gather(spec::value_of_key(in.low), limit_of(row, in)), rest));
}

// A key from which on the tokens reach the target: those left out are lighter than a share of what may be left out. In
// any case the interval ends at `lowest`.
uint32_t nucleus_bound(const Row& row, uint32_t lowest, uint64_t target) {
  const uint64_t spare = (row.mass - target) / (2 * static_cast<uint64_t>(row.job.vocab));
  const spec::Weight top = spec::weight(row.max, row.settings.scale);
  const int octaves = spec::kRowBits - (63 - spec::leading_zeros(spare | 1)) + 1;  // 2^-octaves is below spare
  const double z = static_cast<double>(top.n) - octaves;
  const uint32_t k = spec::key(static_cast<float>(z / static_cast<double>(row.settings.scale)));
  return std::max(lowest, std::min(k, spec::key(row.max)));
}

// R4.2 within the prefix that ends with row.last and has the mass row.mass.
uint64_t cut_top_p(const Row& row) {
  const uint64_t target = spec::top_p_target(row.settings.top_p, row.mass);
  const float lowest = value_of_order(row.last);
  Candidate* const c = row.scratch.candidates;
  const auto select = [&](const Interval& in) {
    const Kept base = in.count_high ? row.keep(spec::order(in.high, 0xFFFFFFFFu)) : Kept{};
    int64_t count = row.gather(spec::value_of_key(in.low), limit_of(row, in));
    count = std::remove_if(c, c + count, [&](const Candidate& a) { return a.order < row.last; }) - c;
    row.kernel.weigh(row.settings, row.max, c, count);
    const auto select = in.one_key() ? select_mass_of_ties : select_mass;
    return with_ties(row, select(c, count, base, target, row.scratch));
  };
  uint64_t mass_low = row.mass, mass_high = 0;  // of the tokens from the interval's ends on
  const auto reaches = [&](float value) {
    const Kept kept = row.keep(std::max(row.last, order_through(value)));
    (kept.mass >= target ? mass_low : mass_high) = kept.mass;
    return Reached{kept.mass >= target, kept.count};
  };
  Interval in{spec::key(lowest), above_row(row), row.last == spec::kKeepAll ? row.job.vocab : row.kept.count, 0};
  for (const int64_t blocks : {32, 128}) {
    if (!in.small() && in.low == spec::key(lowest)) step(in, spec::key(row.threshold(blocks).value), reaches);
  }
  if (!in.small()) step(in, nucleus_bound(row, in.low, target), reaches);
  const double quantile = static_cast<double>(target - mass_high) / static_cast<double>(mass_low - mass_high);
  return select(narrow(row, in, true, quantile, reaches));
}

// R4.3: weights are monotone in keys, so the lowest key that passes is found by halving.
uint64_t cut_min_p(const Row& row) {
  const spec::Weight top = spec::weight(row.max, row.settings.scale);
  uint32_t fails = spec::kKeyNegInf, passes = spec::key(row.max);
  while (passes - fails > 1) {
    const uint32_t middle = fails + (passes - fails) / 2;
    const spec::Weight w = spec::weight(spec::value_of_key(middle), row.settings.scale);
    (spec::passes_min_p(w, top, row.settings.min_p) ? passes : fails) = middle;
  }
  return spec::order(passes, 0xFFFFFFFFu);
}

}  // namespace

bool wants_masses(const Job& job, const Settings& s) {
  if (s.greedy) return false;
  if (job.kept_mass) return true;
  return !top_k_is_on(job, s) && (s.top_p < 1 || !(s.min_p > 0));
}

void cut_row(Row& row) {
  const Settings& s = row.settings;
  const bool by_k = top_k_is_on(row.job, s), by_p = s.top_p < 1, by_min = s.min_p > 0;
  row.is_filtered = by_k || by_p || by_min;
  row.last = spec::kKeepAll;
  if (wants_masses(row.job, s)) row.mass_all = row.kernel.align(s, row.max, row.blocks, row.scratch);
  row.mass = row.mass_all;
  if (!row.is_filtered) return;
  if (by_k) row.last = cut_top_k(row);
  if (by_p) {
    if (by_k) {
      row.kept = row.keep(row.last);
      row.mass = row.kept.mass;
    }
    row.last = cut_top_p(row);
  }
  if (by_min) row.last = std::max(row.last, cut_min_p(row));
  row.kept = row.keep(row.last);
  row.mass = row.kept.mass;
}

}  // namespace onedraw::cpu
