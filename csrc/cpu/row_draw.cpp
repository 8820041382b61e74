// Section 5 of the specification: the race among what is kept.
#include <algorithm>
#include <vector>

#include "row.h"

namespace onedraw::cpu {

namespace {

// The second level: the kept tokens of the block that won.
int64_t token_race(const Row& row, uint32_t block, uint32_t sample) {
  Candidate* const c = row.scratch.candidates;
  const int64_t count = row.kernel.gather(row.reader, row.settings, row.max, value_of_order(row.last),
                                          __builtin_nanf(""), block, block + 1, row.scratch);
  row.kernel.weigh(row.settings, row.max, c, count);
  uint32_t id[spec::kBlock] = {}, below[spec::kBlock], least = kFar;
  uint64_t mass[spec::kBlock];
  float share[spec::kBlock] = {};
  int64_t n = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (c[i].order < row.last) continue;
    id[n] = spec::id_of_order(c[i].order);
    mass[n] = static_cast<uint64_t>(c[i].m) << (spec::kBlockBits - 23);
    below[n] = c[i].below;
    least = std::min(least, below[n++]);
  }
  if (n == 0) return static_cast<int64_t>(block) * spec::kBlock;  // only if the logits were written to meanwhile
  for (int64_t i = 0; i < n; ++i) share[i] = share_of(mass[i], below[i] - least);
  return id[row.kernel.race(row.settings.noise, spec::Level::token, sample, {id, mass, below, share, n, least})];
}

// The first level: all blocks, or those that hold kept tokens.
uint32_t block_race(const Row& row, uint32_t sample) {
  const Scratch& s = row.scratch;
  const Racers racers = row.is_filtered
                            ? Racers{s.racer_id, s.racer_mass, s.racer_below, s.racer_share, row.kept.blocks, 0}
                            : Racers{nullptr, s.block_mass, s.block_below, s.block_share, row.blocks, 0};
  if (racers.count == 0) return 0;  // only if the logits were written to meanwhile
  const int64_t winner = row.kernel.race(row.settings.noise, spec::Level::block, sample, racers);
  return racers.id ? racers.id[winner] : static_cast<uint32_t>(winner);
}

bool draw_without_replacement(Row& row) {
  struct Scored {
    int64_t score;
    int64_t id;
  };
  Candidate* const c = row.scratch.candidates;
  const int64_t gathered = row.gather(value_of_order(row.last)), wanted = row.job.num_samples;
  const int64_t n = std::remove_if(c, c + gathered, [&](const Candidate& a) { return a.order < row.last; }) - c;
  if (wanted > n) return false;
  row.kernel.weigh(row.settings, row.max, c, n);
  std::vector<int64_t> scores(static_cast<size_t>(n));
  row.kernel.scores(row.settings.noise, c, n, scores.data());
  std::vector<Scored> racers(static_cast<size_t>(n));
  for (size_t i = 0; i < racers.size(); ++i) racers[i] = {scores[i], spec::id_of_order(c[i].order)};
  std::partial_sort(racers.begin(), racers.begin() + wanted, racers.end(), [](const Scored& a, const Scored& b) {
    return a.score != b.score ? a.score < b.score : a.id < b.id;
  });
  for (int64_t j = 0; j < wanted; ++j) row.job.token[row.index * wanted + j] = racers[static_cast<size_t>(j)].id;
  return true;
}

}  // namespace

bool draw_row(Row& row) {
  if (!row.job.replacement) return draw_without_replacement(row);
  if (!row.job.token) return true;
  for (int64_t j = 0; j < row.job.num_samples; ++j) {
    const uint32_t sample = static_cast<uint32_t>(j);
    row.job.token[row.index * row.job.num_samples + j] = token_race(row, block_race(row, sample), sample);
  }
  return true;
}

int64_t first_token(const Row& row) {
  int64_t b = 0;
  while (b + 1 < row.blocks && row.scratch.block_max[b] != row.max) ++b;
  int64_t id = b * spec::kBlock;
  while (id + 1 < row.job.vocab && value(row.reader, id) != row.max) ++id;
  return id;
}

}  // namespace onedraw::cpu
