// One row as a thread block sees it, in shared memory: its settings, its logits a block of 64 at a time, and what the
// scan left of it in the workspace.
#pragma once

#include <new>

#include "../spec/fast.h"
#include "../spec/settings.h"
#include "vectors.cuh"

namespace onedraw::cuda {

constexpr float kLowest = -__FLT_MAX__;
constexpr uint32_t kFar = 1u << 20;  // distances saturate here: nothing so far
                                     // below the row has mass, races or wins
constexpr int kListed = 512;         // blocks
constexpr int kCandidates = 2048;

// As spec::fast_block_weight, by a shift that gives 0 beyond 31.
__device__ inline uint32_t hot_block_weight(float x, float scale, uint32_t largest_bits) {
  const spec::FastWeight w = spec::fast_weight(x, scale);
  return __funnelshift_rc(w.mantissa << 8, 0, largest_bits + 3 - w.magic);
}

// What is too long to stand at each place, and not hot.
__device__ inline spec::Weight weight(const Settings& s, float x) { return weight_of(s, x); }

struct alignas(16) Block {
  float x[kTokens];
};

// The scan's findings of one row, and room for what is kept; in global memory.
struct Slot {
  float* block_max;
  uint64_t* block_mass;
  uint64_t* kept_mass;
};

// By score, then by id; the smaller comes first.
struct Racer {
  int64_t score = INT64_MAX;
  int64_t id = INT64_MAX;

  __device__ bool before(const Racer& other) const {
    return score != other.score ? score < other.score : id < other.id;
  }
};

__device__ inline uint64_t order_through(uint32_t key) { return spec::order(key, 0xFFFFFFFFu); }
__device__ inline float value_of_order(uint64_t order) { return spec::value_of_key(spec::key_of_order(order)); }

// Whether a token is in the prefix that ends with `last`.
struct Keeps {
  float value;
  int64_t last_id;

  __device__ explicit Keeps(uint64_t last) : value(value_of_order(last)), last_id(spec::id_of_order(last)) {}
  __device__ bool operator()(float x, int64_t id) const { return x > value || (x == value && id <= last_id); }
  // Whether a block with this largest value may have such tokens.
  __device__ bool from_block(int b, float largest) const { return (*this)(largest, int64_t{b} * spec::kBlock); }
};

struct ListedBlock {
  int block;
  float largest;
};

// What a look at the row found: of the tokens from each of two places in the order of tokens on, how many there are and
// what mass they have; and the tokens between, gathered and sorted if there is room. The slot's kept_mass is that of
// the tokens from `high` on and of the first `held` of those between.
struct Window {
  uint64_t low, high;
  int64_t count_low, count_high;
  uint64_t mass_low, mass_high;
  int held;

  __device__ bool is_gathered() const { return count_low - count_high <= kCandidates; }
  __device__ bool has(uint64_t order) const { return low <= order && order < high && is_gathered(); }
};

// What a guess needs to know of a block: its largest value and, in a unit of which the row has less than 2^31, its
// mass.
struct Sketch {
  float largest;
  uint32_t mass;
};

// What a prefix must reach: so many tokens, or so much mass.
struct Target {
  bool is_mass;
  uint64_t amount;

  __device__ bool reached(int64_t count, uint64_t mass) const {
    return is_mass ? mass >= amount : count >= static_cast<int64_t>(amount);
  }
};

// A search for a target's key: the tokens from `low` on reach it, those from `high` on do not. It goes on in [at_low,
// at_high).
struct Search {
  Target target;
  uint64_t within;  // the last token of the prefix that is searched
  uint32_t low, high;
  int64_t count_low, count_high;  // tokens from there on; at the low end perhaps an upper bound
  uint64_t mass_low, mass_high;   // and their mass, where the target is one
  uint32_t at_low, at_high;
  int step;
  uint64_t last;  // the result

  __device__ bool has(uint32_t key) const { return low < key && key < high; }
  __device__ bool is_small() const { return high - low <= 1 || count_low - count_high <= kCandidates; }
};

// What the filters leave.
struct Cut {
  bool is_filtered;
  uint64_t last;  // the last kept token in the order of tokens
  int64_t count;  // where filtered; its blocks in the slot's kept_mass
  uint64_t mass;
  uint64_t mass_all;
  uint64_t held;  // where `count`, `mass` and kept_mass are those of the prefix that ends here
};

// Once for a thread block.
template <DType dtype>
struct RowData {
  const Job& job;
  int64_t index;
  Settings settings;
  Reader reader;
  Source<dtype> source;
  Slot slot;
  int blocks;

  float max;
  bool is_fast;
  uint32_t top_bits;
  int64_t n_row;

  Cut cut;
  Window window;
  Search search;
  uint64_t look_low, look_high;  // what is to be looked at
  bool look_masses, look_ties, sketch_masses;
  int listed, gathered;
  int found;  // by one thread, for all
  int64_t token;
  uint64_t reductions[kWarps];
  ListedBlock list[kListed];
  union {
    uint64_t order[kCandidates];
    Racer racer[kCandidates / 2];
    Sketch sketch[kCandidates];
  };

