// What one row of a job asks for, with every per-row parameter read.
#pragma once

#include "job.h"
#include "race.h"

namespace onedraw {

ONEDRAW_FN bool is_temperature(float x) { return x == 0 || (x >= 1e-6f && x <= 1e6f); }
ONEDRAW_FN bool is_top_p(float x) { return x > 0 && x <= 1; }
ONEDRAW_FN bool is_min_p(float x) { return x >= 0 && x <= 1; }

// What a position and a stream are.
ONEDRAW_FN bool is_word(int64_t x) { return x >= 0 && x <= 0xFFFFFFFFll; }

struct Settings {
  bool greedy;
  float scale;
  int64_t top_k;  // 0: off
  float top_p;    // 1: off
  float min_p;    // 0: off
  bool ties_keep;
  bool weights;
  spec::Noise noise;
};

ONEDRAW_FN Settings settings_of(const Job& job, int64_t row) {
  const int64_t request = row / job.steps;
  const float temperature = job.temperature.at(request);
  const int64_t k = job.top_k.at(request);
  Settings s;
  s.greedy = temperature == 0 && !job.weights;
  s.scale = s.greedy ? spec::kLog2E : spec::scale_of(temperature);
  s.top_k = k < 1 ? 0 : k;
  s.top_p = job.top_p.at(request);
  s.min_p = job.min_p.at(request);
  s.ties_keep = job.ties_keep;
  s.weights = job.weights;
  s.noise.seed = static_cast<uint64_t>(job.seed.at(request));
  s.noise.position = static_cast<uint32_t>(job.position.at(request) + row % job.steps);
  s.noise.stream = static_cast<uint32_t>(job.stream.at(request) + (job.row_stream ? request : 0));
  return s;
}

ONEDRAW_FN spec::Weight weight_of(const Settings& s, float x) {
  return s.weights ? spec::given_weight(x) : spec::weight(x, s.scale);
}

}  // namespace onedraw
