// Section 4 of the specification: from a scanned row to the last token that the filters keep.
//
// A small k, or a nucleus in a few blocks, is selected among the candidates of these blocks. Where that would be much of
// the row, an interval of values is halved instead, each step an exact count or mass of the row, until few tokens are
// in it; then only those are selected among. Either way the work is bounded, whatever the row.
#include <algorithm>

#include "bisect.h"
#include "cut.h"
#include "row.h"

namespace onedraw::cpu {

namespace {

constexpr int64_t kFewTokens = 512;  // worth selecting among without another halving

bool top_k_is_on(const Job& job, const Settings& s) { return s.top_k > 0 && s.top_k < job.vocab; }

// What ties="keep" adds: all tokens of the last one's key.
uint64_t with_ties(const Row& row, uint64_t last) {
  return row.settings.ties_keep ? spec::order(spec::key_of_order(last), 0xFFFFFFFFu) : last;
}

// An interval of keys: the tokens from `low` on reach what is looked for, those from `high` on do not.
struct Interval {
  uint32_t low, high;
  int64_t count_low, count_high;

  bool small() const { return high - low <= 1 || count_low - count_high <= kFewTokens; }
};

// reaches(value) -> whether the tokens of at least this value are enough, and how many they are.
template <class Reaches>
Interval narrow(Interval interval, Reaches reaches) {
  for (bool by_value = true; !interval.small(); by_value = !by_value) {
    const uint32_t middle = key_between(interval.low, interval.high, by_value);
    const auto [enough, count] = reaches(spec::value_of_key(middle));
    if (enough) {
      interval.low = middle;
      interval.count_low = count;
    } else {
      interval.high = middle;
      interval.count_high = count;
    }
  }
  return interval;
}

struct Reached {
  bool enough;
  int64_t count;
};

// `high` of an interval that starts above the whole row.
uint32_t above_row(const Row& row) { return spec::key(row.max) + 1; }

// The value below which an interval's tokens are not wanted; NaN (none) above the whole row.
float limit_of(const Row& row, const Interval& interval) {
  return interval.high > spec::key(row.max) ? __builtin_nanf("") : spec::value_of_key(interval.high);
}

// R4.1
uint64_t cut_top_k(const Row& row) {
  const int64_t k = row.settings.top_k;
  Candidate* const c = row.scratch.candidates;
  if (k <= row.blocks / 4) {
    const int64_t count = row.gather(row.threshold(k));
    return k > count ? spec::kKeepAll : with_ties(row, select_rank(c, count, k));
  }
  const auto reaches = [&](float value) {
    const int64_t count = row.kernel.count(row.reader, value, row.scratch);
    return Reached{count >= k, count};
  };
  const uint32_t lowest = spec::kKeyNegInf + 1;
  const Reached all = reaches(spec::value_of_key(lowest));
  if (!all.enough) return spec::kKeepAll;
  const Interval in = narrow({lowest, above_row(row), all.count, 0}, reaches);
  const int64_t count = row.gather(spec::value_of_key(in.low), limit_of(row, in));
  return with_ties(row, select_rank(c, count, k - in.count_high));
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
    return with_ties(row, select_mass(c, count, base, target, row.scratch));
  };
  const auto reaches = [&](float value) {
    const Kept kept = row.keep(std::max(row.last, order_through(value)));
    return Reached{kept.mass >= target, kept.count};
  };
  Interval in{spec::key(lowest), above_row(row), row.job.vocab, 0};
  for (const int64_t blocks : {32, 128}) {
    const float value = row.threshold(blocks);
    if (value <= lowest) break;
    const Reached reached = reaches(value);
    if (reached.enough) {
      in.low = spec::key(value);
      in.count_low = reached.count;
      break;
    }
    in.high = spec::key(value);
    in.count_high = reached.count;
  }
  const uint32_t bound = nucleus_bound(row, in.low, target);
  if (in.low < bound && bound < in.high) {
    const Reached reached = reaches(spec::value_of_key(bound));
    (reached.enough ? in.low : in.high) = bound;
    (reached.enough ? in.count_low : in.count_high) = reached.count;
  }
  return select(narrow(in, reaches));
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
    if (by_k) row.mass = row.keep(row.last).mass;
    row.last = cut_top_p(row);
  }
  if (by_min) row.last = std::max(row.last, cut_min_p(row));
  row.kept = row.keep(row.last);
  row.mass = row.kept.mass;
}

}  // namespace onedraw::cpu
