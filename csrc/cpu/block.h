// A block of a row as 64 float32 in memory, edited, and padded with -inf past the vocabulary.
#pragma once

#include "../spec/mass.h"
#include "../spec/reader.h"
#include "simd.h"

namespace onedraw::cpu::ONEDRAW_TARGET {

using spec::kBlock;

static inline void widen_block(const Reader& r, int64_t begin, int count, float* out) {
  if (count == 0) return;
  const uint16_t* p = static_cast<const uint16_t*>(r.logits) + begin;
  if (r.dtype == DType::float32) {
    memcpy(out, static_cast<const float*>(r.logits) + begin, static_cast<size_t>(count) * sizeof(float));
  } else if (count < kBlock) {
    for (int i = 0; i < count; ++i) out[i] = raw_value(r, begin + i);
  } else if (r.dtype == DType::float16) {
    for (int i = 0; i < kBlock; i += kLanes) store(out + i, load_float16(p + i));
  } else {
    for (int i = 0; i < kBlock; i += kLanes) store(out + i, load_bfloat16(p + i));
  }
}

// Where the sparse bias stands; blocks are mostly visited in ascending order.
struct BiasCursor {
  int64_t index = 0;
  int64_t id = 0;  // entries before index have ids below this
};

static inline void edit_block(const Reader& r, int64_t begin, int count, BiasCursor& cursor, float* out) {
  const float none = -__builtin_inff();
  if (r.weights)
    for (int i = 0; i < count; ++i) out[i] = weight_value(out[i]);
  if (r.bias)
    for (int i = 0; i < count; ++i) out[i] = out[i] + r.bias[begin + i];
  if (r.bias_count) {
    if (begin < cursor.id) cursor.index = bias_from(r, begin);
    while (cursor.index < r.bias_count && r.bias_ids[cursor.index] < begin) ++cursor.index;
    for (; cursor.index < r.bias_count && r.bias_ids[cursor.index] < begin + count; ++cursor.index) {
      const int64_t at = r.bias_ids[cursor.index] - begin;
      if (at >= 0) out[at] = out[at] + r.bias_values[cursor.index];  // below 0 only if ids were written to meanwhile
    }
    cursor.id = begin + count;
  }
  if (r.mask == Mask::bools)
    for (int i = 0; i < count; ++i) out[i] = r.allowed[begin + i] ? out[i] : none;
  if (r.mask == Mask::bits)
    for (int i = 0; i < count; ++i) out[i] = (r.allowed_bits[(begin + i) >> 5] >> (i & 31)) & 1 ? out[i] : none;
}

// The values of block b into `out` [64]. Past the vocabulary there is nothing.
static inline void copy_block(const Reader& r, int64_t b, BiasCursor& cursor, float* out) {
  const int64_t begin = b * kBlock, left = r.vocab - begin;
  const int count = static_cast<int>(left > kBlock ? kBlock : left > 0 ? left : 0);
  widen_block(r, begin, count, out);
  if (is_edited(r)) edit_block(r, begin, count, cursor, out);
  for (int i = count; i < kBlock; ++i) out[i] = -__builtin_inff();
}

// The same, in place where they can be read so, else in `buffer`.
static inline const float* block_values(const Reader& r, int64_t b, BiasCursor& cursor, float* buffer) {
  if (r.dtype == DType::float32 && (b + 1) * kBlock <= r.vocab && !is_edited(r))
    return static_cast<const float*>(r.logits) + b * kBlock;
  copy_block(r, b, cursor, buffer);
  return buffer;
}

}  // namespace onedraw::cpu::ONEDRAW_TARGET
