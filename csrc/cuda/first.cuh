// The first n tokens by a score, in order: the flat race without replacement, and the most likely tokens.
#pragma once

#include "race.cuh"

namespace onedraw::cuda {

// R5.5: in the flat race of all kept tokens.
template <DType dtype>
struct FlatScore {
  Row<dtype> row;

  __device__ int64_t operator()(float x, int64_t id) const {
    if (!Keeps(row->cut.last)(x, id)) return INT64_MAX;
    const spec::Weight w = weight(row->settings, x);
    return spec::score(variate(row->settings, spec::Level::flat, 0, id), w.m, w.n - row->n_row);
  }
};

// R1.7: in the order of tokens.
struct OrderScore {
  __device__ int64_t operator()(float x, int64_t id) const {
    const uint32_t key = spec::key(x);
    if (!spec::is_candidate(key)) return INT64_MAX;
    return static_cast<int64_t>(~spec::order(key, static_cast<uint32_t>(id)) ^ (uint64_t{1} << 63));
  }
};

// How many blocks have a token with a score up to this; their best ones are in the memory of kept masses.
template <DType dtype>
__device__ __noinline__ int count_reaching(Row<dtype> row, int64_t score) {
  int n = 0;
  for (int b = thread(); b < row->blocks; b += kThreads) n += static_cast<int64_t>(row.kept_mass(b)) <= score;
  return row.all(n, Add());
}

// The lowest score, or one near it, that so many blocks reach, or all blocks that have any.
template <DType dtype>
__device__ __noinline__ int64_t score_of_blocks(Row<dtype> row, int wanted) {
  int64_t least = INT64_MAX;
  for (int b = thread(); b < row->blocks; b += kThreads) {
    const int64_t score = static_cast<int64_t>(row.kept_mass(b));
    least = score < least ? score : least;
  }
  int64_t low = row.all(least, Min()), high = INT64_MAX - 1;
  if (low == INT64_MAX) return high;  // no block has any
  if (count_reaching(row, low) >= wanted) return low;
  const int all = count_reaching(row, high);
  if (all < wanted) return high;
  for (int reach = all; high - 1 > low && reach > wanted + wanted / 4;) {
    const int64_t middle = low + static_cast<int64_t>((static_cast<uint64_t>(high) - static_cast<uint64_t>(low)) / 2);
    const int here = count_reaching(row, middle);
    if (here >= wanted) {
      high = middle;
      reach = here;
    } else {
      low = middle;
    }
  }
  return high;
}

// The tokens behind `previous` with a score up to `limit`, as far as there is room in row->racer; returns how many.
template <DType dtype, class Score>
__device__ __noinline__ int gather_racers(Row<dtype> row, const Score score, int64_t previous, int64_t previous_id,
                                          int64_t limit, uint64_t last) {
  if (thread() == 0) row->gathered = 0;
  for_blocks(row, Keeps(last), [&](int b, float, const float (&x)[kTokens]) {
    if (static_cast<int64_t>(row.kept_mass(b)) > limit) return;
#pragma unroll
    for (int i = 0; i < kTokens; ++i) {
      const int64_t id = Vectors<dtype>::id(b, i);
      const Racer racer{score(x[i], id), id};
      if (racer.score > limit || !Racer{previous, previous_id}.before(racer)) continue;
      const int at = atomicAdd(&row->gathered, 1);
      if (at < kCandidates / 2) row->racer[at] = racer;
    }
  });
  return row->gathered;
}

// emit(i, id) for the first n tokens, of the prefix that ends with `last`, in the order of their scores (those of
// INT64_MAX are none), by one thread each; returns how many there are. The best token of each block bounds the scores
// of the first ones; so each round takes two looks, or a few more, and finds about a hundred tokens, at least one.
template <DType dtype, class Score, class Emit>
__device__ int64_t first_tokens(Row<dtype> row, int64_t n, uint64_t last, const Score score, Emit emit) {
  constexpr int kMost = 256;  // blocks: so that what they have better than the bound fits
  int64_t previous = INT64_MIN, previous_id = -1, done = 0;
  while (done < n) {
    const auto best_of_block = [&](int b, float, const float (&x)[kTokens]) {
      int64_t best = INT64_MAX;
#pragma unroll
      for (int i = 0; i < kTokens; ++i) {
        const int64_t id = Vectors<dtype>::id(b, i), own = score(x[i], id);
        if (own < best && Racer{previous, previous_id}.before({own, id})) best = own;
      }
      best = reduce_group(best, Min());
      if (lane() == 0) row->slot.kept_mass[b] = static_cast<uint64_t>(best);
    };
    for_blocks(row, Keeps(last), best_of_block,
               [&](int b) { row->slot.kept_mass[b] = static_cast<uint64_t>(INT64_MAX); });
    int found = 0;
    for (int wanted = static_cast<int>(n - done < kMost ? n - done : kMost); wanted > 0; wanted /= 2) {
      found = gather_racers(row, score, previous, previous_id, score_of_blocks(row, wanted), last);
      if (found <= kCandidates / 2) break;
    }
    if (found == 0 || found > kCandidates / 2) break;  // the latter where a thousand scores are equal: never
    sort(row->racer, found, Racer{}, [](const Racer& a, const Racer& b) { return a.before(b); });
    const int taken = static_cast<int>(n - done < found ? n - done : found);
    for (int i = thread(); i < taken; i += kThreads) emit(done + i, row->racer[i].id);
    previous = row->racer[taken - 1].score;
    previous_id = row->racer[taken - 1].id;
    done += taken;
  }
  __syncthreads();
  return done;
}

// False if fewer tokens are kept than samples are wanted.
template <DType dtype>
__device__ __noinline__ bool draw_without_replacement(Row<dtype> row) {
  const auto put_token = [&](int64_t i, int64_t id) {
    row->job.token[row->index * row->job.num_samples + i] = id;
    if (i == 0) row->token = id;
  };
  return first_tokens(row, row->job.num_samples, row->cut.last, FlatScore<dtype>{row}, put_token) ==
         row->job.num_samples;
}

}  // namespace onedraw::cuda
