// In the place of the CUDA kernels, where they are not built: every call says so.
#include <string_view>

#include "launch.h"

namespace onedraw::cuda {

namespace {

constexpr std::string_view kState = ONEDRAW_CUDA_STATE, kBegins = "not in this build: ";
static_assert(kState.substr(0, kBegins.size()) == kBegins);

std::string absent() {
  return "this build of onedraw has no CUDA kernels: " + std::string(kState.substr(kBegins.size())) +
         "; to have them, install it anew with an nvcc (ONEDRAW_NVCC=pypi pip install . takes one from PyPI)";
}

}  // namespace

std::vector<Layout> tuning() { return {}; }
void force_parts(int) {}
int64_t workspace_bytes(int64_t, Shape) { return 0; }
std::string device_count(int&) { return absent(); }
std::string shape_of(int, int64_t, int64_t, Shape&) { return absent(); }
std::string run(const Job&, int, void*, Shape, void*, bool) { return absent(); }

}  // namespace onedraw::cuda
