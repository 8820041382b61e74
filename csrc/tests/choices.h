// Where a random case takes its choices from: a seeded generator, or somebody's bytes (a fuzzer's) with the generator
// behind them, so that few bytes already make a whole case and every byte matters. Where an expression
// holds two choices, the compiler says which is taken first: write two statements, and the case is the same everywhere.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace onedraw::tests {

class Choices {
 public:
  explicit Choices(uint64_t seed) : state_(seed) {}
  Choices(const uint8_t* bytes, size_t size) : state_(size), bytes_(bytes), left_(size) {
    for (size_t i = 0; i < size; ++i) state_ = (state_ ^ bytes[i]) * 0x100000001B3ull;
  }

  // n random bits, 1 <= n <= 64.
  uint64_t bits(int n) {
    uint64_t x = 0;
    if (left_ >= static_cast<size_t>(n + 7) / 8) {
      for (int i = 0; i < n; i += 8, --left_) x = x << 8 | *bytes_++;
    } else {
      left_ = 0;
      x = next();
    }
    return x & (~uint64_t{0} >> (64 - n));
  }
  // From 0 to n - 1; a hair uneven, which does not matter here.
  int64_t below(int64_t n) {
    return static_cast<int64_t>(bits(n <= 256 ? 8 : n <= 65536 ? 16 : 32) % static_cast<uint64_t>(n));
  }
  bool one_in(int64_t n) { return below(n) == 0; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<int64_t>(values.size()))];
  }
  // In [0, 1), and the normal distribution, roughly.
  double unit() { return static_cast<double>(bits(16)) * 0x1p-16; }
  double normal() { return (unit() + unit() + unit() + unit() - 2) * std::sqrt(3.0); }
  // Between the two, about evenly in the logarithm. No function of libm that rounds: the same everywhere.
  double log_between(double low, double high) {
    const int first = std::ilogb(low), count = std::ilogb(high) - first + 1;
    const int exponent = first + static_cast<int>(below(count));
    const double x = std::ldexp(1 + unit(), exponent);
    return x < low ? low : x > high ? high : x;
  }

 private:
  uint64_t next() {  // splitmix64
    uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }

  uint64_t state_;
  const uint8_t* bytes_ = nullptr;
  size_t left_ = 0;
};

}  // namespace onedraw::tests
