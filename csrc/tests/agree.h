// Whether all kernels give one answer.
#pragma once

#include <string>
#include <vector>

#include "case.h"
#include "kernels.h"

namespace onedraw::tests {

// Runs the case on every kernel, each under another floating-point environment of the calling thread, and compares with
// the reference, whose answer goes into the digest. Empty, or what differs.
std::string disagreement(const Case& c, const std::vector<UsableKernel>& kernels, uint64_t& digest);

}  // namespace onedraw::tests
