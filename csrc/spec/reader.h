// One row's logits, one token at a time: widened (R1.2) and edited (R1.3).
#pragma once

#include "job.h"
#include "key.h"
#include "widen.h"

namespace onedraw {

struct Reader {
  const void* logits;  // this row's first element
  DType dtype;
  int64_t vocab;
  bool weights;

  Mask mask;
  const uint8_t* allowed;  // bools
  const uint32_t* allowed_bits;
  const float* bias;        // dense
  const int64_t* bias_ids;  // sparse: bias_count ascending ids
  const float* bias_values;
  int64_t bias_count;
};

ONEDRAW_FN bool is_edited(const Reader& r) { return r.weights || r.mask != Mask::none || r.bias || r.bias_count; }

ONEDRAW_FN Reader reader_of(const Job& job, int64_t row) {
  const int64_t request = row / job.steps;
  const int64_t offset = request * job.batch_stride + (row % job.steps) * job.step_stride;
  const int64_t bytes = job.dtype == DType::float32 ? 4 : 2;
  Reader r{};
  r.logits = static_cast<const char*>(job.logits) + offset * bytes;
  r.dtype = job.dtype;
  r.vocab = job.vocab;
  r.weights = job.weights;
  r.mask = job.mask;
  if (job.mask == Mask::bools) r.allowed = static_cast<const uint8_t*>(job.allowed) + row * job.allowed_stride;
  if (job.mask == Mask::bits) r.allowed_bits = static_cast<const uint32_t*>(job.allowed) + row * job.allowed_stride;
  if (job.bias) r.bias = job.bias + row * job.bias_stride;
  if (job.bias_offsets) {
    const int64_t* range = job.bias_offsets + (job.bias_shared ? 0 : request);
    r.bias_ids = job.bias_ids + range[0];
    r.bias_values = job.bias_values + range[0];
    r.bias_count = range[1] - range[0];
  }
  return r;
}

ONEDRAW_FN float raw_value(const Reader& r, int64_t id) {
  switch (r.dtype) {
    case DType::float16: return spec::widen_float16(static_cast<const uint16_t*>(r.logits)[id]);
    case DType::bfloat16: return spec::widen_bfloat16(static_cast<const uint16_t*>(r.logits)[id]);
    default: return static_cast<const float*>(r.logits)[id];
  }
}

ONEDRAW_FN bool is_allowed(const Reader& r, int64_t id) {
  if (r.mask == Mask::bools) return r.allowed[id] != 0;
  if (r.mask == Mask::bits) return (r.allowed_bits[id >> 5] >> (id & 31)) & 1;
  return true;
}

// The first sparse bias entry with an id of at least `id`.
ONEDRAW_FN int64_t bias_from(const Reader& r, int64_t id) {
  int64_t low = 0, high = r.bias_count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (r.bias_ids[middle] < id)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// R2.5: a given weight as a value: zero is no candidate, and what is no weight reads as NaN.
ONEDRAW_FN float weight_value(float x) {
  if (x == 0) return -__builtin_inff();
  return x > 0 && x < __builtin_inff() ? x : __builtin_nanf("");
}

ONEDRAW_FN float value(const Reader& r, int64_t id) {
  if (!is_allowed(r, id)) return -__builtin_inff();
  float x = raw_value(r, id);
  if (r.weights) return weight_value(x);
  if (r.bias) x = spec::add(x, r.bias[id]);
  if (r.bias_count) {
    const int64_t i = bias_from(r, id);
    if (i < r.bias_count && r.bias_ids[i] == id) x = spec::add(x, r.bias_values[i]);
  }
  return x;
}

// Why a row reads as having a NaN: it has one, or a weight that is none.
ONEDRAW_FN Status status_of_nan(const Reader& r) {
  if (!r.weights) return Status::nan;
  for (int64_t id = 0; id < r.vocab; ++id) {
    const float x = raw_value(r, id);
    if (is_allowed(r, id) && x != x) return Status::nan;
  }
  return Status::invalid;
}

}  // namespace onedraw
