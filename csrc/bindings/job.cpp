#include "job.h"

#include <cstdlib>
#include <stdexcept>

#include "../cuda/launch.h"
#include "../spec/mass.h"

namespace onedraw::bindings {

namespace {

constexpr int64_t kMaxVocab = int64_t{1} << 22;

[[noreturn]] void fail(const std::string& message) { throw py::value_error("internal: " + message); }

void require(bool fine, const std::string& message) {
  if (!fine) fail(message);
}

// What is checked in each run makes no string where all is well.
void require(bool fine, const char* message) {
  if (!fine) fail(message);
}

bool on_cpu(const Tensor& t) { return t.device.device_type == kDLCPU; }

template <class T>
constexpr bool kIsFloat = std::is_same_v<T, float>;

// An int of any size that torch takes as a seed, as its 64 bits.
int64_t to_int64(py::handle value) {
  int overflow = 0;
  const long long x = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  if (overflow > 0) {
    const unsigned long long u = PyLong_AsUnsignedLongLong(value.ptr());
    if (PyErr_Occurred()) throw py::error_already_set();
    return static_cast<int64_t>(u);
  }
  if (overflow < 0) throw py::value_error("internal: an integer below -2^63");
  if (x == -1 && PyErr_Occurred()) throw py::error_already_set();
  return x;
}

DType dtype_of(const Tensor& t) {
  if (t.is(kDLFloat, 32)) return DType::float32;
  if (t.is(kDLFloat, 16)) return DType::float16;
  if (t.is(kDLBfloat, 16)) return DType::bfloat16;
  throw py::value_error("internal: logits are not float32, float16 or bfloat16");
}

// The rows of an [columns] or [rows, columns] tensor: how many (0: one for all) and how far apart.
int64_t rows_of(const Tensor& t, int64_t& stride, const std::string& name) {
  require(t.shape.size() == 1 || t.shape.size() == 2, name + " is not [V] or [B, V]");
  require(t.strides.back() == 1 || t.shape.back() <= 1, name + " is not contiguous in its last dimension");
  stride = t.shape.size() == 2 ? t.strides[0] : 0;
  return t.shape.size() == 2 ? t.shape[0] : 0;
}

void check_sparse(const int64_t* starts, int64_t rows, const int64_t* id, int64_t count) {
  require(starts[0] == 0 && starts[rows] == count, "the offsets of a sparse logit_bias do not span it");
  for (int64_t r = 0; r < rows; ++r) require(starts[r] <= starts[r + 1], "the offsets of a sparse logit_bias fall");
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t at = starts[r] + 1; at < starts[r + 1]; ++at)
      require(id[at - 1] < id[at], "the ids of a sparse logit_bias do not ascend");
}

}  // namespace

PyJob::PyJob() {
  job.temperature = {1.0f, nullptr};
  job.top_p = {1.0f, nullptr};
  job.steps = 1;
  job.replacement = true;
  job.num_samples = 1;
}

template <class T>
void PyJob::set_per_row(PerRow<T>& field, const std::string& name, py::object value) {
  if (PyLong_Check(value.ptr()) || PyFloat_Check(value.ptr())) {
    if constexpr (kIsFloat<T>) {
      field = {value.cast<float>(), nullptr};
    } else {
      field = {to_int64(value), nullptr};
    }
    inputs_.erase(name);
    return;
  }
  Tensor t = tensor_of(value, name.c_str());
  require(t.shape.size() == 1 && t.contiguous(), name + " is not a contiguous vector");
  require(kIsFloat<T> ? t.is(kDLFloat, 32) : t.is(kDLInt, 64), name + " has the wrong dtype");
  field = {T{}, static_cast<const T*>(t.data)};
  inputs_[name] = std::move(t);
}

void PyJob::require_idle() const {
  if (running_) throw std::runtime_error("this Sampler or Job is drawing in another thread: each thread needs its own");
}

