// Everything that a job may report, in exact arrays, to be compared bit for bit.
#pragma once

#include <string>

#include "../spec/job.h"
#include "exact.h"

namespace onedraw::tests {

// Which outputs are asked for.
struct Wanted {
  bool token, status, logprob, raw_logprob, rank, num_kept, kept_mass, entropy, kept, probs, top_token, top_logprob;
};

class Answer {
 public:
  // Points the job's outputs here; all bytes are `byte` before the run, so that one left unwritten shows when it is not
  // the same in two answers.
  Answer(Job& job, const Wanted& wanted, int byte);

  // Empty if equal; else the first output, row and entry that differ, and how.
  std::string difference(const Answer& other) const;

  // All bytes, added to what is there: to compare runs on different machines.
  void add_to(uint64_t& digest) const;

 private:
  Exact<int64_t> token_, rank_, num_kept_, top_token_;
  Exact<int32_t> status_;
  Exact<float> logprob_, raw_logprob_, kept_mass_, entropy_, probs_, top_logprob_;
  Exact<uint8_t> kept_;
  int64_t rows_;
};

}  // namespace onedraw::tests