  __device__ RowData(const Job& a_job, int64_t row, Slot a_slot)
      : job(a_job),
        index(row),
        settings(settings_of(a_job, row)),
        reader(reader_of(a_job, row)),
        source(reader),
        slot(a_slot),
        blocks(static_cast<int>((a_job.vocab + spec::kBlock - 1) / spec::kBlock)) {}
};

template <DType dtype>
__device__ inline RowData<dtype>& row_data() {
  __shared__ alignas(16) char memory[sizeof(RowData<dtype>)];
  return *reinterpret_cast<RowData<dtype>*>(memory);
}

// The row that the thread block is at. It is passed without being anything, so that no function keeps its address.
template <DType dtype>
struct Row {
  __device__ RowData<dtype>* operator->() const { return &row_data<dtype>(); }

  // By one thread.
  static __device__ void set(const Job& job, int64_t index, Slot slot) {
    new (&row_data<dtype>()) RowData<dtype>(job, index, slot);
  }

  // Knows the row's largest value from here on; by one thread.
  static __device__ void set_max(float largest) {
    const Row row;
    row->max = largest;
    row->is_fast = has_fast_weights(largest);
    row->top_bits = spec::magic_bits(largest, row->settings.scale);
    row->n_row = weight(row->settings, largest).n;
  }

  // This lane's tokens of block b, their ids by Vectors::id; past the vocabulary there is nothing.
  static __device__ __forceinline__ Block load(int b) {
    const Row row;
    Block t;
    if (row->source.has(b)) {
      row->source.load(b).widen(t.x);
      return t;
    }
#pragma unroll
    for (int i = 0; i < kTokens; ++i) t.x[i] = value_at(Vectors<dtype>::id(b, i));
    return t;
  }

  static __device__ __noinline__ float value_at(int64_t id) {
    const Row row;
    return id < row->reader.vocab ? value(row->reader, id) : -__builtin_inff();
  }

  // Whether weights have the fast form in a block, or row, with this largest value.
  static __device__ bool has_fast_weights(float largest) {
    const Row row;
    return !row->settings.weights && spec::is_fast(largest, row->settings.scale);
  }

  // W (R3.1) of a token in a block with this largest value, by the book.
  static __device__ __noinline__ uint32_t slow_weight(float x, float largest) {
    const Row row;
    if (x == -__builtin_inff()) return 0;
    const int64_t n_b = weight_of(row->settings, largest).n;
    const spec::Weight own = weight_of(row->settings, x);
    return spec::block_weight(own.m, n_b - own.n);
  }

  static __device__ __noinline__ uint32_t block_weight(float x, float largest) {
    const Row row;
    if (!has_fast_weights(largest)) return slow_weight(x, largest);
    return hot_block_weight(x, row->settings.scale, spec::magic_bits(largest, row->settings.scale));
  }

  static __device__ void weigh(const float (&x)[kTokens], float largest, uint32_t (&w)[kTokens]) {
    const Row row;
    if (has_fast_weights(largest)) {
      const uint32_t bits = spec::magic_bits(largest, row->settings.scale);
#pragma unroll
      for (int i = 0; i < kTokens; ++i) w[i] = hot_block_weight(x[i], row->settings.scale, bits);
    } else {
#pragma unroll
      for (int i = 0; i < kTokens; ++i) w[i] = slow_weight(x[i], largest);
    }
  }

  // n_row - n of a value that is a block's largest.
  static __device__ uint32_t below(float x) {
    const Row row;
    if (row->is_fast) {
      const uint32_t distance = row->top_bits - spec::magic_bits(x, row->settings.scale);
      return distance > kFar ? kFar : distance;
    }
    return slow_below(x);
  }

  static __device__ __noinline__ uint32_t slow_below(float x) {
    const Row row;
    const int64_t distance = row->n_row - weight_of(row->settings, x).n;
    return distance > kFar ? kFar : static_cast<uint32_t>(distance);
  }

  static __device__ float block_max(int b) { return __ldcg(Row()->slot.block_max + b); }
  static __device__ uint64_t block_mass(int b) { return at(Row()->slot.block_mass, b); }
  static __device__ uint64_t kept_mass(int b) { return at(Row()->slot.kept_mass, b); }

  template <class T, class Op>
  static __device__ T all(T part, Op op) {
    return reduce_all(part, op, Row()->reductions);
  }

  static __device__ uint64_t at(const uint64_t* p, int b) {
    return __ldcg(reinterpret_cast<const unsigned long long*>(p) + b);
  }
};

// body(b, largest, x) by the group of each block that may have a token that is kept; other(b) by a thread for each of
// the rest.
template <DType dtype, class Body, class Other>
__device__ void for_blocks(Row<dtype> row, const Keeps keeps, Body body, Other other) {
  for (int from = 0; from < row->blocks; from += kListed) {
    if (thread() == 0) row->listed = 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kListed; i += kThreads) {
      const int b = from + i + thread();
      if (b >= row->blocks) continue;
      const float largest = row.block_max(b);
      if (keeps.from_block(b, largest))
        row->list[atomicAdd(&row->listed, 1)] = {b, largest};
      else
        other(b);
    }
    __syncthreads();
    for (int i = group(); i < row->listed; i += kGroups) {
      const Block t = row.load(row->list[i].block);
      body(row->list[i].block, row->list[i].largest, t.x);
    }
    __syncthreads();
  }
}

template <DType dtype, class Body>
__device__ void for_blocks(Row<dtype> row, const Keeps keeps, Body body) {
  for_blocks(row, keeps, body, [](int) {});
}

}  // namespace onedraw::cuda