void PyJob::set(const std::string& name, py::object value) {
  require_idle();
  if (name == "temperature") return set_per_row(job.temperature, name, value);
  if (name == "top_k") return set_per_row(job.top_k, name, value);
  if (name == "top_p") return set_per_row(job.top_p, name, value);
  if (name == "min_p") return set_per_row(job.min_p, name, value);
  if (name == "seed") return set_per_row(job.seed, name, value);
  if (name == "stream") return set_per_row(job.stream, name, value);
  if (name == "position") return set_per_row(job.position, name, value);
  throw py::value_error("internal: no parameter named " + name);
}

void PyJob::allow(py::object mask) {
  require_idle();
  job.mask = Mask::none;
  job.allowed = nullptr;
  inputs_.erase("allowed");
  if (mask.is_none()) return;
  Tensor t = tensor_of(mask, "allowed");
  const bool bools = t.is(kDLBool, 8);
  require(bools || t.is(kDLInt, 32), "allowed is neither bool nor int32");
  mask_rows_ = rows_of(t, job.allowed_stride, "allowed");
  mask_columns_ = bools ? t.shape.back() : t.shape.back() * 32;
  job.mask = bools ? Mask::bools : Mask::bits;
  job.allowed = t.data;
  inputs_["allowed"] = std::move(t);
}

void PyJob::bias(py::object dense) {
  require_idle();
  job.bias = nullptr;
  inputs_.erase("bias");
  if (dense.is_none()) return;
  Tensor t = tensor_of(dense, "logit_bias");
  require(t.is(kDLFloat, 32), "logit_bias is not float32");
  bias_rows_ = rows_of(t, job.bias_stride, "logit_bias");
  bias_columns_ = t.shape.back();
  job.bias = static_cast<const float*>(t.data);
  inputs_["bias"] = std::move(t);
}

void PyJob::bias_sparse(py::object offsets, py::object ids, py::object values) {
  require_idle();
  job.bias_offsets = nullptr;
  for (const char* name : {"bias_offsets", "bias_ids", "bias_values"}) inputs_.erase(name);
  if (offsets.is_none()) return;
  Tensor o = tensor_of(offsets, "bias offsets"), i = tensor_of(ids, "bias ids"), v = tensor_of(values, "bias values");
  for (const Tensor* t : {&o, &i, &v})
    require(t->shape.size() == 1 && t->contiguous(), "a sparse logit_bias is not made of contiguous vectors");
  require(o.is(kDLInt, 64) && i.is(kDLInt, 64) && v.is(kDLFloat, 32), "a sparse logit_bias has the wrong dtypes");
  require(o.shape[0] >= 2 && i.shape[0] == v.shape[0], "a sparse logit_bias has the wrong lengths");
  const int64_t* starts = static_cast<const int64_t*>(o.data);
  sparse_rows_ = o.shape[0] - 1;
  if (on_cpu(o) && on_cpu(i)) check_sparse(starts, sparse_rows_, static_cast<const int64_t*>(i.data), i.shape[0]);
  job.bias_offsets = starts;
  job.bias_ids = static_cast<const int64_t*>(i.data);
  job.bias_values = static_cast<const float*>(v.data);
  job.bias_shared = sparse_rows_ == 1;
  inputs_["bias_offsets"] = std::move(o);
  inputs_["bias_ids"] = std::move(i);
  inputs_["bias_values"] = std::move(v);
}

