#include "case.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "../spec/weight.h"
#include "rows.h"

namespace onedraw::tests {
namespace {

// One number for all, or an array of one a request.
template <class T, class Choose>
void per_row(Choices& c, int64_t batch, PerRow<T>& field, Exact<T>& array, Choose choose) {
  field = {choose(), nullptr};
  if (!c.one_in(3)) return;
  array = Exact<T>(batch);
  for (int64_t b = 0; b < batch; ++b) array[b] = choose();
  field = {T{}, array.get()};
}

int64_t some_vocab(Choices& c, int64_t max_vocab) {
  int64_t most = 1500;
  if (c.one_in(3)) most = 150;
  if (c.one_in(10)) most = 20000;
  if (c.one_in(20)) most = 70000;
  int64_t vocab = 1 + c.below(std::min(most, max_vocab));
  if (c.one_in(3)) vocab = std::max<int64_t>(1, vocab / 64 * 64 + c.below(3) - 1);
  return std::min(vocab, max_vocab);
}

}  // namespace

Case::Case(Choices& c, int64_t max_vocab) {
  choose_shape(c, max_vocab);
  choose_filters(c);
  choose_noise(c);
  choose_logits(c);
  choose_mask(c);
  if (!job_.weights) choose_bias(c);  // multinomial has none
  choose_outputs(c);
}

void Case::choose_shape(Choices& c, int64_t max_vocab) {
  job_.vocab = some_vocab(c, max_vocab);
  const bool large = job_.vocab > 3000;
  job_.batch = 1 + c.below(large ? 2 : 5);
  job_.steps = c.one_in(4) ? 1 + c.below(large ? 2 : 4) : 1;
  job_.dtype = c.one_of({DType::float32, DType::float32, DType::float16, DType::bfloat16});
  job_.weights = c.one_in(8);
  job_.threads = c.one_of({1, 1, 1, 2, 3, 0});
}

void Case::choose_filters(Choices& c) {
  const int64_t vocab = job_.vocab;
  per_row(c, job_.batch, job_.temperature, temperature_, [&]() -> float {
    if (job_.weights) return 1;
    if (c.one_in(12)) return 0;
    if (c.one_in(8)) return c.one_of({1e-6f, 1e6f, 1e-3f, 1e3f});
    return c.one_in(2) ? 1.0f : static_cast<float>(c.log_between(0.05, 20));
  });
  per_row(c, job_.batch, job_.top_k, top_k_, [&]() -> int64_t {
    if (c.one_in(2)) return c.one_of<int64_t>({0, -1});
    if (c.one_in(3)) return c.one_of<int64_t>({1, 2, vocab - 1, vocab, vocab + 1, INT64_MAX});
    return 1 + c.below(c.one_in(2) ? 60 : vocab);
  });
  per_row(c, job_.batch, job_.top_p, top_p_, [&]() -> float {
    if (c.one_in(2)) return 1;
    if (c.one_in(4)) return c.one_of({1e-45f, 1e-30f, 0x1p-40f, 0x1p-24f, 0.5f, 0x1.fffffep-1f, 0x1.fffp-1f});
    return static_cast<float>(0.02 + 0.97 * c.unit());
  });
  per_row(c, job_.batch, job_.min_p, min_p_, [&]() -> float {
    if (!c.one_in(3)) return 0;
    if (c.one_in(3)) return c.one_of({1.0f, 0x1.fffffep-1f, 0.5f, 0x1p-24f, 1e-38f, 1e-45f});
    return static_cast<float>(c.log_between(1e-8, 1));
  });
  job_.ties_keep = c.one_in(3);
  job_.num_samples = c.one_in(4) ? 1 + c.below(c.one_in(4) ? 40 : 4) : 1;
  job_.replacement = !c.one_in(job_.weights ? 2 : 8);
  for (int64_t b = 0; b < job_.batch; ++b) job_.replacement |= job_.temperature.at(b) == 0;  // no such draw is offered
  if (job_.weights && c.one_in(2)) job_.top_k = {0, nullptr};
  if (job_.weights) job_.top_p = {1, nullptr}, job_.min_p = {0, nullptr};  // multinomial has no filters by mass
}

void Case::choose_noise(Choices& c) {
  const auto word = [&]() -> int64_t { return static_cast<int64_t>(c.one_in(3) ? c.bits(32) : c.bits(8)); };
  per_row(c, job_.batch, job_.seed, seed_, [&] { return static_cast<int64_t>(c.bits(64)); });
  per_row(c, job_.batch, job_.stream, stream_, word);
  per_row(c, job_.batch, job_.position, position_, word);
  job_.row_stream = c.one_in(2);
}

void Case::choose_logits(Choices& c) {
  const int64_t rows = job_.batch * job_.steps, vocab = job_.vocab;
  job_.step_stride = vocab + (c.one_in(3) ? c.below(70) : 0);
  job_.batch_stride = job_.steps * job_.step_stride + (c.one_in(3) ? c.below(70) : 0);
  // The last row ends where the array does.
  const int64_t size = (job_.batch - 1) * job_.batch_stride + (job_.steps - 1) * job_.step_stride + vocab;
  const bool wide = job_.dtype == DType::float32;
  logits_ = Exact<float>(wide ? size : 0);
  narrow_ = Exact<uint16_t>(wide ? 0 : size);
  logits_.fill_bytes(0xFF);  // NaN between the rows
  narrow_.fill_bytes(0xFF);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t request = r / job_.steps;
    const float temperature = job_.temperature.at(request);
    const float scale = spec::scale_of(temperature == 0 ? 1 : temperature);
    const std::vector<float> row = job_.weights ? weights_row(c, vocab) : logits_row(c, vocab, scale);
    const int64_t begin = request * job_.batch_stride + r % job_.steps * job_.step_stride;
    for (int64_t id = 0; id < vocab; ++id) {
      const float x = row[static_cast<size_t>(id)];
      if (wide)
        logits_[begin + id] = x;
      else
        narrow_[begin + id] = narrowed(x, job_.dtype);
    }
  }
  job_.logits = wide ? static_cast<const void*>(logits_.get()) : narrow_.get();
}

