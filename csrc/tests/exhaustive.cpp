// onedraw_exhaustive: the facts that the specification states, over their whole domains (R1.2, R1.4, R2.4, R5.2), and
// the weights of every compiled kernel against them.
#include "exhaustive.h"

#include <chrono>
#include <cstring>

namespace onedraw::tests {

#define ONEDRAW_DECLARE(name) extern const Target kTarget_##name;
ONEDRAW_KERNELS(ONEDRAW_DECLARE)

const Target& plain_target() { return kTarget_scalar; }

const Target& best_target() {
  static const Target* const kTargets[] = {
#define ONEDRAW_ENTRY(name) &kTarget_##name,
      ONEDRAW_KERNELS(ONEDRAW_ENTRY)};
  const Target* best = &plain_target();
  for (const UsableKernel& kernel : usable_kernels(""))
    for (const Target* target : kTargets)
      if (strcmp(target->name, "wide") != 0 && strcmp(target->name, cpu::kernel_name(kernel.index)) == 0) best = target;
  return *best;
}

}  // namespace onedraw::tests

int main(int count, char** words) {
  using namespace onedraw::tests;
  Effort effort = Effort::usual;
  const char* only = nullptr;
  for (int i = 1; i < count; ++i) {
    if (strcmp(words[i], "--thorough") == 0) {
      effort = Effort::thorough;
    } else if (strcmp(words[i], "--quick") == 0) {
      effort = Effort::quick;
    } else if (words[i][0] != '-') {
      only = words[i];
    } else {
      fputs("onedraw_exhaustive [--quick | --thorough] [key | narrow | mantissa | variate | weight]\n", stderr);
      return 2;
    }
  }
  const auto kernels = usable_kernels("");
  printf("kernels: %s\nspecification compiled for: %s, %s\n", kernels_line(kernels).c_str(), plain_target().name,
         best_target().name);
  Findings findings;
  const auto run = [&](const char* name, auto part) {
    if (only && strcmp(only, name) != 0) return;
    printf("%s\n", name);
    fflush(stdout);
    const auto begin = std::chrono::steady_clock::now();
    part();
    printf("  %.1f s\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    fflush(stdout);
  };
  run("key", [&] { every_key(effort, findings); });
  run("narrow", [&] { every_narrow_float(kernels, findings); });
  run("mantissa", [&] { every_mantissa(findings); });
  run("variate", [&] { every_variate(effort, findings); });
  run("weight", [&] { every_weight(kernels, effort, findings); });
  if (findings.count() == 0)
    printf("all is as the specification says\n");
  else
    printf("%ld findings\n", findings.count());
  return findings.count() != 0;
}
