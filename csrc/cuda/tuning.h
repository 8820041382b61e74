// How a launch is laid out on an architecture, as data. It cannot change an answer.
//
// A row gets several thread blocks where there are fewer rows than `per_processor` thread blocks for each processor: as
// many as fill the device, but none with less than `least_part` blocks of 64 tokens. From one row a processor on, a
// row's own thread block keeps the device busy. Nobody has measured these numbers: per_processor is how many thread
// blocks fit by registers and shared memory (budget.json); least_part makes a part at least 4,096 logits, 16 for
// each thread, so that its reading outweighs the two microseconds or so of an atomic and a barrier.
//
// The parts of a row meet by a counter, on sm_90 and later too. A cluster would give the last step shared memory in the
// place of the second-level cache; whether that pays, only a measurement can say.
#pragma once

#include <cstdint>

namespace onedraw::cuda {

struct Tuning {
  int architecture;   // the compute capability as two digits, from which on this row holds
  int per_processor;  // thread blocks in flight
  int least_part;     // blocks of 64 tokens
};

constexpr Tuning kTuning[] = {
    {75, 3, 64}, {80, 3, 64}, {86, 3, 64}, {89, 3, 64}, {90, 3, 64}, {100, 3, 64}, {120, 3, 64},
};
constexpr int kMostParts = 256;   // thread blocks a row
constexpr int kMostSplit = 1024;  // rows in several parts: so many counters has a workspace

constexpr const Tuning& tuning_of(int architecture) {
  const Tuning* found = kTuning;
  for (const Tuning& t : kTuning)
    if (t.architecture <= architecture) found = &t;
  return *found;
}

constexpr int64_t parts_of(const Tuning& tuning, int64_t processors, int64_t rows, int64_t blocks) {
  if (rows >= processors || rows > kMostSplit) return 1;
  const int64_t wanted = tuning.per_processor * processors / rows;
  const int64_t most = (blocks + tuning.least_part - 1) / tuning.least_part;
  const int64_t parts = wanted < most ? wanted : most;
  return parts < 1 ? 1 : parts > kMostParts ? kMostParts : parts;
}

}  // namespace onedraw::cuda
