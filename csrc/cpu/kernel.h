// What an instruction set's kernel offers, and the memory that it works in. The order of events for a row is in
// row.cpp, once for all of them; here is what touches many logits or many random numbers.
#pragma once

#include "../spec/reader.h"
#include "../spec/settings.h"

namespace onedraw::cpu {

// A token that may still be kept.
struct Candidate {
  uint64_t order;  // spec::order of its key and id: larger is earlier
  uint32_t m;      // its weight is m * 2^(n_row - below - 23)
  uint32_t below;  // saturated at kFar
};

// Further below the row's exponent than this, nothing has mass, races or wins; distances saturate here.
constexpr uint32_t kFar = 1u << 20;

// Working memory for one row in flight; sized by the vocabulary, never by the batch.
struct Scratch {
  float* block_max;       // [blocks] the largest value of each block
  uint64_t* block_mass;   // [blocks] R3.2 of all candidates, where the scan was asked for masses
  uint32_t* block_below;  // [blocks] n_row - n_b, saturated at kFar
  float* block_share;     // [blocks] about block_mass; in units of the row's exponent after `align`
  uint64_t* kept_mass;    // [blocks] R3.2 of a growing prefix; all zero between uses
  uint32_t* racer_id;     // [blocks] what races: a block's number,
  uint64_t* racer_mass;   // [blocks] its mass with 28 fractional bits
  uint32_t* racer_below;  // [blocks] how far its exponent is below the row's,
  float* racer_share;     // [blocks] and about what both say, in units of the row's exponent
  Candidate* candidates;  // [padded vocabulary]
  bool has_nan;           // set by any scan that meets one
};

// See Racers::share. A mass is below 2^36, and a share that is not 0 stays a normal float32.
constexpr uint32_t kShareReach = 80;
[[maybe_unused]] static inline float share_of(uint64_t mass, uint32_t below) {
  if (below > kShareReach) return 0.0f;
  return static_cast<float>(static_cast<int64_t>(mass)) * spec::float_of((127 - spec::kBlockBits - below) << 23);
}

struct Racers {
  const uint32_t* id;  // null: 0, 1, 2, ...
  const uint64_t* mass;
  const uint32_t* below;
  const float* share;  // about mass * 2^-(28 + below - least_below), within a relative 2^-22; 0 beyond kShareReach
  int64_t count;
  uint32_t least_below;  // distances count from here: a common shift changes no comparison
};

// The prefix of the order of tokens that ends with `last` (spec::order): scratch.racer_id, racer_mass, racer_below and
// racer_share have an entry for each of its blocks.
struct Kept {
  uint64_t mass;
  int64_t count;
  int64_t blocks;
};

struct Threshold {
  float value;
  int64_t blocks;
};

struct Kernel {
  const char* name;

  // Largest value (and with `masses`, the mass) of blocks [first, last) into scratch; calls on disjoint ranges may
  // run at once. A NaN sets has_nan, and the rest of scratch means nothing then.
  void (*scan)(const Reader&, const Settings&, int64_t first, int64_t last, bool masses, Scratch&);

  // Block_below of all blocks, block_share in the row's units; returns the row's whole mass (R3.3).
  uint64_t (*align)(const Settings&, float row_max, int64_t blocks, Scratch&);

  // A value that at least `count` block maxima reach (-inf if fewer are above it), and how many do: few more, unless
  // there are ties.
  Threshold (*threshold)(const float* block_max, int64_t blocks, int64_t count, float row_max);

  // The tokens above -inf in blocks [first, last) with least <= value < limit (a NaN limit is none), ascending by id,
  // into scratch.candidates, and block_below of their blocks; returns how many.
  int64_t (*gather)(const Reader&, const Settings&, float row_max, float least, float limit, int64_t first,
                    int64_t last, Scratch&);

  // Fills in the weights of candidates.
  void (*weigh)(const Settings&, float row_max, Candidate*, int64_t count);

  // What a cut keeps, by block, as the racers in scratch; see Kept.
  Kept (*keep)(const Reader&, const Settings&, float row_max, uint64_t last, Scratch&);

  // How many tokens have at least this value, which is above -inf.
  int64_t (*count)(const Reader&, float value, const Scratch&);

  // How many tokens of each block have this value, and block_below of blocks that have any.
  void (*ties)(const Reader&, const Settings&, float row_max, float value, uint32_t* counts, Scratch&);

  // The index of the winner (R5.3).
  int64_t (*race)(const spec::Noise&, spec::Level, uint32_t sample, const Racers&);

  // The scores of candidates in the flat race (R5.5).
  void (*scores)(const spec::Noise&, const Candidate*, int64_t count, int64_t* scores);

  // How many tokens come before this one in the order of tokens.
  int64_t (*count_before)(const Reader&, float value, int64_t id);

  // The largest of n float32: one streaming read, the floor that speeds are compared with.
  float (*floor)(const float* x, int64_t n);
};

// One row of a job from logits to answer.
bool wants_masses(const Job& job, const Settings& settings);
void finish_row(const Kernel& kernel, const Job& job, int64_t row, Scratch& scratch);
void reference_row(const Job& job, int64_t row);

// Runs a job with the chosen kernel on OpenMP's threads. False if memory ran out.
bool run(const Job& job);

int num_kernels();
const char* kernel_name(int index);
bool kernel_supported(int index);
int chosen_kernel();
void choose_kernel(int index);  // -1: the best one supported
float floor_of(const float* x, int64_t rows, int64_t columns, int64_t stride, int threads);

}  // namespace onedraw::cpu
