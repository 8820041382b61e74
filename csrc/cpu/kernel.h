// What an instruction set's kernel offers, and the memory that it works in.
#pragma once

#include "../spec/job.h"

namespace onedraw::cpu {

// Working memory for one row in flight; sized by the vocabulary, never by the batch.
struct Scratch {
  float* block_max;       // [blocks] the largest value of each block; NaN if it holds one
  uint64_t* block_mass;   // [blocks] R3.2, of all candidates, where the scan was asked for masses
  int32_t* block_below;   // [blocks] n_row - n_b, saturated
  uint64_t* kept_mass;    // [blocks] R3.2, of the kept tokens; all zero between rows
  uint32_t* block_list;   // [blocks] the blocks that race
  uint64_t* candidates;   // [padded vocabulary] tokens as numbers in their order
  uint64_t* candidates2;  // [padded vocabulary]
  bool has_mass;
};

struct Kernel {
  const char* name;
  // Reads blocks [first, last) of a row into scratch; calls on disjoint ranges may run at once.
  void (*scan)(const Job& job, int64_t row, int64_t first, int64_t last, Scratch& scratch);
  // Cuts, draws and reports, after the whole row was scanned.
  void (*finish)(const Job& job, int64_t row, Scratch& scratch);
  // One streaming read: the largest of n float32 (the floor that speeds are compared with).
  float (*floor)(const float* x, int64_t n);
};

// Runs a job with the chosen kernel on OpenMP's threads. False if memory ran out.
bool run(const Job& job);

int num_kernels();
const char* kernel_name(int index);
bool kernel_supported(int index);
int chosen_kernel();
void choose_kernel(int index);  // -1: the best one supported
float floor_of(const float* x, int64_t rows, int64_t columns, int64_t stride, int threads);

}  // namespace onedraw::cpu
