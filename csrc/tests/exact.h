// An array of exactly n elements on the heap: under the address sanitizer, one element too many is seen.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>

namespace onedraw::tests {

template <class T>
class Exact {
 public:
  Exact() = default;
  explicit Exact(int64_t n) : size_(n), data_(n > 0 ? new T[static_cast<size_t>(n)] : nullptr) {}

  T* get() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_[i]; }
  int64_t size() const { return size_; }
  void fill_bytes(int byte) {
    if (data_) memset(static_cast<void*>(data_.get()), byte, static_cast<size_t>(size_) * sizeof(T));
  }

 private:
  int64_t size_ = 0;
  std::unique_ptr<T[]> data_;
};

}  // namespace onedraw::tests
