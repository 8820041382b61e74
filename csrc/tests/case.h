// A random job with all that it points to, in exact arrays.
#pragma once

#include <string>

#include "answer.h"
#include "choices.h"

namespace onedraw::tests {

class Case {
 public:
  // Vocabularies up to max_vocab, small ones more often.
  Case(Choices& choices, int64_t max_vocab);

  const Job& job() const { return job_; }
  const Wanted& wanted() const { return wanted_; }
  std::string describe() const;

 private:
  void choose_shape(Choices& c, int64_t max_vocab);
  void choose_filters(Choices& c);
  void choose_noise(Choices& c);
  void choose_logits(Choices& c);
  void choose_mask(Choices& c);
  void choose_bias(Choices& c);
  void choose_outputs(Choices& c);

  Job job_{};
  Wanted wanted_{};
  Exact<float> temperature_, top_p_, min_p_, logits_, bias_, bias_values_;
  Exact<int64_t> top_k_, seed_, stream_, position_, bias_offsets_, bias_ids_;
  Exact<uint16_t> narrow_;
  Exact<uint8_t> bools_;
  Exact<int32_t> bits_;
};

}  // namespace onedraw::tests
