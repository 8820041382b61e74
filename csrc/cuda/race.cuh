// Section 5 of the specification: the race among what is kept.
#pragma once

#include "cut.cuh"

namespace onedraw::cuda {

struct Racer {
  int64_t score = INT64_MAX;
  int64_t id = INT64_MAX;

  __device__ bool before(const Racer& other) const {
    return score != other.score ? score < other.score : id < other.id;
  }
  __device__ void consider(const Racer& other) {
    if (other.before(*this)) *this = other;
  }
};

template <DType dtype>
__device__ Racer first_of_all(const Row<dtype>& row, Racer mine) {
  const int64_t score = row.all(mine.score, Min());
  return {score, row.all(mine.score == score ? mine.id : INT64_MAX, Min())};
}

__device__ __noinline__ float variate(const Settings& s, spec::Level level, uint32_t sample, int64_t id) {
  return spec::variate(spec::random_bits(s.noise, level, sample, static_cast<uint32_t>(id)));
}

// The block of one sample: all blocks race, or those that hold kept tokens.
template <DType dtype>
__device__ __noinline__ int block_race(const Row<dtype>& row, const Cut& cut, uint32_t sample) {
  Racer best;
  for (int b = static_cast<int>(threadIdx.x); b < row.blocks; b += kThreads) {
    const uint64_t mass = cut.is_filtered ? row.slot.kept_mass[b] : row.block_mass(b);
    if (mass == 0) continue;
    const spec::Weight w = spec::mass_weight(mass, -static_cast<int64_t>(row.below(row.block_max(b))));
    best.consider({spec::score(variate(row.settings, spec::Level::block, sample, b), w.m, w.n), b});
  }
  return static_cast<int>(first_of_all(row, best).id);
}

// The token of one sample: the kept tokens of a block race by their own weights.
template <DType dtype>
__device__ __noinline__ int64_t token_race(const Row<dtype>& row, const Cut& cut, int block, uint32_t sample) {
  Racer best;
  const int64_t id = static_cast<int64_t>(block) * spec::kBlock + threadIdx.x;
  if (threadIdx.x < spec::kBlock && id < row.reader.vocab) {
    const float x = edited_value(row.reader, id);
    if (Keeps(cut.last)(x, id)) {
      const spec::Weight w = weight(row.settings, x);
      best = {spec::score(variate(row.settings, spec::Level::token, sample, id), w.m, w.n - row.n_row), id};
    }
  }
  return first_of_all(row, best).id;
}

// The first in the flat race behind `previous`.
template <DType dtype>
__device__ __noinline__ Racer next_of_flat_race(const Row<dtype>& row, const Cut& cut, const Racer& previous) {
  const Keeps keeps(cut.last);
  Racer best;
  row.for_blocks(keeps.value, [&](int b, float, const auto& t) {
    for (int i = 0; i < Row<dtype>::kTokens; ++i) {
      const int64_t id = row.first_id(b) + i;
      if (!keeps(t.x[i], id)) continue;
      const spec::Weight w = weight(row.settings, t.x[i]);
      const Racer racer{spec::score(variate(row.settings, spec::Level::flat, 0, id), w.m, w.n - row.n_row), id};
      if (previous.before(racer)) best.consider(racer);
    }
  });
  return first_of_all(row, best);
}

}  // namespace onedraw::cuda
