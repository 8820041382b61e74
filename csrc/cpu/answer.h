// Writing a row's answer into a job's outputs; a bad row's answer.
#pragma once

#include "../spec/job.h"
#include "../spec/report.h"

namespace onedraw::cpu {

template <class T>
static inline void put(T* out, int64_t row, T value) {
  if (out) out[row] = value;
}

// R1.6: the token is a valid id, the numbers say that there are none, and no other row is touched.
[[maybe_unused]] static inline void write_bad(const Job& job, int64_t row, Status status) {
  const float nan = __builtin_nanf("");
  put(job.status, row, static_cast<int32_t>(status));
  if (job.worst && job.worst[row] < static_cast<int32_t>(status)) job.worst[row] = static_cast<int32_t>(status);
  if (job.token)
    for (int64_t j = 0; j < job.num_samples; ++j) job.token[row * job.num_samples + j] = job.bad_token;
  put(job.logprob, row, nan);
  put(job.raw_logprob, row, nan);
  put(job.kept_mass, row, nan);
  put(job.entropy, row, nan);
  put(job.rank, row, int64_t{0});
  put(job.num_kept, row, int64_t{0});
  if (job.kept) memset(job.kept + row * job.vocab, 0, static_cast<size_t>(job.vocab));
  if (job.probs)
    for (int64_t i = 0; i < job.vocab; ++i) job.probs[row * job.vocab + i] = 0;
  for (int64_t i = 0; i < job.num_top; ++i) {
    put(job.top_token, row * job.num_top + i, job.bad_token);
    put(job.top_logprob, row * job.num_top + i, -__builtin_inff());
  }
}

}  // namespace onedraw::cpu
