// Section 4 of the specification: from a scanned row to the last token that the filters keep.
//
// A small k, or a nucleus in a few blocks, is selected among the candidates of these blocks. Where that would be much
// of the row, a sample of it says between which values the cut probably is: what is above is counted (or weighed)
// exactly, and only what is between is selected among. Where the sample was wrong, the interval of values is halved,
// each step an exact look at the row. Either way the work is bounded, whatever the row.
#include <algorithm>

#include "../spec/bisect.h"
#include "cut.h"
#include "estimate.h"
#include "row.h"

namespace onedraw::cpu {

namespace {

// So few tokens are selected among at once: it takes about as long as another look at the row.
int64_t few_tokens(const Row& row) { return std::max<int64_t>(256, row.job.vocab / 32); }

bool top_k_is_on(const Job& job, const Settings& s) { return s.top_k > 0 && s.top_k < job.vocab; }

// What ties="keep" adds: all tokens of the last one's key.
uint64_t with_ties(const Row& row, uint64_t last) {
  return row.settings.ties_keep ? order_through(spec::key_of_order(last)) : last;
}

// An interval of keys: the tokens from `low` on reach what is looked for, those from `high` on do not.
struct Interval {
  uint32_t low, high;
  int64_t count_low, count_high;  // tokens from there on; at the low end perhaps an upper bound
  int64_t few;                    // tokens, at which the search ends

