#include "rows.h"

#include <algorithm>
#include <functional>

#include "../spec/key.h"

namespace onedraw::tests {
namespace {

constexpr float kInf = __builtin_inff();
constexpr float kMax = __FLT_MAX__;

// float32 of any size, without the overflow that a cast leaves undefined.
float narrow(double x) { return static_cast<float>(std::max(-double{kMax}, std::min(double{kMax}, x))); }

float any_finite(Choices& c) {
  const float x = spec::float_of(static_cast<uint32_t>(c.bits(32)));
  return x - x == 0 ? x : spec::float_of(spec::bits_of(x) & 0xBFFFFFFFu);  // an exponent of all ones loses one
}

float subnormal(Choices& c) {
  const uint32_t u = static_cast<uint32_t>(c.bits(24));
  return spec::float_of((u & 0x7FFFFFu) | (u >> 23) << 31);
}

// x moved by a few units in the last place.
float nudged(Choices& c, float x) {
  const uint32_t k = spec::key(x) + static_cast<uint32_t>(c.below(7)) - 3;
  return spec::is_candidate(k) && k < spec::kKeyPosInf ? spec::value_of_key(k) : x;
}

using Maker = std::function<float(int64_t id)>;

// How the values of one row come about; `a`, `b` and `few` are chosen once for the row.
Maker maker(Choices& c, int64_t vocab, float scale) {
  const double a = c.log_between(1e-2, 30), b = c.normal() * 100, s = static_cast<double>(scale);
  const int64_t few = 1 + c.below(5);
  const std::vector<float> values = [&] {
    std::vector<float> v;
    for (int i = 0; i < 6; ++i) v.push_back(narrow(c.normal() * a));
    v[5] = -0.0f;
    if (c.one_in(2)) v[0] = 0.0f;
    return v;
  }();
  const auto normal = [&c, a](int64_t) { return narrow(c.normal() * a); };
  switch (c.below(20)) {
    case 0: return [=, &c](int64_t) { return narrow(b + c.normal() * a); };
    case 1:  // as a language model has it: a long tail and a few favourites
      return [=, &c](int64_t) {
        const double x = c.normal() * 2;
        return narrow(c.one_in(200) ? x + 4 + 8 * c.unit() : x);
      };
    case 2: return [=](int64_t) { return values[0]; };
    case 3: return [=, &c](int64_t) { return values[static_cast<size_t>(c.below(few + 1))]; };
    case 4: return [=, &c](int64_t id) { return c.one_in(70) ? normal(id) : -kInf; };
    case 5: return [=, &c](int64_t) { return c.one_in(2 * vocab) ? 1.0f : -kInf; };
    case 6: return [=, &c](int64_t) { return narrow(double{kMax} * (2 * c.unit() - 1)); };
    case 7: return [&c](int64_t) { return subnormal(c); };
    case 8: return [&c](int64_t) { return any_finite(c); };
    case 9:  // where t is next to an integer and a half
      return [=, &c](int64_t) { return nudged(c, narrow((static_cast<double>(c.below(60)) - 30.5) / s)); };
    case 10:  // at the edge of the fast form, |t| = 2^21
      return [=, &c](int64_t) {
        const double edge = (c.one_in(2) ? 0x1p21 : -0x1p21) / s;
        return nudged(c, narrow(edge + c.normal() * a));
      };
    case 11:  // blocks that are far apart
      return [=, &c](int64_t id) { return narrow((c.normal() - static_cast<double>(id / 64) * a * 10) / s); };
    case 12:  // 2^20 octaves apart
      return [=, &c](int64_t) {
        const double step = static_cast<double>(c.below(3)) * 0x1p20;
        return narrow((c.normal() - step) / s);
      };
    case 13: return [=, &c](int64_t id) { return id == vocab / 2 ? 50.0f : narrow(-1000 + c.normal()); };
    case 14: return [=](int64_t id) { return narrow(static_cast<double>(id) * a / 100); };
    case 15: return [=](int64_t id) { return narrow(static_cast<double>(-id) * a / 100); };
    case 16:  // 28, 63 and 80 octaves below the largest, where masses and distances end
      return [=, &c](int64_t id) {
        const int64_t octaves =
            id % 97 == 0 ? 0 : c.one_of<int64_t>({27, 28, 29, 30, 39, 40, 41, 62, 63, 64, 79, 80, 81});
        return narrow((static_cast<double>(-octaves) + 0.4 * c.normal()) / s);
      };
    case 17:  // likely blocks at distances that a sample of the row misses, or unlikely ones that it meets too often
      return [=, &c](int64_t id) { return narrow(c.normal() * a + (id / 64 % 61 == few * 6 ? b : 0)); };
    default: return normal;
  }
}

}  // namespace

std::vector<float> logits_row(Choices& c, int64_t vocab, float scale) {
  const Maker make = maker(c, vocab, scale);
  std::vector<float> row(static_cast<size_t>(vocab));
  for (int64_t id = 0; id < vocab; ++id) row[static_cast<size_t>(id)] = make(id);
  const auto put_some = [&](float x, int64_t at_most) {
    for (int64_t i = 1 + c.below(at_most); i > 0; --i) row[static_cast<size_t>(c.below(vocab))] = x;
  };
  if (c.one_in(24)) put_some(__builtin_nanf(""), 2);
  if (c.one_in(24)) put_some(spec::float_of(0xFF800001u), 1);
  if (c.one_in(12)) put_some(kInf, 5);
  if (c.one_in(12)) put_some(-kInf, vocab);
  if (c.one_in(12)) put_some(kMax, 3);
  if (c.one_in(12)) put_some(-kMax, 3);
  return row;
}

std::vector<float> weights_row(Choices& c, int64_t vocab) {
  const int64_t kind = c.below(7);
  const double low = c.log_between(1e-44, 1e30);
  std::vector<float> row(static_cast<size_t>(vocab));
  for (float& x : row) {
    switch (kind) {
      case 0: x = narrow(low * c.unit()); break;
      case 1: x = spec::float_of(static_cast<uint32_t>(c.bits(23))); break;
      case 2: x = std::abs(any_finite(c)); break;
      case 3: x = c.one_in(30) ? narrow(c.unit()) : 0.0f; break;
      case 4: x = 0.25f; break;
      case 5: x = narrow(c.log_between(0x1p-70, 0x1p-56)); break;  // around the edge of the fast form
      default: x = narrow(c.unit());
    }
  }
  if (c.one_in(8)) row[static_cast<size_t>(c.below(vocab))] = -0.0f;
  if (c.one_in(24)) row[static_cast<size_t>(c.below(vocab))] = -1e-45f;
  if (c.one_in(24)) row[static_cast<size_t>(c.below(vocab))] = c.one_in(2) ? kInf : -kInf;
  if (c.one_in(24)) row[static_cast<size_t>(c.below(vocab))] = __builtin_nanf("");
  return row;
}

uint16_t narrowed(float x, DType dtype) {
  const uint32_t u = spec::bits_of(x), magnitude = u & 0x7FFFFFFFu;
  if (dtype == DType::bfloat16) return static_cast<uint16_t>(u >> 16 | (x != x ? 1 : 0));
  const uint32_t sign = u >> 16 & 0x8000u;
  uint32_t rest = 0;
  if (magnitude > 0x7F800000u)
    rest = 0x7E00u;
  else if (magnitude >= 0x47800000u)
    rest = 0x7C00u;  // 2^16
  else if (magnitude >= 0x38800000u)
    rest = (magnitude - 0x38000000u) >> 13;  // 2^-14
  else
    rest = static_cast<uint32_t>(spec::float_of(magnitude) * 0x1p24f);
  return static_cast<uint16_t>(sign | rest);
}

}  // namespace onedraw::tests
