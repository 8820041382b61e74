// The parts of onedraw_exhaustive: each looks at a whole domain, or with less effort at one part in many of it, evenly.
#pragma once

#include <atomic>
#include <cstdio>
#include <vector>

#include "kernels.h"
#include "target.h"

namespace onedraw::tests {

// What went wrong, counted; the first few are printed.
class Findings {
 public:
  template <class... Values>
  void add(const char* format, Values... values) {
    if (count_++ >= 20) return;
    char line[300];
    snprintf(line, sizeof line, format, values...);
    printf("  WRONG: %s\n", line);
  }
  long count() const { return count_; }

 private:
  std::atomic<long> count_{0};
};

// Seconds; about a minute on two cores; some ten minutes.
enum class Effort { quick, usual, thorough };

void every_key(Effort effort, Findings& findings);
void every_narrow_float(const std::vector<UsableKernel>& kernels, Findings& findings);
void every_mantissa(Findings& findings);
void every_weight(const std::vector<UsableKernel>& kernels, Effort effort, Findings& findings);
void every_variate(Effort effort, Findings& findings);

}  // namespace onedraw::tests
