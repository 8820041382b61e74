// One call, as plain data: what every kernel, on every device, is given.
#pragma once

#include <cstdint>

namespace onedraw {

enum class DType : int32_t { float32, float16, bfloat16 };
enum class Mask : int32_t { none, bools, bits };
enum class Status : int32_t { ok = 0, nan = 1, empty = 2, invalid = 3, too_few = 4 };

// A parameter that is one number or has one value a request: the only place that decides how it is read.
template <class T>
struct PerRow {
  T value;        // used where data is null
  const T* data;  // [batch]
#if defined(__CUDACC__)
  __host__ __device__
#endif
      T at(int64_t request) const {
    return data ? data[request] : value;
  }
};

struct Job {
  // Logits [batch, steps, vocab]; row r is request r / steps at its step r % steps. Strides in elements.
  const void* logits;
  DType dtype;
  int64_t batch, steps, vocab;
  int64_t batch_stride, step_stride;

  PerRow<float> temperature;  // 0 or [1e-6, 1e6]
  PerRow<int64_t> top_k;      // below 1: off
  PerRow<float> top_p;        // (0, 1]
  PerRow<float> min_p;        // [0, 1]
  PerRow<int64_t> seed;       // 64 bits
  PerRow<int64_t> stream;     // 32 bits
  PerRow<int64_t> position;   // 32 bits; step j of a request draws at position + j
  bool row_stream;            // request b adds b to its stream
  bool ties_keep;
  bool weights;  // the rows are weights, not logits
  bool replacement;
  int64_t num_samples;
  int64_t bad_token;

  // Edits, one row each or one for all (stride 0).
  Mask mask;
  const void* allowed;  // bool [rows, vocab] or int32 [rows, words]
  int64_t allowed_stride;
  const float* bias;  // [rows, vocab]
  int64_t bias_stride;
  const int64_t* bias_offsets;  // sparse: [requests + 1], or [2] for all
  const int64_t* bias_ids;      // ascending within a request
  const float* bias_values;
  bool bias_shared;

  // Outputs, one entry a row unless a shape is given; null where not wanted.
  int64_t* token;  // [rows, num_samples]
  int32_t* status;
  int32_t* worst;  // the largest status so far: a bad row raises it, nothing lowers it
  float* logprob;  // of sample 0
  float* raw_logprob;
  int64_t* rank;
  int64_t* num_kept;
  float* kept_mass;
  float* entropy;
  uint8_t* kept;       // [rows, vocab]
  float* probs;        // [rows, vocab]
  int64_t* top_token;  // [rows, num_top]
  float* top_logprob;
  int64_t num_top;

  int threads;  // 0: OpenMP's own number
};

}  // namespace onedraw