void Case::choose_mask(Choices& c) {
  job_.mask = c.one_in(3) ? c.one_of({Mask::bools, Mask::bits}) : Mask::none;
  if (job_.mask == Mask::none) return;
  const int64_t rows = c.one_in(3) ? 1 : job_.batch * job_.steps;  // 1: one for all
  const int64_t width = job_.mask == Mask::bools ? job_.vocab : (job_.vocab + 31) / 32;
  const int64_t stride = width + (c.one_in(3) ? c.below(9) : 0), size = (rows - 1) * stride + width;
  const double share = c.one_of({0.5, 0.02, 0.98, 0.0, 1.0});
  const auto allowed = [&] { return c.unit() < share; };
  job_.allowed_stride = rows == 1 ? 0 : stride;
  if (job_.mask == Mask::bools) {
    bools_ = Exact<uint8_t>(size);
    for (int64_t i = 0; i < size; ++i) bools_[i] = allowed();
    job_.allowed = bools_.get();
  } else {
    bits_ = Exact<int32_t>(size);
    for (int64_t i = 0; i < size; ++i) {
      uint32_t word = 0;
      for (int j = 0; j < 32; ++j) word |= static_cast<uint32_t>(allowed()) << j;
      bits_[i] = static_cast<int32_t>(word);
    }
    job_.allowed = bits_.get();
  }
}

