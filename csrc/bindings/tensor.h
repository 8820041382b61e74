// Any framework's tensor as plain memory, through DLPack: the C exchange API of the tensor's type where there is
// one (torch since 2.10), which costs nanoseconds, else `__dlpack__` (NumPy, JAX, CuPy).
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "../third_party/dlpack.h"

namespace onedraw::bindings {

namespace py = pybind11;

struct Tensor {
  void* data = nullptr;
  DLDataType dtype{};
  DLDevice device{};
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements
  py::object keep;               // what keeps the memory alive

  int64_t size() const {
    int64_t n = 1;
    for (int64_t extent : shape) n *= extent;
    return n;
  }
  bool is(DLDataTypeCode code, int bits) const { return dtype.code == code && dtype.bits == bits && dtype.lanes == 1; }
  bool contiguous() const {
    if (size() == 0) return true;
    int64_t expected = 1;
    for (size_t i = shape.size(); i-- > 0;) {
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
};

inline Tensor view_of(const DLTensor& t, py::object keep, const char* name) {
  Tensor result;
  result.data = static_cast<char*>(t.data) + (t.data ? t.byte_offset : 0);
  result.dtype = t.dtype;
  result.device = t.device;
  result.shape.assign(t.shape, t.shape + t.ndim);
  if (t.strides) {
    result.strides.assign(t.strides, t.strides + t.ndim);
  } else {
    result.strides.resize(static_cast<size_t>(t.ndim));
    int64_t stride = 1;
    for (size_t i = result.shape.size(); i-- > 0; stride *= result.shape[i]) result.strides[i] = stride;
  }
  result.keep = std::move(keep);
  if (!result.data && result.size() > 0)
    throw py::value_error(std::string(name) + " has no memory (a fake or meta tensor?)");
  return result;
}

// The exchange API of an object's type, or null; looked up once a type. Called with the GIL held.
inline const DLPackExchangeAPI* exchange_api(py::handle object) {
  static std::unordered_map<PyTypeObject*, const DLPackExchangeAPI*> known;
  PyTypeObject* type = Py_TYPE(object.ptr());
  const auto found = known.find(type);
  if (found != known.end()) return found->second;
  const DLPackExchangeAPI* api = nullptr;
  const py::object capsule =
      py::getattr(py::handle(reinterpret_cast<PyObject*>(type)), "__dlpack_c_exchange_api__", py::none());
  if (PyCapsule_CheckExact(capsule.ptr())) {
    api = static_cast<const DLPackExchangeAPI*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    if (!api) throw py::error_already_set();
    if (api->header.version.major != DLPACK_MAJOR_VERSION || !api->dltensor_from_py_object_no_sync) api = nullptr;
  }
  Py_INCREF(type);  // the cache must not outlive a type whose address is used again
  known.emplace(type, api);
  return api;
}

// The stream that an object's framework works on, on the device of this tensor; 0 (the default one) where none is told.
inline uintptr_t stream_of(py::handle object) {
  const DLPackExchangeAPI* api = exchange_api(object);
  if (!api || !api->current_work_stream || !api->dltensor_from_py_object_no_sync) return 0;
  DLTensor t;
  void* stream = nullptr;
  if (api->dltensor_from_py_object_no_sync(object.ptr(), &t) != 0) throw py::error_already_set();
  if (t.device.device_type == kDLCPU) return 0;
  if (api->current_work_stream(t.device.device_type, t.device.device_id, &stream) != 0) throw py::error_already_set();
  return reinterpret_cast<uintptr_t>(stream);
}

inline Tensor tensor_of(py::handle object, const char* name) {
  const py::object keep = py::reinterpret_borrow<py::object>(object);
  if (const DLPackExchangeAPI* api = exchange_api(object)) {
    DLTensor t;
    if (api->dltensor_from_py_object_no_sync(object.ptr(), &t) != 0) throw py::error_already_set();
    return view_of(t, keep, name);
  }
  if (!py::hasattr(object, "__dlpack__"))
    throw py::type_error(std::string(name) + " must be a tensor, got " + Py_TYPE(object.ptr())->tp_name);
  py::object capsule;
  try {
    capsule = object.attr("__dlpack__")(py::arg("max_version") = py::make_tuple(DLPACK_MAJOR_VERSION, 0));
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;
    capsule = object.attr("__dlpack__")();  // a producer older than DLPack 1.0
  }
  // The capsule is never renamed to "used": it still owns the memory, and lives as long as the view.
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    auto* managed = static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    return view_of(managed->dl_tensor, capsule, name);
  }
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (!managed) throw py::error_already_set();
  return view_of(managed->dl_tensor, capsule, name);
}

}  // namespace onedraw::bindings