void PyJob::output(const std::string& name, py::object tensor) {
  require_idle();
  void* data = nullptr;
  Tensor t;
  if (!tensor.is_none()) {
    t = tensor_of(tensor, name.c_str());
    require(t.contiguous(), name + " is not contiguous");
    data = t.data;
  }
  const auto as = [&](auto*& field, DLDataTypeCode code, int bits) {
    require(tensor.is_none() || t.is(code, bits), name + " has the wrong dtype");
    field = static_cast<std::remove_reference_t<decltype(field)>>(data);
  };
  if (name == "token")
    as(job.token, kDLInt, 64);
  else if (name == "status")
    as(job.status, kDLInt, 32);
  else if (name == "worst")
    as(job.worst, kDLInt, 32);
  else if (name == "logprob")
    as(job.logprob, kDLFloat, 32);
  else if (name == "raw_logprob")
    as(job.raw_logprob, kDLFloat, 32);
  else if (name == "rank")
    as(job.rank, kDLInt, 64);
  else if (name == "num_kept")
    as(job.num_kept, kDLInt, 64);
  else if (name == "kept_mass")
    as(job.kept_mass, kDLFloat, 32);
  else if (name == "entropy")
    as(job.entropy, kDLFloat, 32);
  else if (name == "kept")
    as(job.kept, kDLBool, 8);
  else if (name == "probs")
    as(job.probs, kDLFloat, 32);
  else if (name == "top_token")
    as(job.top_token, kDLInt, 64);
  else if (name == "top_logprob")
    as(job.top_logprob, kDLFloat, 32);
  else
    throw py::value_error("internal: no output named " + name);
  if (tensor.is_none())
    outputs_.erase(name);
  else
    outputs_[name] = std::move(t);
}

// R2.5: of given weights there are tokens, by no filter, and nothing that only logits have.
void PyJob::check_weights(const Job& j) const {
  require(!j.bias && !j.bias_offsets, "weights have no bias");
  require(!j.logprob && !j.raw_logprob && !j.top_token && !j.top_logprob, "weights have no logprobs");
  require(!j.kept_mass && !j.entropy && !j.probs, "weights have no kept_mass, entropy or probs");
}

// What can be read here; a kernel on a device gives rows with a parameter out of range a status.
void PyJob::check_parameters(const Job& j) const {
  for (int64_t b = 0; b < j.batch; ++b) {
    require(is_temperature(j.temperature.at(b)), "temperature out of range");
    require(is_top_p(j.top_p.at(b)), "top_p out of range");
    require(is_min_p(j.min_p.at(b)), "min_p out of range");
    if (!j.weights) continue;
    require(j.temperature.at(b) == 1, "weights have no temperature");
    require(j.top_k.at(b) < 1 && j.top_p.at(b) == 1 && j.min_p.at(b) == 0, "weights have no top_k, top_p or min_p");
  }
}

void PyJob::check(const Job& j, const DLDevice& device) const {
  const int64_t rows = j.batch * j.steps;
  for (const auto* tensors : {&inputs_, &outputs_})
    for (const auto& [name, t] : *tensors)
      if (t.device.device_type != device.device_type || t.device.device_id != device.device_id)
        fail(name + " is not on the device of the logits");
  require(j.vocab >= 1 && j.vocab <= kMaxVocab, "the vocabulary is not in [1, 2^22]");
  require(j.num_samples >= 1 && j.num_samples <= (1 << 24), "num_samples is not in [1, 2^24]");
  for (const auto& [name, t] : inputs_)
    if (t.shape.size() == 1 && name != "allowed" && name.rfind("bias", 0) != 0 && t.shape[0] != j.batch)
      fail(name + " has " + std::to_string(t.shape[0]) + " values for " + std::to_string(j.batch) + " requests");
  require(j.token || j.replacement, "a draw without replacement has no token to write");
  require(j.token || (!j.logprob && !j.raw_logprob && !j.rank), "logprob, raw_logprob and rank need a token");
  require(j.bad_token >= 0 && j.bad_token < j.vocab, "bad_token is not in the vocabulary");
  if (j.weights) check_weights(j);
  if (j.mask == Mask::bools) require(mask_columns_ == j.vocab, "allowed has another width than the logits");
  if (j.mask == Mask::bits) require(mask_columns_ >= j.vocab, "the bitmask is narrower than the logits");
  if (j.mask != Mask::none)
    require(mask_rows_ == 0 || mask_rows_ == rows, "allowed has another number of rows than the logits");
  if (j.bias)
    require(bias_columns_ == j.vocab && (bias_rows_ == 0 || bias_rows_ == rows),
            "logit_bias has another shape than the logits");
  if (j.bias_offsets)
    require(sparse_rows_ == 1 || sparse_rows_ == j.batch, "logit_bias has another number of rows than the logits");
  for (const auto& [name, t] : outputs_) {
    int64_t each = 1;
    if (name == "token") each = j.num_samples;
    if (name == "kept" || name == "probs") each = j.vocab;
    if (name == "top_token" || name == "top_logprob") each = j.num_top;
    if (t.size() != rows * each)
      fail(name + " has " + std::to_string(t.size()) + " elements for " + std::to_string(rows * each));
  }
}

