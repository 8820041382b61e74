// The kernel, and its launch: one for a whole call. Where a row has several thread blocks, each scans a part of it, and
// the one that comes last finishes the row.
#include <cuda_runtime.h>

#include <algorithm>
#include <new>

#include "error.h"
#include "launch.h"
#include "report.cuh"

namespace onedraw::cuda {

namespace {

constexpr int64_t kAlign = 256;

__host__ __device__ inline int64_t aligned_bytes(int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

struct Workspace {
  char* memory;
  int64_t blocks;  // of a row
  int64_t slots;

  __host__ __device__ int64_t slot_bytes() const { return aligned_bytes(blocks * 4) + 2 * aligned_bytes(blocks * 8); }
  __host__ __device__ int64_t bytes() const { return aligned_bytes(slots * 8) + slots * slot_bytes(); }
  // How many of a row's thread blocks have arrived, and whether one met a NaN.
  __device__ unsigned* arrived(int64_t slot) const { return reinterpret_cast<unsigned*>(memory) + 2 * slot; }
  __device__ unsigned* has_nan(int64_t slot) const { return arrived(slot) + 1; }
  __device__ Slot slot(int64_t i) const {
    char* const p = memory + aligned_bytes(slots * 8) + i * slot_bytes();
    char* const mass = p + aligned_bytes(blocks * 4);
    return {reinterpret_cast<float*>(p), reinterpret_cast<uint64_t*>(mass),
            reinterpret_cast<uint64_t*>(mass + aligned_bytes(blocks * 8))};
  }
};

__device__ bool is_valid(const Job& job, int64_t request) {
  return is_temperature(job.temperature.at(request)) && is_top_p(job.top_p.at(request)) &&
         is_min_p(job.min_p.at(request));
}

template <DType dtype>
__device__ Status status_of_nan(const Row<dtype>& row) {
  if (!row.settings.weights) return Status::nan;
  bool nan = false;
  for (int64_t id = threadIdx.x; id < row.reader.vocab; id += kThreads) {
    const float x = raw_value(row.reader, id);
    nan |= is_allowed(row.reader, id) && x != x;
  }
  return row.all(static_cast<unsigned>(nan), Max()) ? Status::nan : Status::invalid;
}

template <DType dtype>
__device__ void write_answer(Row<dtype>& row, const Cut& cut) {
  const Job& job = row.job;
  const Settings& s = row.settings;
  const int64_t r = row.index;
  int64_t token = 0;
  if (s.greedy || !job.token) token = first_token(row);
  if (s.greedy) {
    for (int64_t j = threadIdx.x; job.token && j < job.num_samples; j += kThreads)
      job.token[r * job.num_samples + j] = token;
  } else if (job.token && job.replacement) {
    for (int64_t j = job.num_samples - 1; j >= 0; --j) {
      const uint32_t sample = static_cast<uint32_t>(j);
      token = token_race(row, cut, block_race(row, cut, sample), sample);
      put(job.token, r * job.num_samples + j, token);
    }
  } else if (job.token) {
    Racer racer{INT64_MIN, -1};
    for (int64_t j = 0; j < job.num_samples; ++j) {
      racer = next_of_flat_race(row, cut, racer);
      if (j == 0) token = racer.id;
      put(job.token, r * job.num_samples + j, racer.id);
    }
  }
  put(job.status, r, static_cast<int32_t>(Status::ok));

  const float x = edited_value(row.reader, token);
  const uint64_t last = s.greedy ? spec::order(spec::key(x), static_cast<uint32_t>(token)) : cut.last;
  if (job.logprob) put(job.logprob, r, s.greedy ? 0.0f : logprob(s, x, row.n_row, cut.mass));
  if (job.rank) put(job.rank, r, count_through(row, spec::order(spec::key(x), static_cast<uint32_t>(token))));
  if (job.num_kept) put(job.num_kept, r, s.greedy ? 1 : cut.is_filtered ? cut.kept.count : count(row, kLowest));
  if (job.kept_mass) put(job.kept_mass, r, s.greedy ? 1.0f : spec::share(cut.mass, cut.mass_all));
  if (job.entropy) put(job.entropy, r, s.greedy ? 0.0f : entropy(row, cut));
  scatter(row, job.kept, last, [](float) { return uint8_t{1}; });
  scatter(row, job.probs, last, [&](float v) {
    if (s.greedy) return 1.0f;
    const spec::Weight w = weight(s, v);
    return spec::probability(w.m, row.n_row - w.n, cut.mass);
  });
  write_top(row, last, cut.mass);
  if (job.raw_logprob) put(job.raw_logprob, r, raw_logprob(row, token));
}

// From a scanned row to its answer.
template <DType dtype>
__device__ void finish(Row<dtype>& row, bool nan) {
  if (!is_valid(row.job, row.index / row.job.steps)) return write_bad(row.job, row.index, Status::invalid);
  if (nan) return write_bad(row.job, row.index, status_of_nan(row));
  float largest = -__builtin_inff();
  for (int b = static_cast<int>(threadIdx.x); b < row.blocks; b += kThreads) largest = Max()(largest, row.block_max(b));
  largest = row.all(largest, Max());
  if (threadIdx.x == 0) row.set_max(largest);
  __syncthreads();
  if (row.max == -__builtin_inff()) return write_bad(row.job, row.index, Status::empty);
  const Job& job = row.job;
  const bool distinct = !job.replacement;
  if (row.settings.greedy) {
    if (distinct && job.num_samples > 1) return write_bad(job, row.index, Status::too_few);
    return write_answer(row, Cut{});
  }
  const Cut kept = cut(row);
  if (distinct && (kept.is_filtered ? kept.kept.count : count(row, kLowest)) < job.num_samples)
    return write_bad(job, row.index, Status::too_few);
  write_answer(row, kept);
}

template <DType dtype>
__global__ void __launch_bounds__(kThreads)
    draw(const __grid_constant__ Job job, const __grid_constant__ Workspace workspace, int parts, bool advance) {
  __shared__ uint64_t reductions[kWarps];
  __shared__ alignas(Row<dtype>) char memory[sizeof(Row<dtype>)];
  __shared__ bool is_last;
  Row<dtype>& row = *reinterpret_cast<Row<dtype>*>(memory);
  const int64_t rows = job.batch * job.steps;
  const int64_t in_flight = gridDim.x / static_cast<unsigned>(parts);
  const int64_t slot = blockIdx.x / static_cast<unsigned>(parts);
  const int part = static_cast<int>(blockIdx.x % static_cast<unsigned>(parts));
  for (int64_t index = slot; index < rows; index += in_flight) {
    if (threadIdx.x == 0) new (&row) Row<dtype>(job, index, workspace.slot(slot), reductions);
    __syncthreads();
    const int first = static_cast<int>(int64_t{row.blocks} * part / parts);
    const int last = static_cast<int>(int64_t{row.blocks} * (part + 1) / parts);
    bool nan = row.all(static_cast<unsigned>(scan(row, first, last)), Max()) != 0;
    if (parts > 1) {
      if (threadIdx.x == 0) {
        if (nan) atomicOr(workspace.has_nan(slot), 1u);
        __threadfence();
        is_last = atomicAdd(workspace.arrived(slot), 1u) + 1 == static_cast<unsigned>(parts);
      }
      __syncthreads();
      if (!is_last) return;  // a row's parts are of one wave: there is no further row
      __threadfence();
      nan = atomicOr(workspace.has_nan(slot), 0u) != 0;
      __syncthreads();
      if (threadIdx.x == 0) {
        *workspace.arrived(slot) = 0;
        *workspace.has_nan(slot) = 0;
      }
    }
    finish(row, nan);
    __syncthreads();  // before the row's place is taken by the next
    if (advance && threadIdx.x == 0) const_cast<int64_t*>(job.position.data)[index] += 1;
  }
}

const void* kernel_of(DType dtype) {
  switch (dtype) {
    case DType::float16: return reinterpret_cast<const void*>(&draw<DType::float16>);
    case DType::bfloat16: return reinterpret_cast<const void*>(&draw<DType::bfloat16>);
    default: return reinterpret_cast<const void*>(&draw<DType::float32>);
  }
}

int64_t blocks_of(int64_t vocab) { return (vocab + spec::kBlock - 1) / spec::kBlock; }

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

std::string shape_of(int device, int64_t rows, int64_t vocab, Shape& shape) {
  int processors = 0;
  const cudaError_t error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error_of(error, "cudaDeviceGetAttribute");
  const int64_t wanted = 2 * processors;  // thread blocks that keep every processor busy
  constexpr int64_t kLeast = 64;          // blocks of a part: less is not worth a thread block
  const int64_t parts = rows >= processors ? 1 : std::min(wanted / rows, (blocks_of(vocab) + kLeast - 1) / kLeast);
  shape.parts = static_cast<int>(std::max<int64_t>(1, parts));
  shape.slots = static_cast<int>(shape.parts > 1 ? rows : std::min(rows, wanted));
  return "";
}

std::string run(const Job& job, int device, void* stream, Shape shape, void* workspace, bool advance) {
  const OnDevice on(device);
  if (on.error() != cudaSuccess) return error_of(on.error(), "cudaSetDevice");
  Job copy = job;
  Workspace space{static_cast<char*>(workspace), blocks_of(job.vocab), shape.slots};
  void* arguments[] = {&copy, &space, &shape.parts, &advance};
  const unsigned grid = static_cast<unsigned>(shape.slots) * static_cast<unsigned>(shape.parts);
  return error_of(cudaLaunchKernel(kernel_of(job.dtype), dim3(grid), dim3(kThreads), arguments, 0,
                                   static_cast<cudaStream_t>(stream)),
                  "the launch of onedraw's kernel `draw`");
}

}  // namespace onedraw::cuda
