// Section 5 of the specification: the race among what is kept.
#include <algorithm>
#include <vector>

#include "row.h"

namespace onedraw::cpu {

namespace {

// The second level: the kept tokens of the block that won.
int64_t token_race(Row& row, uint32_t block, uint32_t sample) {
  if (!row.is_filtered)
    row.kept = {row.scratch.candidates, row.kernel.gather(row.reader, row.settings, row.max, -__builtin_inff(), block,
                                                          block + 1, row.scratch)};
  const Candidate* c = row.kept.at;
  uint32_t id[spec::kBlock], below[spec::kBlock], least = kFar;
  uint64_t mass[spec::kBlock];
  int64_t n = 0;
  for (int64_t i = 0; i < row.kept.count; ++i) {
    if (spec::id_of_order(c[i].order) / spec::kBlock != block) continue;
    id[n] = spec::id_of_order(c[i].order);
    mass[n] = static_cast<uint64_t>(c[i].m) << (spec::kBlockBits - 23);
    below[n] = c[i].below;
    least = std::min(least, below[n++]);
  }
  return id[row.kernel.race(row.settings.noise, spec::Level::token, sample, {id, mass, below, n, least})];
}

// The blocks that race: all of them, or those that hold kept tokens.
Racers block_racers(Row& row) {
  Scratch& s = row.scratch;
  if (!row.is_filtered) return {nullptr, s.block_mass, s.block_below, row.blocks, 0};
  KeptMass mass(s);
  int64_t n = 0;
  for (int64_t i = 0; i < row.kept.count; ++i) mass.add(row.kept.at[i]);
  for (int64_t i = 0; i < row.kept.count; ++i) {
    const uint32_t b = spec::id_of_order(row.kept.at[i].order) / spec::kBlock;
    if (s.kept_mass[b] == 0) continue;  // listed before
    s.racer_id[n] = b;
    s.racer_mass[n] = s.kept_mass[b];
    s.racer_below[n++] = s.block_below[b];
    s.kept_mass[b] = 0;
  }
  row.mass = mass.total();
  return {s.racer_id, s.racer_mass, s.racer_below, n, 0};
}

bool draw_without_replacement(Row& row) {
  struct Scored {
    int64_t score;
    int64_t id;
  };
  row.gather_all();
  const int64_t n = row.kept.count, wanted = row.job.num_samples;
  if (wanted > n) return false;
  std::vector<int64_t> scores(static_cast<size_t>(n));
  row.kernel.scores(row.settings.noise, row.kept.at, n, scores.data());
  std::vector<Scored> racers(static_cast<size_t>(n));
  for (size_t i = 0; i < racers.size(); ++i) racers[i] = {scores[i], spec::id_of_order(row.kept.at[i].order)};
  std::partial_sort(racers.begin(), racers.begin() + wanted, racers.end(), [](const Scored& a, const Scored& b) {
    return a.score != b.score ? a.score < b.score : a.id < b.id;
  });
  for (int64_t j = 0; j < wanted; ++j) row.job.token[row.index * wanted + j] = racers[static_cast<size_t>(j)].id;
  return true;
}

}  // namespace

bool draw_row(Row& row) {
  if (!row.job.replacement) return draw_without_replacement(row);
  const Racers racers = block_racers(row);
  if (!row.job.token) return true;
  int64_t* const tokens = row.job.token + row.index * row.job.num_samples;
  for (int64_t j = 0; j < row.job.num_samples; ++j) {
    const uint32_t sample = static_cast<uint32_t>(j);
    const int64_t winner = row.kernel.race(row.settings.noise, spec::Level::block, sample, racers);
    tokens[j] = token_race(row, racers.id ? racers.id[winner] : static_cast<uint32_t>(winner), sample);
  }
  return true;
}

int64_t first_token(const Row& row) {
  for (int64_t b = 0;; ++b)
    if (row.scratch.block_max[b] == row.max)
      for (int64_t id = b * spec::kBlock;; ++id)
        if (value(row.reader, id) == row.max) return id;
}

}  // namespace onedraw::cpu
