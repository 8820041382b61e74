// Section 6 of the specification: what is told of a draw.
#include <algorithm>
#include <cstring>

#include "answer.h"
#include "row.h"

namespace onedraw::cpu {

namespace {

using spec::Split;

uint32_t block_of(const Candidate& c) { return spec::id_of_order(c.order) / spec::kBlock; }

// R6.4. In a block, distances count from its largest token, so that their sum fits in 64 bits; scratch.kept_mass has the
// sum of weights, scratch.racer_mass that of weight times distance, by block.
float entropy(Row& row) {
  row.gather_all();
  Scratch& s = row.scratch;
  const Split first = spec::split(row.max, row.settings.scale);
  const auto block_distance = [&](uint32_t b) {
    return spec::grid_distance(first, spec::split(s.block_max[b], row.settings.scale));
  };
  const auto weight_of = [&](const Candidate& c) {
    const uint32_t below = s.block_below[block_of(c)];
    return below > spec::kFarApart ? 0u : spec::block_weight(c.m, static_cast<int64_t>(c.below) - below);
  };
  for (int64_t i = 0; i < row.kept.count; ++i) {
    const Candidate& c = row.kept.at[i];
    const uint32_t w = weight_of(c), b = block_of(c);
    if (w == 0) continue;
    if (s.kept_mass[b] == 0) s.racer_mass[b] = 0;
    const float x = spec::value_of_key(spec::key_of_order(c.order));
    s.kept_mass[b] += w;
    s.racer_mass[b] += w * (spec::grid_distance(first, spec::split(x, row.settings.scale)) - block_distance(b));
  }
  unsigned __int128 total = 0;
  for (int64_t i = 0; i < row.kept.count; ++i) {
    const uint32_t b = block_of(row.kept.at[i]);
    if (s.kept_mass[b] == 0) continue;
    const unsigned __int128 sum = static_cast<unsigned __int128>(s.kept_mass[b]) * block_distance(b) + s.racer_mass[b];
    total += sum >> s.block_below[b];
    s.kept_mass[b] = 0;
  }
  return spec::entropy(total, row.mass, first.a);
}

int64_t count_candidates(const Row& row) {
  return row.kernel.count_before(row.reader, -__FLT_MAX__, row.blocks * spec::kBlock);
}

// A vector of the vocabulary's length, zero but for what is kept.
template <class T, class Entry>
void scatter(Row& row, T* out, Entry entry) {
  if (!out) return;
  T* const at = out + row.index * row.job.vocab;
  std::fill_n(at, row.job.vocab, T{});
  if (row.settings.greedy) {
    at[first_token(row)] = T{1};
    return;
  }
  row.gather_all();
  for (int64_t i = 0; i < row.kept.count; ++i) at[spec::id_of_order(row.kept.at[i].order)] = entry(row.kept.at[i]);
}

// The first n candidates, kept or not. Gathers anew: what was kept is gone after it.
void write_top(Row& row, uint64_t last_kept) {
  const Job& job = row.job;
  if (job.num_top == 0) return;
  const int64_t n_row = spec::split(row.max, row.settings.scale).n;
  Gathered g = row.gather(row.kernel.threshold(row.scratch.block_max, row.blocks, job.num_top, row.max));
  sort_first(g, job.num_top);
  for (int64_t i = 0; i < job.num_top; ++i) {
    const int64_t to = row.index * job.num_top + i;
    if (i >= g.count) {
      put(job.top_token, to, job.bad_token);
      put(job.top_logprob, to, -__builtin_inff());
      continue;
    }
    const uint64_t order = g.at[i].order;
    float logprob = -__builtin_inff();
    if (row.settings.greedy) {
      if (i == 0) logprob = 0;
    } else if (order >= last_kept) {
      logprob = spec::logprob(spec::split(spec::value_of_key(spec::key_of_order(order)), row.settings.scale), n_row,
                              row.mass);
    }
    put(job.top_token, to, static_cast<int64_t>(spec::id_of_order(order)));
    put(job.top_logprob, to, logprob);
  }
}

// R6.3. Scans the row as it came: what scratch knew of it is gone after this.
float raw_logprob(Row& row, int64_t token) {
  Reader plain = row.reader;
  plain.mask = Mask::none;
  plain.bias = nullptr;
  plain.bias_count = 0;
  Settings s{};
  s.scale = spec::scale_of(1);
  row.scratch.has_nan = false;
  row.kernel.scan(plain, s, 0, row.blocks, true, row.scratch);
  if (row.scratch.has_nan) return __builtin_nanf("");
  const float x = raw_value(plain, token);
  if (x == -__builtin_inff()) return x;
  const float max = row.kernel.floor(row.scratch.block_max, row.blocks);
  row.kernel.distances(s, max, row.blocks, row.scratch);
  uint64_t mass = 0;
  for (int64_t b = 0; b < row.blocks; ++b) mass += spec::aligned(row.scratch.block_mass[b], row.scratch.block_below[b]);
  return spec::logprob(spec::split(x, s.scale), spec::split(max, s.scale).n, mass);
}

}  // namespace

void write_answer(Row& row) {
  const Job& job = row.job;
  const int64_t r = row.index;
  const Settings& s = row.settings;
  put(job.status, r, static_cast<int32_t>(Status::ok));
  if (job.token && s.greedy) std::fill_n(job.token + r * job.num_samples, job.num_samples, first_token(row));
  const int64_t token = job.token ? job.token[r * job.num_samples] : first_token(row);
  const float x = value(row.reader, token);

  if (job.logprob)
    job.logprob[r] = s.greedy ? 0.0f : spec::logprob(spec::split(x, s.scale), spec::split(row.max, s.scale).n, row.mass);
  if (job.rank) job.rank[r] = 1 + row.kernel.count_before(row.reader, x, token);
  if (job.num_kept) job.num_kept[r] = s.greedy ? 1 : row.is_filtered ? row.kept.count : count_candidates(row);
  if (job.kept_mass) job.kept_mass[r] = s.greedy ? 1.0f : spec::share(row.mass, row.mass_all);
  if (job.entropy) job.entropy[r] = s.greedy ? 0.0f : entropy(row);
  scatter(row, job.kept, [](const Candidate&) { return uint8_t{1}; });
  scatter(row, job.probs, [&](const Candidate& c) { return spec::probability(c.m, c.below, row.mass); });
  uint64_t last_kept = 0;
  if (row.is_filtered && job.num_top) {
    last_kept = UINT64_MAX;
    for (int64_t i = 0; i < row.kept.count; ++i) last_kept = std::min(last_kept, row.kept.at[i].order);
  }
  write_top(row, last_kept);
  if (job.raw_logprob) job.raw_logprob[r] = raw_logprob(row, token);
}

}  // namespace onedraw::cpu
