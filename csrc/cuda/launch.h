// The CUDA side as the binding sees it: plain C++, without CUDA's headers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../spec/job.h"

namespace onedraw::cuda {

// How a launch is laid out; it cannot change an answer.
struct Shape {
  int parts;  // thread blocks a row
  int slots;  // rows in flight
};

// A row of the tuning table (tuning.h), which holds from this architecture on.
struct Layout {
  int architecture;
  int threads;
  int per_processor;
  int least_part;
};

std::vector<Layout> tuning();

// So many thread blocks a row in each later launch, for tests; 0: as the table says.
void force_parts(int parts);

// Memory that a launch works in, on its device: zero when new, and left so that the next launch finds it ready.
int64_t workspace_bytes(int64_t vocab, Shape shape);
constexpr uintptr_t kAlignment = 16;  // of its address

// An empty string, or what is wrong and with which call.
std::string device_count(int& count);
std::string shape_of(int device, int64_t rows, int64_t vocab, Shape& shape);
std::string run(const Job& job, int device, void* stream, Shape shape, void* workspace, bool advance);

}  // namespace onedraw::cuda