Job PyJob::job_of(const Tensor& t) const {
  const size_t n = t.shape.size();
  require(n >= 1 && n <= 3, "logits are not [V], [B, V] or [B, T, V]");
  require(t.size() == 0 || t.strides.back() == 1 || t.shape.back() == 1,
          "logits are not contiguous in their last dimension");
  Job j = job;
  j.logits = t.data;
  j.dtype = dtype_of(t);
  j.vocab = t.shape.back();
  j.batch = n >= 2 ? t.shape[0] : 1;
  j.batch_stride = n >= 2 ? t.strides[0] : 0;
  j.steps = n == 3 ? t.shape[1] : 1;
  j.step_stride = n == 3 ? t.strides[1] : 0;
  j.num_top = 0;
  require(j.vocab >= 1, "the vocabulary is empty");
  if (j.batch * j.steps == 0) return j;
  for (const char* name : {"top_token", "top_logprob"}) {
    const auto found = outputs_.find(name);
    if (found != outputs_.end()) j.num_top = found->second.size() / (j.batch * j.steps);
  }
  check(j, t.device);
  return j;
}

void PyJob::run(py::object logits) const {
  const Tensor t = tensor_of(logits, "logits");
  require(on_cpu(t), "logits are not on the CPU");
  const Job j = job_of(t);
  require(!j.worst, "worst is an output on a device alone");
  if (j.batch * j.steps == 0) return;
  check_parameters(j);
  require_idle();
  running_ = true;
  bool fine;
  {
    py::gil_scoped_release release;
    fine = cpu::run(j);
  }
  running_ = false;
  if (!fine) throw std::bad_alloc();
}

void PyJob::run_cuda(py::object logits, py::object workspace, uintptr_t stream, bool advance) const {
  const Tensor t = tensor_of(logits, "logits"), space = tensor_of(workspace, "workspace");
  const bool in_host_memory = on_cpu(t) && std::getenv("CUDA_ON_CPU");  // where device memory is the host's
  require(t.device.device_type == kDLCUDA || in_host_memory, "logits are not on a CUDA device");
  const Job j = job_of(t);
  const int64_t rows = j.batch * j.steps;
  if (rows == 0) return;
  if (advance) require(j.position.data && j.steps == 1, "only a vector of positions can advance, one a row");
  if (j.weights) {
    const auto is_off = [](const auto& parameter, double off) { return !parameter.data && parameter.at(0) == off; };
    require(is_off(j.temperature, 1), "weights have no temperature");
    require(is_off(j.top_k, 0) && is_off(j.top_p, 1) && is_off(j.min_p, 0), "weights have no top_k, top_p or min_p");
  }
  const int device = in_host_memory ? 0 : t.device.device_id;
  require_idle();
  cuda::Shape shape;
  std::string error = cuda::shape_of(device, rows, j.vocab, shape);
  if (error.empty()) {
    require(space.contiguous() && space.is(kDLUInt, 8) && space.device.device_type == t.device.device_type &&
                space.device.device_id == t.device.device_id && space.size() >= cuda::workspace_bytes(j.vocab, shape),
            "the workspace is too small, or not on the device of the logits");
    require(reinterpret_cast<uintptr_t>(space.data) % cuda::kAlignment == 0,
            "the workspace is not aligned to 16 bytes");
    running_ = true;
    {
      py::gil_scoped_release release;  // a launch waits where too many are under way
      error = cuda::run(j, device, reinterpret_cast<void*>(stream), shape, space.data, advance);
    }
    running_ = false;
  }
  if (!error.empty()) throw std::runtime_error(error);
}

}  // namespace onedraw::bindings
