// Compiled and linked to tell whether an nvcc works here: C++17, this host compiler, a GPU's code, the runtime.
#include <cuda_runtime.h>

#include <string>
#include <type_traits>

struct Step {
  unsigned long long by;
};

template <class T>
__global__ void add(const __grid_constant__ Step step, T* where) {
  if constexpr (std::is_same_v<T, unsigned>)
    *where += static_cast<unsigned>(step.by);
  else
    *where = static_cast<T>((static_cast<unsigned __int128>(*where) * step.by) >> 64);
}

std::string launch(unsigned* a, unsigned long long* b) {
  add<<<1, 1>>>(Step{1}, a);
  add<<<1, 1>>>(Step{2}, b);
  return cudaGetErrorString(cudaGetLastError());
}
