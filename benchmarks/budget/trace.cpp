// Counts what a translated kernel does with global memory: linked to it, and called by the compiler's checks of
// addresses (-fsanitize=kernel-address) before every access. Ranges of memory that are of interest have numbers; the
// first is divided into units, and of each it is known how many bytes were read.
//
// For one launch at a time, on one thread of the operating system.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "simt_rt.h"

namespace {

struct Range {
  uintptr_t begin, end;
  uint64_t loaded, stored;
};

std::vector<Range> ranges;
std::vector<uint64_t> units;  // of the first range
uint64_t unit_bytes;
uint64_t block_threads = 1;      // of a thread block
std::vector<uint64_t> barriers;  // of all threads of each thread block

void access(uintptr_t p, uint64_t bytes, bool store) {
  for (size_t i = 0; i < ranges.size(); ++i) {
    Range& r = ranges[i];
    if (p < r.begin || p >= r.end) continue;
    (store ? r.stored : r.loaded) += bytes;
    if (i == 0 && !store) units[(p - r.begin) / unit_bytes] += bytes;
    return;
  }
}

}  // namespace

extern "C" {

void trace_begin(uint64_t bytes_of_a_unit) {
  ranges.clear();
  unit_bytes = bytes_of_a_unit;
  barriers.clear();
}
void trace_range(uintptr_t begin, uint64_t bytes) {
  if (ranges.empty()) units.assign((bytes + unit_bytes - 1) / unit_bytes, 0);
  ranges.push_back({begin, begin + bytes, 0, 0});
}
void trace_end(uint64_t* loaded_and_stored, uint64_t* read_of_units, double* most_barriers) {
  for (const Range& r : ranges) {
    *loaded_and_stored++ = r.loaded;
    *loaded_and_stored++ = r.stored;
  }
  for (uint64_t bytes : units) *read_of_units++ = bytes;
  const uint64_t most = barriers.empty() ? 0 : *std::max_element(barriers.begin(), barriers.end());
  *most_barriers = static_cast<double>(most) / static_cast<double>(block_threads);
  ranges.clear();
}

#define ACCESS(n)                                                     \
  void __asan_load##n##_noabort(uintptr_t p) { access(p, n, false); } \
  void __asan_store##n##_noabort(uintptr_t p) { access(p, n, true); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __asan_loadN_noabort(uintptr_t p, size_t n) { access(p, n, false); }
void __asan_storeN_noabort(uintptr_t p, size_t n) { access(p, n, true); }
void __asan_handle_no_return() {}

// simt::cta_barrier of cuda-on-cpu, by the linker's --wrap.
int __real__ZN4simt11cta_barrierEjjNS_5BarOpEibPKv(unsigned, unsigned, int, int, bool, const void*);
int __wrap__ZN4simt11cta_barrierEjjNS_5BarOpEibPKv(unsigned id, unsigned threads, int op, int pred, bool wait,
                                                   const void* site) {
  if (barriers.size() <= blockIdx.x) barriers.resize(blockIdx.x + 1);
  ++barriers[blockIdx.x];
  block_threads = blockDim.x;
  return __real__ZN4simt11cta_barrierEjjNS_5BarOpEibPKv(id, threads, op, pred, wait, site);
}
}
