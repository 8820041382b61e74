// Rows that a sampler may meet: likely ones, and those that look for trouble.
#pragma once

#include <vector>

#include "../spec/job.h"
#include "choices.h"

namespace onedraw::tests {

// V values as float32. `scale` is what the row will be multiplied by (R2.1), so that trouble can be aimed at.
std::vector<float> logits_row(Choices& choices, int64_t vocab, float scale);
std::vector<float> weights_row(Choices& choices, int64_t vocab);

// Towards zero, which is near enough: what matters is which values come out.
uint16_t narrowed(float x, DType dtype);

}  // namespace onedraw::tests
