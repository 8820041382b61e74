#include "agree.h"

#include <thread>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace onedraw::tests {
namespace {

// What a caller may have set: nothing; subnormals flushed to zero on either side; rounding down; both, towards zero.
constexpr unsigned kEnvironments[] = {0x1F80, 0x9FC0, 0x3F80, 0xFFC0};

// Runs the job in this environment. Empty, or that the environment was not given back.
std::string run_in(unsigned environment, const Job& job) {
#if defined(__SSE2__)
  const unsigned before = _mm_getcsr();
  _mm_setcsr(environment);
  const bool fine = cpu::run(job);
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  if ((after & 0xFFC0u) != (environment & 0xFFC0u)) return "MXCSR was not restored";
#else
  static_cast<void>(environment);
  const bool fine = cpu::run(job);
#endif
  return fine ? "" : "out of memory";
}

}  // namespace

std::string disagreement(const Case& c, const std::vector<UsableKernel>& kernels, uint64_t& digest) {
  std::string found;
  // A thread of its own: a kernel's working memory is a thread's, made for the first vocabulary and kept, so that only
  // a fresh one is as small as this case needs.
  std::thread([&] {
    Job job = c.job();
    cpu::choose_kernel(kernels[0].index);
    const Answer expected(job, c.wanted(), 0xA5);
    found = run_in(kEnvironments[0], job);
    expected.add_to(digest);
    for (size_t i = 1; i < kernels.size() && found.empty(); ++i) {
      cpu::choose_kernel(kernels[i].index);
      const Answer answer(job, c.wanted(), 0x5A);
      found = run_in(kEnvironments[i % 4], job);
      if (found.empty()) found = answer.difference(expected);
      if (!found.empty()) found = std::string(cpu::kernel_name(kernels[i].index)) + " against reference: " + found;
    }
  }).join();
  return found;
}

}  // namespace onedraw::tests
