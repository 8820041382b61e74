// Rule R1.6: the answer of a row that cannot be drawn from.
#pragma once

#include "arith.h"
#include "job.h"

namespace onedraw {

// fill(out, first, count, value) writes a range of an output, if that is wanted
// (not null).
template <class Fill>
ONEDRAW_FN void fill_bad(const Job& job, int64_t row, Status status, Fill fill) {
  const float nan = __builtin_nanf(""), none = -__builtin_inff();
  fill(job.status, row, 1, static_cast<int32_t>(status));
  fill(job.token, row * job.num_samples, job.num_samples, job.bad_token);
  fill(job.logprob, row, 1, nan);
  fill(job.raw_logprob, row, 1, nan);
  fill(job.kept_mass, row, 1, nan);
  fill(job.entropy, row, 1, nan);
  fill(job.rank, row, 1, int64_t{0});
  fill(job.num_kept, row, 1, int64_t{0});
  fill(job.kept, row * job.vocab, job.vocab, uint8_t{0});
  fill(job.probs, row * job.vocab, job.vocab, 0.0f);
  fill(job.top_token, row * job.num_top, job.num_top, job.bad_token);
  fill(job.top_logprob, row * job.num_top, job.num_top, none);
}

}  // namespace onedraw
