// Section 5 of the specification: the race among what is kept.
#pragma once

#include "cut.cuh"

namespace onedraw::cuda {

template <DType dtype>
__device__ Racer first_of_all(Row<dtype> row, const Racer& mine) {
  const int64_t score = row.all(mine.score, Min());
  return {score, row.all(mine.score == score ? mine.id : INT64_MAX, Min())};
}

__device__ __noinline__ float variate(const Settings& s, spec::Level level, uint32_t sample, int64_t id) {
  return spec::variate(spec::random_bits(s.noise, level, sample, static_cast<uint32_t>(id)));
}

// The block of one sample: all blocks race, or those that hold kept tokens.
template <DType dtype>
__device__ __noinline__ int block_race(Row<dtype> row, uint32_t sample) {
  Racer best;
  for (int b = thread(); b < row->blocks; b += kThreads) {
    const uint64_t mass = row->cut.is_filtered ? row.kept_mass(b) : row.block_mass(b);
    if (mass == 0) continue;
    const spec::Weight w = spec::mass_weight(mass, -static_cast<int64_t>(row.below(row.block_max(b))));
    const Racer racer{spec::score(variate(row->settings, spec::Level::block, sample, b), w.m, w.n), b};
    if (racer.before(best)) best = racer;
  }
  return static_cast<int>(first_of_all(row, best).id);
}

// The token of one sample: the kept tokens of a block race by their own weights.
template <DType dtype>
__device__ __noinline__ int64_t token_race(Row<dtype> row, int block, uint32_t sample) {
  Racer best;
  const int64_t id = static_cast<int64_t>(block) * spec::kBlock + thread();
  if (thread() < spec::kBlock && id < row->reader.vocab) {
    const float x = row.value_at(id);
    if (Keeps(row->cut.last)(x, id)) {
      const spec::Weight w = weight(row->settings, x);
      best = {spec::score(variate(row->settings, spec::Level::token, sample, id), w.m, w.n - row->n_row), id};
    }
  }
  return first_of_all(row, best).id;
}

}  // namespace onedraw::cuda
