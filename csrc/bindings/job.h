// A reusable call: Python values and tensors become one plain Job. Everything a user can get wrong was refused in
// Python; what is checked here is what we could get wrong, so that no argument can make a kernel leave its memory.
#pragma once

#include <atomic>
#include <map>
#include <string>

#include "../cpu/kernel.h"
#include "tensor.h"

namespace onedraw::bindings {

class PyJob {
 public:
  PyJob();
  void set(const std::string& name, py::object value);
  void allow(py::object mask);
  void bias(py::object dense);
  void bias_sparse(py::object offsets, py::object ids, py::object values);
  void output(const std::string& name, py::object tensor);
  void run(py::object logits) const;
  // On a CUDA device; returns once the kernel is launched. `workspace` is uint8, zero when new, of
  // cuda_workspace_bytes; with `advance` the kernel adds 1 to each request's position.
  void run_cuda(py::object logits, py::object workspace, uintptr_t stream, bool advance) const;

  Job job{};

 private:
  std::map<std::string, Tensor> inputs_;
  std::map<std::string, Tensor> outputs_;
  int64_t mask_columns_ = 0;
  int64_t mask_rows_ = 0;  // 0: one for all
  int64_t bias_columns_ = 0;
  int64_t bias_rows_ = 0;
  int64_t sparse_rows_ = 0;

  template <class T>
  void set_per_row(PerRow<T>& field, const std::string& name, py::object value);
  Job job_of(const Tensor& logits) const;
  void check(const Job& job, const DLDevice& device) const;
  void check_parameters(const Job& job) const;
  void check_weights(const Job& job) const;
  void require_idle() const;

  // While a kernel reads what inputs_ and outputs_ keep alive, with the interpreter's lock released, nothing may
  // change.
  mutable std::atomic<bool> running_{false};
};

}  // namespace onedraw::bindings
