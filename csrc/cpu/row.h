// A row on its course from scan to answer.
#pragma once

#include "kernel.h"

namespace onedraw::cpu {

struct Row {
  const Kernel& kernel;
  const Job& job;
  int64_t index;
  Settings settings;
  Reader reader;
  Scratch& scratch;
  int64_t blocks;
  float max;

  bool is_filtered;  // else every candidate is kept, and what races are the scanned block masses
  uint64_t last;     // the last kept token in the order of tokens; kKeepAll where not filtered
  uint64_t held;     // kept and scratch's racers describe the prefix that ends with this token; 0: nothing
  Kept kept;
  uint64_t mass;      // of what is kept
  uint64_t mass_all;  // of all candidates, where masses were scanned

  // Candidates with at least this value (and below a limit, if given), in scratch.candidates.
  int64_t gather(float least, float limit = __builtin_nanf("")) const {
    return kernel.gather(reader, settings, max, least, limit, 0, blocks, scratch);
  }
  // A value that as many block maxima reach: so at least as many tokens do.
  Threshold threshold(int64_t count) const { return kernel.threshold(scratch.block_max, blocks, count, max); }
  // Makes `kept` and scratch's racers describe the prefix that ends with this token.
  const Kept& hold(uint64_t until) {
    if (held != until) kept = kernel.keep(reader, settings, max, until, scratch);
    held = until;
    return kept;
  }
  void hold_nothing() {
    kept = {};
    held = 0;
  }
};

[[maybe_unused]] static inline float value_of_order(uint64_t order) {
  return spec::value_of_key(spec::key_of_order(order));
}
// The place in the order of tokens behind all that have at least this key.
[[maybe_unused]] static inline uint64_t order_through(uint32_t key) { return spec::order(key, 0xFFFFFFFFu); }

void cut_row(Row& row);
// False if fewer tokens are kept than samples are wanted without replacement.
bool draw_row(Row& row);
int64_t first_token(const Row& row);
void write_answer(Row& row);

}  // namespace onedraw::cpu