void Case::choose_bias(Choices& c) {
  const auto value = [&]() -> float {
    if (c.one_in(400)) return c.one_of({__builtin_nanf(""), __builtin_inff(), -__builtin_inff(), __FLT_MAX__});
    return static_cast<float>(c.normal() * 5);
  };
  if (c.one_in(6)) {
    const int64_t rows = c.one_in(3) ? 1 : job_.batch * job_.steps;
    const int64_t stride = job_.vocab + (c.one_in(3) ? c.below(9) : 0);
    bias_ = Exact<float>((rows - 1) * stride + job_.vocab);
    for (int64_t i = 0; i < bias_.size(); ++i) bias_[i] = value();
    job_.bias = bias_.get();
    job_.bias_stride = rows == 1 ? 0 : stride;
  }
  if (!c.one_in(6)) return;
  job_.bias_shared = job_.batch == 1 || c.one_in(3);
  const int64_t lists = job_.bias_shared ? 1 : job_.batch;
  bias_offsets_ = Exact<int64_t>(lists + 1);
  bias_offsets_[0] = 0;
  std::vector<int64_t> ids;
  for (int64_t b = 0; b < lists; ++b) {
    const int64_t spacing = 1 + c.below(c.one_in(2) ? 5 : 300);
    for (int64_t id = c.below(spacing); id < job_.vocab; id += 1 + c.below(spacing)) ids.push_back(id);
    bias_offsets_[b + 1] = static_cast<int64_t>(ids.size());
  }
  bias_ids_ = Exact<int64_t>(static_cast<int64_t>(ids.size()));
  bias_values_ = Exact<float>(bias_ids_.size());
  for (int64_t i = 0; i < bias_ids_.size(); ++i) {
    bias_ids_[i] = ids[static_cast<size_t>(i)];
    bias_values_[i] = value();
  }
  job_.bias_offsets = bias_offsets_.get();
  job_.bias_ids = bias_ids_.get();
  job_.bias_values = bias_values_.get();
}

// What is told of a token (its logprobs, its rank) is asked for together with the token; of weights, the ids alone.
void Case::choose_outputs(Choices& c) {
  job_.bad_token = c.one_in(2) ? 0 : c.below(100) - 50;
  job_.num_top = c.one_in(3) && !job_.weights ? 1 + c.below(c.one_in(4) ? 90 : 8) : 0;
  const bool all = c.one_in(3), few = c.one_in(2);
  const auto choose = [&] { return all || (few ? c.one_in(8) : c.one_in(2)); };
  Wanted& w = wanted_;
  w.token = all || !job_.replacement || job_.weights || !c.one_in(6);
  w.status = choose();
  w.num_kept = choose();
  w.kept = choose();
  if (w.token) w.rank = choose();
  if (job_.weights) return;
  if (w.token) w.logprob = choose(), w.raw_logprob = choose();
  w.kept_mass = choose();
  w.entropy = choose();
  w.probs = choose();
  w.top_token = w.top_logprob = job_.num_top > 0;
}

std::string Case::describe() const {
  const char* const dtypes[] = {"float32", "float16", "bfloat16"};
  const char* const masks[] = {"none", "bools", "bits"};
  char text[300];
  snprintf(text, sizeof text,
           "batch %lld, steps %lld, V %lld, %s%s, mask %s, bias %s%s, samples %lld%s, ties %s, threads %d",
           static_cast<long long>(job_.batch), static_cast<long long>(job_.steps), static_cast<long long>(job_.vocab),
           dtypes[static_cast<int>(job_.dtype)], job_.weights ? " weights" : "", masks[static_cast<int>(job_.mask)],
           job_.bias ? "dense " : "", job_.bias_offsets ? "sparse" : "", static_cast<long long>(job_.num_samples),
           job_.replacement ? "" : " without replacement", job_.ties_keep ? "keep" : "first", job_.threads);
  std::string all = text;
  for (int64_t b = 0; b < job_.batch; ++b) {
    snprintf(
        text, sizeof text,
        "\n  request %lld: temperature %.9g, top_k %lld, top_p %.9g, min_p %.9g, seed %lld, stream %lld, position %lld",
        static_cast<long long>(b), static_cast<double>(job_.temperature.at(b)),
        static_cast<long long>(job_.top_k.at(b)), static_cast<double>(job_.top_p.at(b)),
        static_cast<double>(job_.min_p.at(b)), static_cast<long long>(job_.seed.at(b)),
        static_cast<long long>(job_.stream.at(b)), static_cast<long long>(job_.position.at(b)));
    all += text;
  }
  return all;
}

}  // namespace onedraw::tests
