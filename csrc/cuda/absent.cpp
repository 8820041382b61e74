// In the place of the CUDA kernels, where they are not built: every call says so.
#include "launch.h"

namespace onedraw::cuda {

namespace {

const char* const kAbsent =
    "this build of onedraw has no CUDA kernels (" ONEDRAW_CUDA_STATE
    "); to have them, install it anew with an nvcc: ONEDRAW_NVCC=pypi pip install . takes one from PyPI";

}  // namespace

std::vector<Layout> tuning() { return {}; }
void force_parts(int) {}
int64_t workspace_bytes(int64_t, Shape) { return 0; }
std::string device_count(int&) { return kAbsent; }
std::string shape_of(int, int64_t, int64_t, Shape&) { return kAbsent; }
std::string run(const Job&, int, void*, Shape, void*, bool) { return kAbsent; }

}  // namespace onedraw::cuda
