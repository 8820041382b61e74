// Writing a row's answer into a job's outputs; a bad row's answer.
#pragma once

#include <algorithm>

#include "../spec/bad.h"
#include "../spec/report.h"

namespace onedraw::cpu {

template <class T>
static inline void put(T* out, int64_t row, T value) {
  if (out) out[row] = value;
}

[[maybe_unused]] static inline void write_bad(const Job& job, int64_t row, Status status) {
  if (job.worst) job.worst[row] = std::max(job.worst[row], static_cast<int32_t>(status));
  fill_bad(job, row, status, [](auto* out, int64_t first, int64_t count, auto value) {
    if (out) std::fill_n(out + first, count, value);
  });
}

}  // namespace onedraw::cpu
