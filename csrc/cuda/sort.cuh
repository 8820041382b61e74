// Sorting a few items in shared memory, by all threads.
#pragma once

#include "lanes.cuh"

namespace onedraw::cuda {

// items[0, count) into the order that comes_before(a, b) says, a total one: a few by counting how many come before
// each; more by a bitonic network, with `padding`, which comes before none, behind them up to a power of two.
template <class T, class ComesBefore>
__device__ void sort(T* items, int count, T padding, ComesBefore comes_before) {
  if (count <= kThreads) {
    const T own = thread() < count ? items[thread()] : padding;
    int before = 0;
    for (int i = 0; i < count; ++i) before += comes_before(items[i], own);
    __syncthreads();
    if (thread() < count) items[before] = own;
    __syncthreads();
    return;
  }
  int size = 2;
  while (size < count) size *= 2;
  for (int i = count + thread(); i < size; i += kThreads) items[i] = padding;
  for (int length = 2; length <= size; length *= 2) {
    for (int distance = length / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int i = thread(); i < size / 2; i += kThreads) {
        const int a = 2 * i - (i & (distance - 1)), b = a + distance;
        const T first = items[a], second = items[b];
        if (comes_before(second, first) == ((a & length) == 0)) {
          items[a] = second;
          items[b] = first;
        }
      }
    }
  }
  __syncthreads();
}

}  // namespace onedraw::cuda