  bool one_key() const { return high - low <= 1; }  // all its tokens are equal
  bool small() const { return one_key() || count_low - count_high <= few; }
  bool has_inside(uint32_t key) const { return low < key && key < high; }
};

Interval whole_row(const Row& row, uint32_t lowest, int64_t count) {
  return {lowest, spec::key(row.max) + 1, count, 0, few_tokens(row)};
}

struct Reached {
  bool enough;
  int64_t count;
};

// reaches(key) -> Reached, for the tokens of at least this key.
template <class Reaches>
void narrow(Interval& in, uint32_t key, Reaches reaches) {
  if (in.small() || !in.has_inside(key)) return;
  const Reached reached = reaches(key);
  (reached.enough ? in.low : in.high) = key;
  (reached.enough ? in.count_low : in.count_high) = reached.count;
}

template <class Reaches>
void halve(Interval& in, Reaches reaches) {
  for (bool by_value = true; !in.small(); by_value = !by_value)
    narrow(in, key_between(in.low, in.high, by_value), reaches);
}

// The interval's tokens from `low` on, into scratch.candidates; returns how many.
int64_t gather_interval(const Row& row, const Interval& in, uint32_t low) {
  const float limit = in.high > spec::key(row.max) ? __builtin_nanf("") : spec::value_of_key(in.high);
  return row.gather(spec::value_of_key(low), limit);
}

// How many tokens of this key each block has, in the memory of the candidates.
const uint32_t* count_ties(const Row& row, uint32_t key) {
  uint32_t* const counts = reinterpret_cast<uint32_t*>(row.scratch.candidates);
  row.kernel.ties(row.reader, row.settings, row.max, spec::value_of_key(key), counts, row.scratch);
  return counts;
}

// The n-th (from 1) by id of the tokens of this key in block b.
uint64_t nth_in_block(const Row& row, uint32_t key, int64_t b, int64_t n) {
  const float limit = key < spec::kKeyPosInf ? spec::value_of_key(key + 1) : __builtin_nanf("");
  const int64_t count =
      row.kernel.gather(row.reader, row.settings, row.max, spec::value_of_key(key), limit, b, b + 1, row.scratch);
  if (n < 1 || n > count) return spec::kKeepAll;  // only if the logits were written to meanwhile
  return row.scratch.candidates[n - 1].order;
}

// The same in the whole row, which has as many.
uint64_t nth_of_key(const Row& row, uint32_t key, int64_t n) {
  const uint32_t* const counts = count_ties(row, key);
  int64_t b = 0;
  for (; b + 1 < row.blocks && n > counts[b]; ++b) n -= counts[b];
  return nth_in_block(row, key, b, n);
}

// R4.1
uint64_t cut_top_k(Row& row) {
  const int64_t k = row.settings.top_k;
  Candidate* const c = row.scratch.candidates;
  if (k <= row.blocks - row.blocks / 8) {
    const Threshold t = row.threshold(k);
    if (t.value > -__builtin_inff() && t.blocks <= 2 * k + 64) {
      const int64_t gathered = row.gather(t.value);
      if (gathered < k) return spec::kKeepAll;  // only if the logits were written to meanwhile
      row.held = select_rank(c, gathered, k);
      row.kernel.weigh(row.settings, row.max, c, k);
      row.kept = keep_candidates(c, k, row.scratch);
      return with_ties(row, row.held);
    }
  }
  const auto reaches = [&](uint32_t key) {
    const int64_t count = row.kernel.count(row.reader, spec::value_of_key(key), row.scratch);
    return Reached{count >= k, count};
  };
  const Reached all = reaches(spec::kKeyNegInf + 1);
  if (!all.enough) return spec::kKeepAll;
  Interval in = whole_row(row, spec::kKeyNegInf + 1, all.count);
  for (const double sigmas : {2.0, 8.0}) {
    if (in.small()) break;
    const Bracket about = bracket_of_count(row, static_cast<double>(k) / static_cast<double>(all.count), sigmas);
    narrow(in, about.low, reaches);
    narrow(in, about.high, reaches);
  }
  halve(in, reaches);
  const int64_t rest = k - in.count_high;
  if (in.one_key()) return with_ties(row, nth_of_key(row, in.low, rest));
  return with_ties(row, select_rank(c, gather_interval(row, in, in.low), rest));
}

// A key from which on the tokens reach the target, or `lowest`: those left out weigh less than 2^(1 - octaves) each,
// which is less than half of what may be left out, divided among all.
uint32_t nucleus_bound(const Row& row, uint32_t lowest, uint64_t target) {
  const uint64_t spare = row.mass - target;
  const uint64_t each = spare / (2 * static_cast<uint64_t>(row.job.vocab));
  if (each < 4) return lowest;  // roundings of the blocks' masses would count
  const int octaves = spec::kRowBits - (63 - spec::leading_zeros(each)) + 1;
  const double z = static_cast<double>(spec::weight(row.max, row.settings.scale).n) - octaves;
  if (z < -0x1p18 || z > 0x1p18) return lowest;  // a float32 of it would be too coarse
  return std::max(lowest, spec::key(static_cast<float>(z / static_cast<double>(row.settings.scale))));
}

// The last token of the nucleus, which the row then holds, if it is in the interval, not below `low`, and no more than
// so many tokens are to be selected among; else 0.
uint64_t select_nucleus(Row& row, const Interval& in, uint32_t low, uint64_t target, int64_t most = INT64_MAX) {
  if (in.count_high)
    row.hold(order_through(in.high));
  else
    row.hold_nothing();
  Candidate* const c = row.scratch.candidates;
  uint64_t last = 0;
  if (in.one_key()) {
    Candidate tie{spec::order(in.low, 0), 0, 0};
    row.kernel.weigh(row.settings, row.max, &tie, 1);
    const Tie end = extend_by_ties(tie, count_ties(row, in.low), row.blocks, target, row.scratch, row.kept);
    last = nth_in_block(row, in.low, end.block, end.n);
  } else {
    const int64_t gathered = gather_interval(row, in, low);
    if (gathered > most) return 0;
    const int64_t count = std::remove_if(c, c + gathered, [&](const Candidate& a) { return a.order < row.last; }) - c;
    row.kernel.weigh(row.settings, row.max, c, count);
    last = extend_to_mass(c, count, row.blocks, target, row.scratch, row.kept);
  }
  if (last) row.held = last;
  return last;
}

// R4.2 within the prefix that ends with row.last and has the mass row.mass.
uint64_t cut_top_p(Row& row) {
  const uint64_t target = spec::top_p_target(row.settings.top_p, row.mass);
  const auto reaches = [&](uint32_t key) {
    const Kept& kept = row.hold(std::max(row.last, order_through(key)));
    return Reached{kept.mass >= target, kept.count};
  };
  const uint32_t lowest = nucleus_bound(row, spec::key_of_order(row.last), target);
  Interval in = whole_row(row, lowest, row.last == spec::kKeepAll ? row.job.vocab : row.kept.count);
  // A nucleus is mostly in few blocks: try some, then more.
  for (int64_t blocks = 32; blocks < row.blocks && in.low == lowest && !in.small(); blocks *= 4)
    narrow(in, spec::key(row.threshold(blocks).value), reaches);
  for (const double sigmas : {2.0, 8.0}) {
    if (in.small()) break;
    const Bracket about = bracket_of_mass(row, static_cast<double>(row.mass - target), sigmas);
    narrow(in, about.high, reaches);
    if (in.small()) break;
    if (in.has_inside(about.low))  // no exact look at the lower end, if what is gathered shows that it is one
      if (const uint64_t last = select_nucleus(row, in, about.low, target, 8 * in.few)) return with_ties(row, last);
    narrow(in, about.low, reaches);
  }
  halve(in, reaches);
  return with_ties(row, select_nucleus(row, in, in.low, target));
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
  return order_through(passes);
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
    if (by_k) row.mass = row.hold(row.last).mass;
    row.last = cut_top_p(row);
  }
  if (by_min) row.last = std::max(row.last, cut_min_p(row));
  row.mass = row.hold(row.last).mass;
}

}  // namespace onedraw::cpu
