// A row on its course from scan to answer.
#pragma once

#include "cut.h"
#include "kernel.h"

namespace onedraw::cpu {

[[maybe_unused]] static inline bool top_k_is_on(const Job& job, const Settings& s) {
  return s.top_k > 0 && s.top_k < job.vocab;
}

struct Row {
  const Kernel& kernel;
  const Job& job;
  int64_t index;
  Settings settings;
  Reader reader;
  Scratch& scratch;
  int64_t blocks;
  float max;
  bool is_filtered;   // else every candidate is kept, and only block masses are known
  Gathered kept;      // the kept candidates, where filtered or gathered
  uint64_t mass;      // of what is kept
  uint64_t mass_all;  // of all candidates, where masses were scanned

  Gathered gather(float least) const {
    return {scratch.candidates, kernel.gather(reader, settings, max, least, 0, blocks, scratch)};
  }
  // Where all are kept and something must be known of each of them.
  void gather_all() {
    if (!is_filtered) kept = gather(-__builtin_inff());
  }
};

void cut_row(Row& row);
// False if fewer tokens are kept than samples are wanted without replacement.
bool draw_row(Row& row);
int64_t first_token(const Row& row);
void write_answer(Row& row);

}  // namespace onedraw::cpu
