// Counts what a translated kernel does with global memory: linked to it, and called by the compiler's checks of
// addresses (-fsanitize=kernel-address) before every access. Ranges of memory that are of interest have numbers; the
// first is divided into units, and of each it is known how many bytes were read.
//
// For one launch at a time, on one thread of the operating system.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "simt_rt.h"

namespace {

struct Range {
  uintptr_t begin, end;
  uint64_t loaded, stored;
};

// What a thread block does behind its first atomic operation, by which it arrives at its row: thread 0's barriers and
// shuffles, the stretches between barriers in which some thread loads, and the bytes that all load.
struct Work {
  bool has_arrived, loads;
  uint64_t barriers, shuffles, waits, loaded;
};

std::vector<Range> ranges;
std::vector<uint64_t> units;  // of the first range
uint64_t unit_bytes;
std::vector<Work> blocks;

Work& own() {
  if (blocks.size() <= blockIdx.x) blocks.resize(blockIdx.x + 1);
  return blocks[blockIdx.x];
}

void access(uintptr_t p, uint64_t bytes, bool store) {
  for (size_t i = 0; i < ranges.size(); ++i) {
    Range& r = ranges[i];
    if (p < r.begin || p >= r.end) continue;
    (store ? r.stored : r.loaded) += bytes;
    if (i == 0 && !store) units[(p - r.begin) / unit_bytes] += bytes;
    if (!store) {
      own().loads = true;
      own().loaded += bytes;
    }
    return;
  }
}

}  // namespace

extern "C" {

void trace_begin(uint64_t bytes_of_a_unit) {
  ranges.clear();
  unit_bytes = bytes_of_a_unit;
  blocks.clear();
}
void trace_range(uintptr_t begin, uint64_t bytes) {
  if (ranges.empty()) units.assign((bytes + unit_bytes - 1) / unit_bytes, 0);
  ranges.push_back({begin, begin + bytes, 0, 0});
}
void trace_end(uint64_t* loaded_and_stored, uint64_t* read_of_units, uint64_t* work_of_last) {
  for (const Range& r : ranges) {
    *loaded_and_stored++ = r.loaded;
    *loaded_and_stored++ = r.stored;
  }
  for (uint64_t bytes : units) *read_of_units++ = bytes;
  Work most{};  // of the thread block that does most: it finishes a row
  for (const Work& w : blocks)
    if (w.barriers > most.barriers) most = w;
  for (uint64_t n : {most.barriers, most.shuffles, most.waits, most.loaded}) *work_of_last++ = n;
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

// Of cuda-on-cpu, by the linker's --wrap.
int __real__ZN4simt11cta_barrierEjjNS_5BarOpEibPKv(unsigned, unsigned, simt::BarOp, int, bool, const void*);
int __wrap__ZN4simt11cta_barrierEjjNS_5BarOpEibPKv(unsigned id, unsigned threads, simt::BarOp op, int pred, bool wait,
                                                   const void* site) {
  const int result = __real__ZN4simt11cta_barrierEjjNS_5BarOpEibPKv(id, threads, op, pred, wait, site);
  if (threadIdx.x == 0) {
    ++own().barriers;
    own().waits += own().loads;
    own().loads = false;
  }
  return result;
}

simt::WarpRet __real__ZN4simt7warp_opENS_4KindEjmjjPKv(simt::Kind, uint32_t, uint64_t, uint32_t, uint32_t, const void*);
simt::WarpRet __wrap__ZN4simt7warp_opENS_4KindEjmjjPKv(simt::Kind kind, uint32_t mask, uint64_t value, uint32_t b,
                                                       uint32_t c, const void* site) {
  if (threadIdx.x == 0) ++own().shuffles;
  return __real__ZN4simt7warp_opENS_4KindEjmjjPKv(kind, mask, value, b, c, site);
}

void __real__ZN4simt11atomic_hookEv();
void __wrap__ZN4simt11atomic_hookEv() {
  if (!own().has_arrived) own() = {true, false, 0, 0, 0, 0};
  __real__ZN4simt11atomic_hookEv();
}
}
