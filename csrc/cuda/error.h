// A CUDA error in words, and what to do about it.
#pragma once

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdlib>
#include <string>

namespace onedraw::cuda {

// 12040 is 12.4.
inline std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// The newest CUDA that the driver knows; 0 if there is no driver. Asked of the driver itself, since the runtime takes a
// driver that is missing for one that is too old.
inline int driver_version() {
  void* const driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (!driver) return 0;
  int version = 0;
  if (void* const function = dlsym(driver, "cuDriverGetVersion")) reinterpret_cast<int (*)(int*)>(function)(&version);
  dlclose(driver);
  return version;
}

inline std::string about_driver() {
  const int version = driver_version();
  if (version == 0)
    return "there is no NVIDIA driver (libcuda.so.1): install one, or start the container with the GPU, as "
           "`docker run --gpus all` does";
  const std::string major = std::to_string(CUDART_VERSION / 1000);
  const std::string series = CUDART_VERSION / 1000 == 12   ? " (525 or later)"
                             : CUDART_VERSION / 1000 == 13 ? " (580 or later)"
                                                           : "";
  return "the NVIDIA driver is one for CUDA " + version_text(version) + ", and this build of onedraw is one for CUDA " +
         version_text(CUDART_VERSION) + ": install a driver for CUDA " + major + series +
         ", or build onedraw with an nvcc of CUDA " + std::to_string(version / 1000);
}

inline std::string about_devices() {
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible) return "CUDA_VISIBLE_DEVICES is '" + std::string(visible) + "': unset it, or name a GPU that is there";
  return "the driver is there, but no GPU: start the container with one, as `docker run --gpus all` does";
}

// What to do, where the error itself does not say.
inline std::string remedy(cudaError_t error) {
  switch (error) {
    case cudaErrorInsufficientDriver: return about_driver();
    case cudaErrorNoDevice: return about_devices();
    case cudaErrorInvalidDevice: return "`onedraw info` lists the devices that are visible";
    case cudaErrorNoKernelImageForDevice:
      return "this build has no code for that GPU; `onedraw info` says for which: build it anew with "
             "-C cmake.define.ONEDRAW_CUDA_ARCHITECTURES=native";
    case cudaErrorUnsupportedPtxVersion:
      return "for that GPU this build has PTX only, of a CUDA newer than the driver: install a newer driver, or build "
             "it "
             "anew with -C cmake.define.ONEDRAW_CUDA_ARCHITECTURES=native";
    case cudaErrorInitializationError:
      return "if this process was forked from one that had used CUDA: start it by spawn instead";
    default: return "";
  }
}

// Nothing, or which call failed, why, and what to do.
inline std::string error_of(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return "";
  const std::string advice = remedy(error);
  const std::string name = std::string(" (") + call + ": " + cudaGetErrorName(error) + ")";
  if (error == cudaErrorInsufficientDriver) return advice + name;
  return std::string(call) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")" +
         (advice.empty() ? "" : "; " + advice);
}

}  // namespace onedraw::cuda
