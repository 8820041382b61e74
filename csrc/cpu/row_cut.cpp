// Section 4 of the specification: from a scanned row to the last token that the filters keep.
//
// A small k, or a nucleus in a few blocks, is selected among the candidates of these blocks. Where that would be much
// of the row, an interval of values is halved instead, each step an exact count or mass of the row, until few tokens
// are in it; then only those are selected among. Either way the work is bounded, whatever the row.
#include <algorithm>
#include <cmath>

#include "bisect.h"
#include "cut.h"
#include "row.h"

namespace onedraw::cpu {

namespace {

// So few tokens are selected among at once: it takes about as long as another step over the row.
int64_t few_tokens(const Row& row) { return std::max<int64_t>(256, row.job.vocab / 32); }

bool top_k_is_on(const Job& job, const Settings& s) { return s.top_k > 0 && s.top_k < job.vocab; }

// What ties="keep" adds: all tokens of the last one's key.
uint64_t with_ties(const Row& row, uint64_t last) {
  return row.settings.ties_keep ? spec::order(spec::key_of_order(last), 0xFFFFFFFFu) : last;
}

// What is known of the tokens from a key on.
struct End {
  uint32_t key;
  int64_t count;  // at the low end perhaps an upper bound of it
  double level;   // what is looked for in: see narrow
};

// An interval of keys: the tokens from `low` on reach what is looked for, those from `high` on do not.
struct Interval {
  End low, high;
  int64_t few;  // tokens, at which the search ends

  bool one_key() const { return high.key - low.key <= 1; }  // all its tokens are equal
  bool small() const { return one_key() || low.count - high.count <= few; }
};

struct Reached {
  bool enough;
  int64_t count;
  double level;
};

// reaches(value) -> Reached, for the tokens of at least this value.
template <class Reaches>
void step(Interval& in, uint32_t key, Reaches reaches) {
  if (key <= in.low.key || key >= in.high.key) return;
  const Reached reached = reaches(spec::value_of_key(key));
  (reached.enough ? in.low : in.high) = {key, reached.count, reached.level};
}

// Where the level is expected, if its logarithm is linear in the value; the key may be outside the interval.
uint32_t guess(const Interval& in, double level) {
  const double low = std::log(in.low.level), high = std::log(in.high.level), x = (std::log(level) - low) / (high - low);
  const double a = spec::value_of_key(in.low.key), b = spec::value_of_key(in.high.key);
  return x > 0 && x < 1 ? spec::key(static_cast<float>(a + x * (b - a))) : in.low.key;
}

// Narrows until few tokens are left. A level is positive and monotone in the value: the number of tokens, or the mass
// that is left out. Its logarithm is about linear in the tail of a language model, so the first steps are guesses, on
// either side of where the wanted level is expected; halving follows for whatever else the row may be.
template <class Reaches>
Interval narrow(Interval in, double wanted, Reaches reaches) {
  for (int i = 0; !in.small(); ++i) {
    if (i % 4 < 2)
      step(in, guess(in, i % 4 == 0 ? wanted * 0.9 : wanted * 1.1), reaches);
    else
      step(in, key_between(in.low.key, in.high.key, i % 4 == 2), reaches);
  }
  return in;
}

// `high` of an interval that starts above the whole row.
uint32_t above_row(const Row& row) { return spec::key(row.max) + 1; }

// The value below which an interval's tokens are not wanted; NaN (none) above the whole row.
float limit_of(const Row& row, const Interval& interval) {
  return interval.high.key > spec::key(row.max) ? __builtin_nanf("") : spec::value_of_key(interval.high.key);
}

// The n-th token, by id, of those with this key; there are as many.
uint64_t nth_of_key(const Row& row, uint32_t key, int64_t n) {
  constexpr int64_t few = 64;  // blocks at a time: n is often small
  const float limit = key < spec::kKeyPosInf ? spec::value_of_key(key + 1) : __builtin_nanf("");
  for (int64_t b = 0; b < row.blocks; b += few) {
    const int64_t count = row.kernel.gather(row.reader, row.settings, row.max, spec::value_of_key(key), limit, b,
                                            std::min(b + few, row.blocks), row.scratch);
    if (n <= count) return row.scratch.candidates[n - 1].order;
    n -= count;
  }
  return spec::kKeepAll;  // only if the logits were written to meanwhile
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
    return Reached{count >= k, count, static_cast<double>(count) + 0.5};
  };
  const uint32_t lowest = spec::kKeyNegInf + 1;
  const Reached all = reaches(spec::value_of_key(lowest));
  if (!all.enough) return spec::kKeepAll;
  const Interval in = narrow({{lowest, all.count, all.level}, {above_row(row), 0, 0.5}, few_tokens(row)},
                             static_cast<double>(k), reaches);
  const int64_t rest = k - in.high.count;
  if (in.one_key()) return with_ties(row, nth_of_key(row, in.low.key, rest));
  return with_ties(row, select_rank(c, row.gather(spec::value_of_key(in.low.key), limit_of(row, in)), rest));
}

// A key from which on the tokens reach the target, or `lowest`: those left out weigh less than 2^-octaves each, which
// is less than half of what may be left out, divided among all.
uint32_t nucleus_bound(const Row& row, uint32_t lowest, uint64_t target) {
  const uint64_t spare = row.mass - target;
  const uint64_t each = spare / (2 * static_cast<uint64_t>(row.job.vocab));
  if (each < 4) return lowest;  // roundings of the blocks' masses would count
  const int octaves = spec::kRowBits - (63 - spec::leading_zeros(each)) + 1;
  const double z = static_cast<double>(spec::weight(row.max, row.settings.scale).n) - octaves;
  if (z < -0x1p18 || z > 0x1p18) return lowest;  // a float32 of it would be too coarse
  return std::max(lowest, spec::key(static_cast<float>(z / static_cast<double>(row.settings.scale))));
}

// R4.2 within the prefix that ends with row.last and has the mass row.mass.
uint64_t cut_top_p(const Row& row) {
  const uint64_t target = spec::top_p_target(row.settings.top_p, row.mass);
  const auto left_out = [&](uint64_t mass) { return static_cast<double>(row.mass - mass) + 0.5; };
  const auto reaches = [&](float value) {
    const Kept kept = row.keep(std::max(row.last, order_through(value)));
    return Reached{kept.mass >= target, kept.count, left_out(kept.mass)};
  };
  const uint32_t lowest = nucleus_bound(row, spec::key(value_of_order(row.last)), target);
  const int64_t at_most = row.last == spec::kKeepAll ? row.job.vocab : row.kept.count;
  Interval in{{lowest, at_most, left_out(target) / 4}, {above_row(row), 0, left_out(0)}, few_tokens(row)};
  // A nucleus is mostly in few blocks: try some, then more.
  for (int64_t blocks = 32; blocks < row.blocks && !in.small() && in.low.key == lowest; blocks *= 4)
    step(in, spec::key(row.threshold(blocks).value), reaches);
  in = narrow(in, left_out(target), reaches);

  const Kept base = in.high.count ? row.keep(spec::order(in.high.key, 0xFFFFFFFFu)) : Kept{};
  Candidate* const c = row.scratch.candidates;
  int64_t count = row.gather(spec::value_of_key(in.low.key), limit_of(row, in));
  count = std::remove_if(c, c + count, [&](const Candidate& a) { return a.order < row.last; }) - c;
  row.kernel.weigh(row.settings, row.max, c, count);
  const auto select = in.one_key() ? select_mass_of_ties : select_mass;
  return with_ties(row, select(c, count, base, target, row.scratch));
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
