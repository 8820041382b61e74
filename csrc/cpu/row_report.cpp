// Section 6 of the specification: what is told of a draw.
#include <algorithm>
#include <cstring>

#include "answer.h"
#include "cut.h"
#include "row.h"

namespace onedraw::cpu {

namespace {

using spec::Split;

// All kept candidates with their weights, in scratch.candidates.
int64_t gather_kept(const Row& row) {
  Candidate* const c = row.scratch.candidates;
  int64_t count = row.gather(value_of_order(row.last));
  count = std::remove_if(c, c + count, [&](const Candidate& a) { return a.order < row.last; }) - c;
  row.kernel.weigh(row.settings, row.max, c, count);
  return count;
}

uint32_t block_of(const Candidate& c) { return spec::id_of_order(c.order) / spec::kBlock; }

// R6.4. In a block, distances count from its largest token, so that their sum fits in 64 bits; scratch.kept_mass has
// the sum of weights, scratch.racer_mass that of weight times distance, by block.
float entropy(const Row& row) {
  const int64_t count = gather_kept(row);
  Scratch& s = row.scratch;
  const Split first = spec::split(row.max, row.settings.scale);
  const auto block_distance = [&](uint32_t b) {
    return spec::grid_distance(first, spec::split(s.block_max[b], row.settings.scale));
  };
  const auto weight_of = [&](const Candidate& c) {
    const uint32_t below = s.block_below[block_of(c)];
    return below > spec::kFarApart ? 0u : spec::block_weight(c.m, static_cast<int64_t>(c.below) - below);
  };
  for (int64_t i = 0; i < count; ++i) {
    const Candidate& c = s.candidates[i];
    const uint32_t w = weight_of(c), b = block_of(c);
    if (w == 0) continue;
    if (s.kept_mass[b] == 0) s.racer_mass[b] = 0;
    const float x = value_of_order(c.order);
    s.kept_mass[b] += w;
    s.racer_mass[b] += w * (spec::grid_distance(first, spec::split(x, row.settings.scale)) - block_distance(b));
  }
  unsigned __int128 total = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t b = block_of(s.candidates[i]);
    if (s.kept_mass[b] == 0) continue;
    const unsigned __int128 sum = static_cast<unsigned __int128>(s.kept_mass[b]) * block_distance(b) + s.racer_mass[b];
    total += sum >> s.block_below[b];
    s.kept_mass[b] = 0;
  }
  return spec::entropy(total, row.mass, first.a);
}

// A vector of the vocabulary's length, zero but for what is kept.
template <class T, class Entry>
void scatter(const Row& row, T* out, Entry entry) {
  if (!out) return;
  T* const at = out + row.index * row.job.vocab;
  std::fill_n(at, row.job.vocab, T{});
  if (row.settings.greedy) {
    at[first_token(row)] = T{1};
    return;
  }
  const int64_t count = gather_kept(row);
  for (int64_t i = 0; i < count; ++i) {
    const Candidate& c = row.scratch.candidates[i];
    at[spec::id_of_order(c.order)] = entry(c);
  }
}

// The first n candidates, kept or not.
void write_top(const Row& row) {
  const Job& job = row.job;
  if (job.num_top == 0) return;
  const int64_t n_row = spec::split(row.max, row.settings.scale).n;
  const Candidate* const c = row.scratch.candidates;
  const int64_t count = row.gather(row.threshold(job.num_top).value);
  sort_first(row.scratch.candidates, count, job.num_top);
  for (int64_t i = 0; i < job.num_top; ++i) {
    const int64_t to = row.index * job.num_top + i;
    if (i >= count) {
      put(job.top_token, to, job.bad_token);
      put(job.top_logprob, to, -__builtin_inff());
      continue;
    }
    const uint64_t order = c[i].order;
    float logprob = -__builtin_inff();
    if (row.settings.greedy) {
      if (i == 0) logprob = 0;
    } else if (order >= row.last) {
      logprob = spec::logprob(spec::split(value_of_order(order), row.settings.scale), n_row, row.mass);
    }
    put(job.top_token, to, static_cast<int64_t>(spec::id_of_order(order)));
    put(job.top_logprob, to, logprob);
  }
}

// R6.3. Scans the row as it came: what scratch knew of it is gone after this.
float raw_logprob(const Row& row, int64_t token) {
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
  const uint64_t mass = row.kernel.align(s, max, row.blocks, row.scratch);
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
    job.logprob[r] =
        s.greedy ? 0.0f : spec::logprob(spec::split(x, s.scale), spec::split(row.max, s.scale).n, row.mass);
  if (job.rank) job.rank[r] = 1 + row.kernel.count_before(row.reader, x, token);
  if (job.num_kept)
    job.num_kept[r] = s.greedy          ? 1
                      : row.is_filtered ? row.kept.count
                                        : row.kernel.count(row.reader, -__FLT_MAX__, row.scratch);
  if (job.kept_mass) job.kept_mass[r] = s.greedy ? 1.0f : spec::share(row.mass, row.mass_all);
  if (job.entropy) job.entropy[r] = s.greedy ? 0.0f : entropy(row);
  scatter(row, job.kept, [](const Candidate&) { return uint8_t{1}; });
  scatter(row, job.probs, [&](const Candidate& c) { return spec::probability(c.m, c.below, row.mass); });
  write_top(row);
  if (job.raw_logprob) job.raw_logprob[r] = raw_logprob(row, token);
}

}  // namespace onedraw::cpu
