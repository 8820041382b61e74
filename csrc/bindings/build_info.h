// What this build is, for `onedraw info`.
#pragma once

#include <pybind11/pybind11.h>

#include <sstream>
#include <string>

namespace onedraw::bindings {

// "80 90" as ["80", "90"].
inline pybind11::list words(const char* text) {
  pybind11::list result;
  std::istringstream in(text);
  for (std::string word; in >> word;) result.append(word);
  return result;
}

inline pybind11::dict build_info() {
  pybind11::dict info;
  info["version"] = ONEDRAW_VERSION;
  info["compiler"] = ONEDRAW_COMPILER;
  info["build_type"] = ONEDRAW_BUILD_TYPE;
  info["flags"] = ONEDRAW_FLAGS;
  info["openmp"] = _OPENMP;
  info["cuda"] = ONEDRAW_CUDA_STATE;
  info["nvcc"] = ONEDRAW_CUDA_VERSION;
  info["cuda_architectures"] = words(ONEDRAW_CUDA_REAL);
  info["cuda_ptx"] = words(ONEDRAW_CUDA_PTX);
  info["cuda_runtime"] = ONEDRAW_CUDA_RUNTIME;
  return info;
}

}  // namespace onedraw::bindings
