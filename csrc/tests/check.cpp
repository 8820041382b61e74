// onedraw_check: random jobs on every kernel, all outputs compared bit for bit. Built with ONEDRAW_SANITIZE it also
// sees reads and writes out of bounds and undefined behaviour.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "agree.h"

namespace {

constexpr const char* kUsage =
    "onedraw_check [--cases N] [--seconds S] [--seed N] [--max-vocab V] [--kernel NAME]\n"
    "Runs N random jobs (3000), for at most S seconds (no limit), on all kernels, or the reference and one other.\n"
    "Case i of a seed is the same whatever N is, and on every machine, as its answer is; a failure names both.\n";

struct Options {
  long long cases = 3000, seed = 1, max_vocab = 70000;
  double seconds = 1e9;
  std::string kernel;
};

bool parse(int count, char** words, Options& o) {
  for (int i = 1; i < count; i += 2) {
    const std::string name = words[i];
    if (i + 1 == count) return false;
    const char* value = words[i + 1];
    if (name == "--cases")
      o.cases = atoll(value);
    else if (name == "--seconds")
      o.seconds = atof(value);
    else if (name == "--seed")
      o.seed = atoll(value);
    else if (name == "--max-vocab")
      o.max_vocab = atoll(value);
    else if (name == "--kernel")
      o.kernel = value;
    else
      return false;
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  using namespace onedraw::tests;
  Options o;
  if (!parse(count, words, o)) {
    fputs(kUsage, stderr);
    for (int i = 1; i < count; ++i) fprintf(stderr, i == 1 ? "got: %s" : " %s", words[i]);
    fputs("\n", stderr);
    return 2;
  }
  const auto kernels = usable_kernels(o.kernel);
  printf("kernels: %s\n", kernels_line(kernels).c_str());
  if (kernels.size() < 2) {
    fprintf(stderr, "this processor does not run a kernel named '%s'\n", o.kernel.c_str());
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  uint64_t digest = 0xCBF29CE484222325ull;
  long long done = 0;
  for (; done < o.cases; ++done) {
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > o.seconds) break;
    Choices choices(static_cast<uint64_t>(o.seed) << 32 | static_cast<uint64_t>(done));
    const Case c(choices, o.max_vocab);
    const std::string found = disagreement(c, kernels, digest);
    if (found.empty()) continue;
    printf("seed %lld, case %lld: %s\n  %s\n", o.seed, done, found.c_str(), c.describe().c_str());
    return 1;
  }
  printf("%lld cases, all kernels equal; digest of the answers: %016llx\n", done,
         static_cast<unsigned long long>(digest));
  return 0;
}
