// The specification's functions as the flags of one instruction set compile them: with the processor's fused
// multiply-add, or with the emulated one. target.cpp is compiled once for each, as kernel.cpp is.
#pragma once

#include <cstdint>

namespace onedraw::tests {

struct Target {
  const char* name;
  // Of the values of `count` consecutive keys: m * 2^(n - 23).
  void (*weights)(uint32_t first_key, int count, float scale, int64_t* n, uint32_t* m);
  // Of a = (first + i) * 2^-23.
  void (*mantissas)(int first, int count, uint32_t* m);
  void (*variates)(const uint64_t* u, int count, float* e);
};

// The one that runs here and is the quickest, and the plainest.
const Target& best_target();
const Target& plain_target();

}  // namespace onedraw::tests
