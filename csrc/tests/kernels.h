// The kernels that are checked: those of the library, and "wide", which runs the plain vocabulary with 16 lanes, as
// many as AVX-512 has, on any processor.
#pragma once

#include <string>
#include <vector>

#include "../cpu/kernel.h"

namespace onedraw::tests {

struct UsableKernel {
  int index;  // for cpu::choose_kernel
  const cpu::Kernel* kernel;
};

// All that this processor runs, the reference first; only that one and `only`, if it is not empty.
std::vector<UsableKernel> usable_kernels(const std::string& only);

// "reference scalar avx2 wide; not on this processor: avx512"
std::string kernels_line(const std::vector<UsableKernel>& usable);

}  // namespace onedraw::tests
