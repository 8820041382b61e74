// What this build is, for `onedraw info`.
#pragma once

#include <pybind11/pybind11.h>

namespace onedraw::bindings {

inline pybind11::dict build_info() {
  pybind11::dict info;
  info["version"] = ONEDRAW_VERSION;
  info["compiler"] = ONEDRAW_COMPILER;
  info["build_type"] = ONEDRAW_BUILD_TYPE;
  info["flags"] = ONEDRAW_FLAGS;
  info["openmp"] = _OPENMP;
  info["cuda"] = ONEDRAW_CUDA_STATE;
  return info;
}

}  // namespace onedraw::bindings
