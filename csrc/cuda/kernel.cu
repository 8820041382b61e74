// The launch: one for a whole call.
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>

#include "draw.cuh"
#include "error.h"
#include "launch.h"

namespace onedraw::cuda {

namespace {

// Whether there is more to tell than tokens drawn with replacement, and statuses.
bool has_reports(const Job& job) {
  return !job.replacement || job.logprob || job.raw_logprob || job.rank || job.num_kept || job.kept_mass ||
         job.entropy || job.kept || job.probs || job.num_top > 0;
}

template <bool reports>
const void* kernel_of(DType dtype) {
  switch (dtype) {
    case DType::float16: return reinterpret_cast<const void*>(&draw<DType::float16, reports>);
    case DType::bfloat16: return reinterpret_cast<const void*>(&draw<DType::bfloat16, reports>);
    default: return reinterpret_cast<const void*>(&draw<DType::float32, reports>);
  }
}

int64_t blocks_of(int64_t vocab) { return (vocab + spec::kBlock - 1) / spec::kBlock; }

std::atomic<int> forced_parts{0};

// The device that was current comes back.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    error_ = cudaGetDevice(&before_);
    if (error_ == cudaSuccess && before_ != device) error_ = cudaSetDevice(device);
    changed_ = error_ == cudaSuccess && before_ != device;
  }
  ~OnDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  cudaError_t error() const { return error_; }

 private:
  int before_ = 0;
  cudaError_t error_;
  bool changed_ = false;
};

}  // namespace

int64_t workspace_bytes(int64_t vocab, Shape shape) {
  return Workspace{nullptr, blocks_of(vocab), shape.slots}.bytes();
}

std::string device_count(int& count) { return error_of(cudaGetDeviceCount(&count), "cudaGetDeviceCount"); }

void force_parts(int parts) { forced_parts = parts; }

std::string shape_of(int device, int64_t rows, int64_t vocab, Shape& shape) {
  int processors = 0, major = 0, minor = 0;
  for (const auto& [value, attribute] :
       {std::pair{&processors, cudaDevAttrMultiProcessorCount}, std::pair{&major, cudaDevAttrComputeCapabilityMajor},
        std::pair{&minor, cudaDevAttrComputeCapabilityMinor}}) {
    const cudaError_t error = cudaDeviceGetAttribute(value, attribute, device);
    if (error != cudaSuccess) return error_of(error, "cudaDeviceGetAttribute");
  }
  const Tuning& tuning = tuning_of(10 * major + minor);
  const int forced = rows <= kMostSplit ? forced_parts.load() : 0;
  shape.parts =
      forced ? std::min(forced, kMostParts) : static_cast<int>(parts_of(tuning, processors, rows, blocks_of(vocab)));
  const int64_t in_flight = int64_t{tuning.per_processor} * processors;
  shape.slots = static_cast<int>(shape.parts > 1 ? rows : std::min(rows, in_flight));
  return "";
}

std::vector<Layout> tuning() {
  std::vector<Layout> table;
  for (const Tuning& t : kTuning) table.push_back({t.architecture, kThreads, t.per_processor, t.least_part});
  return table;
}

std::string run(const Job& job, int device, void* stream, Shape shape, void* workspace, bool advance) {
  const OnDevice on(device);
  if (on.error() != cudaSuccess) return error_of(on.error(), "cudaSetDevice");
  Job copy = job;
  Workspace space{static_cast<char*>(workspace), blocks_of(job.vocab), shape.slots};
  void* arguments[] = {&copy, &space, &shape.parts, &advance};
  const unsigned grid = static_cast<unsigned>(shape.slots) * static_cast<unsigned>(shape.parts);
  const void* const kernel = has_reports(job) ? kernel_of<true>(job.dtype) : kernel_of<false>(job.dtype);
  return error_of(cudaLaunchKernel(kernel, dim3(grid), dim3(kThreads), arguments, 0, static_cast<cudaStream_t>(stream)),
                  "the launch of onedraw's kernel `draw`");
}

}  // namespace onedraw::cuda
