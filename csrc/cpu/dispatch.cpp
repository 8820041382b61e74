// The table of kernels, the choice among them, and the rows of a job on OpenMP's threads.
#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__  // GCC defines it itself
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "fpenv.h"
#include "kernel.h"

namespace onedraw::cpu {

#define ONEDRAW_DECLARE(name) extern const Kernel kKernel_##name;
ONEDRAW_KERNELS(ONEDRAW_DECLARE)

namespace {

#if defined(__x86_64__)
// Not every compiler's __builtin_cpu_supports knows it.
bool has_f16c() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

bool supports(const char* name) {
  const auto is = [&](const char* other) { return __builtin_strcmp(name, other) == 0; };
#if defined(__x86_64__)
  if (is("avx2"))
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  if (is("avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && supports("avx2");
#endif
  return is("reference") || is("scalar");
}

float largest(const float* x, int64_t n) { return *std::max_element(x, x + n); }

const Kernel kReference = [] {
  Kernel kernel{};  // rows go to reference_row
  kernel.name = "reference";
  kernel.floor = largest;
  return kernel;
}();

// From the plainest to the widest: the last one supported is chosen.
const Kernel* const kKernels[] = {&kReference,
#define ONEDRAW_ENTRY(name) &kKernel_##name,
                                  ONEDRAW_KERNELS(ONEDRAW_ENTRY)};
constexpr int kNumKernels = sizeof(kKernels) / sizeof(kKernels[0]);

std::atomic<int> g_chosen{-1};

int best() {
  for (int i = kNumKernels - 1; i > 0; --i)
    if (supports(kKernels[i]->name)) return i;
  return 0;
}

// A thread is worth waking from this many logits on: some 20 us of work, against a few for the waking, and against far
// more where other work has the core that it would wake on.
constexpr int64_t kLogitsPerThread = 1 << 16;

constexpr int64_t kGroup = 64;  // arrays of blocks are padded to this

int64_t blocks_of(int64_t vocab) { return (vocab + spec::kBlock - 1) / spec::kBlock; }

// Between the arrays of a scratch, so that the address sanitizer sees who leaves one.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kGap = 64;
void forbid(char* p, size_t size) { __asan_poison_memory_region(p, size); }
void permit(char* p, size_t size) { __asan_unpoison_memory_region(p, size); }
#else
constexpr size_t kGap = 0;
void forbid(char*, size_t) {}
void permit(char*, size_t) {}
#endif

// The scratch of one row, in one allocation that is kept by its thread for the next call.
class Arena {
 public:
  Scratch scratch(int64_t vocab) {
    const size_t blocks = padded(blocks_of(vocab));
    const size_t tokens = blocks * spec::kBlock;
    const size_t bytes = blocks * (4 + 8 + 4 + 4 + 8 + 4 + 8 + 4 + 4) + tokens * sizeof(Candidate) + 10 * kGap;
    if (bytes > size_) {
      permit(memory_, size_);
      std::free(memory_);
      size_ = blocks_ = 0;
      memory_ = static_cast<char*>(std::aligned_alloc(64, bytes));
      if (!memory_) throw std::bad_alloc();
      size_ = bytes;
    }
    Scratch s{};
    char* p = memory_;
    permit(p, size_);
    const auto take = [&](auto*& pointer, size_t count) {
      pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(p);
      p += count * sizeof(*pointer);
      forbid(p, kGap);
      p += kGap;
    };
    take(s.block_max, blocks);
    take(s.block_mass, blocks);
    take(s.block_below, blocks);
    take(s.block_share, blocks);
    take(s.kept_mass, blocks);
    take(s.racer_id, blocks);
    take(s.racer_mass, blocks);
    take(s.racer_below, blocks);
    take(s.racer_share, blocks);
    take(s.candidates, tokens);
    if (blocks != blocks_) {
      std::fill_n(s.kept_mass, blocks, 0);  // kernels leave it so
      blocks_ = blocks;
    }
    return s;
  }
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    permit(memory_, size_);
    std::free(memory_);
  }

 private:
  static size_t padded(int64_t n) { return static_cast<size_t>((n + kGroup - 1) / kGroup * kGroup); }

  char* memory_ = nullptr;
  size_t size_ = 0;
  size_t blocks_ = 0;
};

// What allocates in a kernel (the reference, and races without replacement) may fail; an exception must not leave a
// parallel region.
template <class Body>
void guarded(std::atomic<bool>& failed, Body body) {
  try {
    body();
  } catch (const std::bad_alloc&) {
    failed = true;
  }
}

void scan_part(const Kernel& kernel, const Job& job, int64_t row, int64_t first, int64_t last, Scratch& scratch) {
  const Settings settings = settings_of(job, row);
  kernel.scan(reader_of(job, row), settings, first, last, wants_masses(job, settings), scratch);
}

void run_row(const Kernel& kernel, const Job& job, int64_t row, Scratch& scratch) {
  if (!kernel.scan) return reference_row(job, row);
  scratch.has_nan = false;
  scan_part(kernel, job, row, 0, blocks_of(job.vocab), scratch);
  finish_row(kernel, job, row, scratch);
}

// Few rows: the parts of each are scanned by several threads, then each row is finished by one.
void run_split(std::atomic<bool>& failed, const Kernel& kernel, const Job& job, int64_t rows, int threads) {
  thread_local std::vector<std::unique_ptr<Arena>> arenas;  // of the caller: fewer than it has threads
  std::vector<Scratch> scratch;
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    if (row == arenas.size()) arenas.push_back(std::make_unique<Arena>());
    scratch.push_back(arenas[row]->scratch(job.vocab));
  }
  const int64_t blocks = blocks_of(job.vocab);
  const int64_t parts = (threads + rows - 1) / rows;
#pragma omp parallel num_threads(threads)
  {
    FloatEnvironment environment;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows * parts; ++i) {
      const int64_t row = i / parts, part = i % parts;
      // Kernels work on groups of blocks, padded at the end: parts start at multiples of every group's size.
      const int64_t first = blocks * part / parts / kGroup * kGroup;
      const int64_t last = part + 1 == parts ? blocks : blocks * (part + 1) / parts / kGroup * kGroup;
      scan_part(kernel, job, row, first, last, scratch[static_cast<size_t>(row)]);
    }
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row)
      guarded(failed, [&] { finish_row(kernel, job, row, scratch[static_cast<size_t>(row)]); });
  }
}

