// Section 4 of the specification: where the filters cut a scanned row.
//
// A small k, or a nucleus in a few blocks, is selected among the candidates of these blocks, which are gathered in
// shared memory. Where that would be much of the row, a sample of it says between which values the cut probably is:
// what is above is counted and weighed exactly, and only what is between is gathered. Where the sample was wrong, the
// interval of keys is halved, each step an exact look at the row. Either way the work is bounded, whatever the row.
#pragma once

#include "guess.cuh"

namespace onedraw::cuda {

// Where to look in an interval that is not small.
template <DType dtype>
__device__ __noinline__ void narrow(Row<dtype> row) {
  Search& s = row->search;
  const int step = s.step;
  uint32_t low = 0, high = spec::kKeyNaN;
  if (step == 0) {
    if (s.target.is_mass)
      low = key_of_mass(row);
    else if (s.target.amount <= static_cast<uint64_t>(row->blocks / 2))
      low = key_of_blocks(row, static_cast<int64_t>(s.target.amount));
  }
  if (step <= 2 && !s.has(low)) {
    const float sigmas = step <= 1 ? 3 : 8;
    const Bracket about = s.target.is_mass ? bracket_of_mass(row, sigmas) : bracket_of_count(row, sigmas);
    low = about.low;
    high = about.high;
  }
  if (1 <= step && step <= 4 && !s.has(low) && !s.has(high)) {
    const Bracket about = bracket_between(s);
    low = about.low;
    high = about.high;
  }
  const bool has_low = s.has(low), has_high = s.has(high) && high > low;
  if (!has_low && !has_high) low = key_between(s.low, s.high, step % 2 == 0);
  if (thread() == 0) {
    s.at_low = has_low || !has_high ? low : s.low;
    s.at_high = has_high ? high : s.high;
  }
  __syncthreads();
}

// The last of the window's tokens with which the mass reaches the target. A plain sum of aligned weights is no more
// than the mass; where it is less, the token may be an earlier one.
template <DType dtype>
__device__ __noinline__ uint64_t select_mass(Row<dtype> row) {
  const uint64_t target = row->search.target.amount;
  const int count = gathered_through(row, row->search.within);
  int i = min(first_reaching(row, count, target - row->window.mass_high), count - 1);
  set_last(row, row->order[i]);
  hold_in_window(row);
  uint64_t mass = row->cut.mass;
  for (; i > 0; --i) {
    const Placed p = placed(row, row->order[i]);
    const uint64_t kept = row.kept_mass(p.block);
    const uint64_t less = mass - spec::aligned(kept, p.below) + spec::aligned(kept - p.weight, p.below);
    if (less < target) break;
    mass = less;
    __syncthreads();
    if (thread() == 0) {
      row->slot.kept_mass[p.block] = kept - p.weight;
      row->window.held -= 1;
      row->cut.held = 0;
    }
    __syncthreads();
  }
  return row->order[i];
}

// The n-th token by id, of those with this key in block b.
template <DType dtype>
__device__ uint64_t nth_of_block(Row<dtype> row, uint32_t key, int b, int n) {
  const int64_t id = static_cast<int64_t>(b) * spec::kBlock + thread();
  const bool is_one = thread() < spec::kBlock && id < row->reader.vocab && row.value_at(id) == spec::value_of_key(key);
  const unsigned own = __ballot_sync(kAll, is_one);
  __syncthreads();
  if (thread() % 32 == 0) row->reductions[thread() / 32] = own;
  if (thread() == 0) row->found = 0;
  __syncthreads();
  const int before = __popc(own & ((1u << thread() % 32) - 1)) +
                     (thread() < 32 ? 0 : __popc(static_cast<unsigned>(row->reductions[0])));
  if (is_one && before + 1 == n) row->found = static_cast<int>(id);
  __syncthreads();
  return spec::order(key, static_cast<uint32_t>(row->found));
}

// The last token that is needed of those with this key, which the last look has counted; and what is kept with it.
template <DType dtype>
__device__ __noinline__ uint64_t select_tie(Row<dtype> row) {
  const Target& target = row->search.target;
  const float value = spec::value_of_key(row->search.low);
  const auto gain = [&](int b, uint64_t n) {
    if (!target.is_mass || n == 0) return n;
    const float largest = row.block_max(b);
    const uint64_t w = row.block_weight(value, largest), kept = row.kept_mass(b);
    const uint32_t below = row.below(largest);
    return spec::aligned(kept + n * w, below) - spec::aligned(kept, below);
  };
  const int each = (row->blocks + kThreads - 1) / kThreads;
  const int from = min(row->blocks, thread() * each), end = min(row->blocks, from + each);
  uint64_t own = 0;
  for (int b = from; b < end; ++b) own += gain(b, row.block_mass(b));
  uint64_t sum = scan_all(own, row->reductions).before;
  const uint64_t rest =
      target.amount - (target.is_mass ? row->window.mass_high : static_cast<uint64_t>(row->window.count_high));
  if (thread() == 0) row->list[0] = {0, 1};
  __syncthreads();
  if (sum < rest && sum + own >= rest) {
    int b = from;
    for (; b + 1 < end; ++b) {
      const uint64_t here = gain(b, row.block_mass(b));
      if (sum + here >= rest) break;
      sum += here;
    }
    const uint64_t most = row.block_mass(b);
    uint64_t n = 1;
    while (n < most && sum + gain(b, n) < rest) ++n;
    row->list[0] = {b, static_cast<float>(n)};
  }
  __syncthreads();
  const ListedBlock at = row->list[0];
  const bool all = row->settings.ties_keep;
  int64_t count = 0;
  for (int b = thread(); b < row->blocks; b += kThreads) {
    const uint64_t n = all || b < at.block ? row.block_mass(b) : b == at.block ? static_cast<uint64_t>(at.largest) : 0;
    if (n == 0) continue;
    count += static_cast<int64_t>(n);
    row->slot.kept_mass[b] = row.kept_mass(b) + n * row.block_weight(value, row.block_max(b));
  }
  count = row.all(count, Add());
  const uint64_t mass = mass_of(row, row->slot.kept_mass);
  const uint64_t last =
      all ? order_through(row->search.low) : nth_of_block(row, row->search.low, at.block, static_cast<int>(at.largest));
  if (thread() == 0) {
    row->cut.count = row->window.count_high + count;
    row->cut.mass = mass;
    row->cut.held = last;
  }
  return last;
}

// After a look: what it says of the ends of the interval. Whether the cut is in what was looked at.
__device__ inline bool learn(Search& s, const Window& found) {
  if (s.target.reached(found.count_high, found.mass_high)) {
    s.low = s.at_high;
    s.count_low = found.count_high;
    s.mass_low = found.mass_high;
    return false;
  }
  if (!s.target.reached(found.count_low, found.mass_low)) {
    s.high = s.at_low;
    s.count_high = found.count_low;
    s.mass_high = found.mass_low;
    return false;
  }
  s.low = s.at_low;
  s.high = s.at_high;
  s.count_low = found.count_low;
  s.count_high = found.count_high;
  s.mass_low = found.mass_low;
  s.mass_high = found.mass_high;
  return true;
}

// A step of the search, around its look.
template <DType dtype>
__device__ __noinline__ void begin_step(Row<dtype> row) {
  if (!row->search.is_small()) narrow(row);
  const uint64_t through = order_through(row->search.at_low), within = row->search.within;
  tell(row, through > within ? through : within, order_through(row->search.at_high), row->search.target.is_mass);
}

// Whether the search is over.
template <DType dtype>
__device__ __noinline__ bool end_step(Row<dtype> row) {
  constexpr int kMostSteps = 80;  // only if the logits were written to meanwhile
  Search& s = row->search;
  if (thread() == 0) {
    row->found = learn(s, row->window);
    s.at_low = s.low;
    s.at_high = s.high;
    s.step += 1;
  }
  __syncthreads();
  uint64_t last = spec::kKeepAll;
  if (row->found && row->window.is_gathered())
    last = s.target.is_mass ? select_mass(row) : row->order[static_cast<int64_t>(s.target.amount) - s.count_high - 1];
  else if (row->found && s.high - s.low == 1)
    last = select_tie(row);
  else if (s.high != s.low && s.step < kMostSteps)
    return false;
  if (thread() == 0) s.last = last;
  __syncthreads();
  return true;
}

// The last token of the shortest prefix that reaches the target, of the prefix that ends with `within`; kKeepAll where
// all of it does not.
template <DType dtype>
__device__ uint64_t shortest_prefix(Row<dtype> row) {
  do {
    begin_step(row);
    look_as_told(row);
  } while (!end_step(row));
  return row->search.last;
}

// Its search begins.
template <DType dtype>
__device__ void search_for(Row<dtype> row, const Target& target, uint64_t within) {
  if (thread() == 0) {
    const uint32_t low = spec::key_of_order(within), high = spec::key(row->max) + 1;
    row->search = {target, within, low, high, row->reader.vocab, 0, row->cut.mass, 0, low, high, 0, 0};
  }
  __syncthreads();
}

// R4.3: weights are monotone in keys, so the lowest key that passes is found by halving.
template <DType dtype>
__device__ __noinline__ uint64_t cut_min_p(Row<dtype> row) {
  const spec::Weight top = weight(row->settings, row->max);
  uint32_t fails = spec::kKeyNegInf, passes = spec::key(row->max);
  while (passes - fails > 1) {
    const uint32_t middle = fails + (passes - fails) / 2;
    const spec::Weight w = weight(row->settings, spec::value_of_key(middle));
    (spec::passes_min_p(w, top, row->settings.min_p) ? passes : fails) = middle;
  }
  return order_through(passes);
}

__device__ inline bool is_top_k(const Settings& s, int64_t vocab) { return s.top_k > 0 && s.top_k < vocab; }

// Whether the scan must find the mass of everything.
__device__ inline bool wants_masses(const Job& job, const Settings& s) {
  if (s.greedy) return false;
  if (job.kept_mass) return true;
  return !is_top_k(s, job.vocab) && (s.top_p < 1 || !(s.min_p > 0));
}

// The row's cut, whose blocks' masses then are in the slot. Settings are read where they are asked for, so that no
// thread keeps them.
template <DType dtype>
__device__ void cut(Row<dtype> row, bool needs_mass) {
  const Settings& s = row->settings;
  const auto by_k = [&] { return is_top_k(s, row->reader.vocab); };
  const auto by_p = [&] { return s.top_p < 1; };
  const auto by_min = [&] { return s.min_p > 0; };
  uint64_t mass = 0;
  if (wants_masses(row->job, s) && (needs_mass || by_p())) mass = mass_of(row, row->slot.block_mass);
  if (thread() == 0) {
    row->cut = {by_k() || by_p() || by_min(), spec::kKeepAll, 0, mass, mass, 0};
    row->window = {};
  }
  __syncthreads();
  const auto with_ties = [&](uint64_t last) { return s.ties_keep ? order_through(spec::key_of_order(last)) : last; };
  if (by_k()) {
    search_for(row, {false, static_cast<uint64_t>(s.top_k)}, spec::kKeepAll);
    const uint64_t last = with_ties(shortest_prefix(row));
    set_last(row, last);
    if (by_p()) hold(row);
  }
  if (by_p()) {
    search_for(row, {true, spec::top_p_target(s.top_p, row->cut.mass)}, row->cut.last);
    const bool in_window = row->window.has(row->cut.last) && row->window.mass_high < row->search.target.amount;
    set_last(row, with_ties(in_window ? select_mass(row) : shortest_prefix(row)));
  }
  if (by_min()) {
    const uint64_t passes = cut_min_p(row);
    if (passes > row->cut.last) set_last(row, passes);
  }
  if (row->cut.is_filtered) hold(row);
}

}  // namespace onedraw::cuda
