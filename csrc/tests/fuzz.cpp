// onedraw_fuzz: bytes to a job, all kernels equal. Under Clang this is a libFuzzer target (LLVMFuzzerTestOneInput);
// elsewhere the main below feeds it: files named on the command line, or random bytes and changes of them for some
// seconds.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "agree.h"

using namespace onedraw::tests;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const auto kernels = usable_kernels("");
  Choices choices(bytes, size);
  const Case c(choices, 2500);
  uint64_t digest = 0;
  const std::string found = disagreement(c, kernels, digest);
  if (found.empty()) return 0;
  fprintf(stderr, "%s\n  %s\n", found.c_str(), c.describe().c_str());
  abort();
}

#if !defined(ONEDRAW_LIBFUZZER)

namespace {

constexpr const char* kLastInput = "onedraw_fuzz_input";

// Written before it runs, so that it is there after a crash.
void run(const std::vector<uint8_t>& input) {
  std::ofstream(kLastInput, std::ios::binary)
      .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

std::vector<uint8_t> random_input(Choices& c) {
  std::vector<uint8_t> input(static_cast<size_t>(c.below(c.one_in(4) ? 4000 : 200)));
  for (uint8_t& byte : input) byte = static_cast<uint8_t>(c.bits(8));
  return input;
}

// A few bytes others, or a piece doubled: near to what was, so that single choices vary.
void change(Choices& c, std::vector<uint8_t>& input) {
  if (input.empty()) return;
  for (int64_t i = 1 + c.below(4); i > 0; --i)
    input[static_cast<size_t>(c.below(static_cast<int64_t>(input.size())))] = static_cast<uint8_t>(c.bits(8));
  if (c.one_in(4)) input.insert(input.end(), input.begin(), input.begin() + static_cast<int64_t>(input.size()) / 2);
  if (input.size() > 8000) input.resize(100);
}

}  // namespace

int main(int count, char** words) {
  const std::string first = count > 1 ? words[1] : "";
  if (first.empty() || (first == "--seconds" && count < 3)) {
    fputs("onedraw_fuzz --seconds S [SEED] | FILE...\n", stderr);
    return 2;
  }
  printf("kernels: %s\n", kernels_line(usable_kernels("")).c_str());
  if (first != "--seconds") {
    for (int i = 1; i < count; ++i) {
      std::ifstream file(words[i], std::ios::binary);
      const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    }
    printf("%d files, all kernels equal\n", count - 1);
    return 0;
  }
  const auto begin = std::chrono::steady_clock::now();
  Choices c(count > 3 ? strtoull(words[3], nullptr, 10) : 1);
  long done = 0;
  std::vector<uint8_t> input;
  while (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < atof(words[2])) {
    if (done++ % 16 == 0)
      input = random_input(c);
    else
      change(c, input);
    run(input);
  }
  remove(kLastInput);
  printf("%ld inputs, all kernels equal\n", done);
  return 0;
}

#endif