thread_local Arena t_arena;

// OpenMP's threads do not survive a fork: a child works alone.
std::atomic<bool> g_forked{false};
[[maybe_unused]] const int g_fork_handler = pthread_atfork(nullptr, nullptr, [] { g_forked = true; });

}  // namespace

int num_kernels() { return kNumKernels; }
const char* kernel_name(int index) { return kKernels[index]->name; }
bool kernel_supported(int index) { return supports(kKernels[index]->name); }
void choose_kernel(int index) { g_chosen = index < 0 ? best() : index; }
int chosen_kernel() {
  if (g_chosen < 0) choose_kernel(-1);
  return g_chosen;
}

bool run(const Job& job) {
  const Kernel& kernel = *kKernels[chosen_kernel()];
  const int64_t rows = job.batch * job.steps;
  const int64_t worth = std::max<int64_t>(1, rows * job.vocab / kLogitsPerThread);
  const int64_t most = job.threads > 0 ? job.threads : omp_get_max_threads();
  const bool alone = g_forked || omp_in_parallel();
  const int threads = alone ? 1 : static_cast<int>(std::min(most, worth));
  std::atomic<bool> failed{false};
  if (threads == 1) {
    guarded(failed, [&] {
      FloatEnvironment environment;
      Scratch scratch = t_arena.scratch(job.vocab);
      for (int64_t row = 0; row < rows; ++row) run_row(kernel, job, row, scratch);
    });
  } else if (rows < threads && kernel.scan) {
    guarded(failed, [&] { run_split(failed, kernel, job, rows, threads); });
  } else {
#pragma omp parallel num_threads(threads)
    {
      FloatEnvironment environment;
      Scratch scratch{};
      guarded(failed, [&] { scratch = t_arena.scratch(job.vocab); });
#pragma omp for schedule(dynamic)
      for (int64_t row = 0; row < rows; ++row)
        if (!failed) guarded(failed, [&] { run_row(kernel, job, row, scratch); });
    }
  }
  return !failed;
}

float floor_of(const float* x, int64_t rows, int64_t columns, int64_t stride, int threads) {
  const Kernel& kernel = *kKernels[chosen_kernel()];
  float largest = -__builtin_inff();
  if (g_forked) threads = 1;
#pragma omp parallel for num_threads(std::max(1, threads)) reduction(max : largest)
  for (int64_t row = 0; row < rows; ++row) largest = std::max(largest, kernel.floor(x + row * stride, columns));
  return largest;
}

}  // namespace onedraw::cpu
