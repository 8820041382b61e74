// The kernel: from logits to answers. Where a row has several thread blocks, each scans a part of it, and the one that
// comes last finishes the row.
#pragma once

#include "report.cuh"
#include "workspace.h"

namespace onedraw::cuda {

// What Python checked where it could: per-row parameters that are in device memory.
__device__ inline bool is_valid(const Job& job, int64_t row) {
  const int64_t request = row / job.steps;
  const int64_t position = job.position.at(request) + row % job.steps, stream = job.stream.at(request);
  return is_temperature(job.temperature.at(request)) && is_top_p(job.top_p.at(request)) &&
         is_min_p(job.min_p.at(request)) && is_word(position) && is_word(stream);
}

__device__ __noinline__ bool is_nan(const Reader& r, int64_t id) {
  const float x = raw_value(r, id);
  return is_allowed(r, id) && x != x;
}

template <DType dtype>
__device__ __noinline__ Status status_of_nan(Row<dtype> row) {
  if (!row->settings.weights) return Status::nan;
  bool nan = false;
  for (int64_t id = thread(); id < row->reader.vocab; id += kThreads) {
    nan |= is_nan(row->reader, id);
  }
  return row.all(static_cast<unsigned>(nan), Max()) ? Status::nan : Status::invalid;
}

// By one thread, for all.
template <DType dtype>
__device__ void set_token(Row<dtype> row, int64_t token) {
  if (thread() == 0) row->token = token;
  __syncthreads();
}

// Samples with replacement; the first is the row's token.
template <DType dtype>
__device__ __noinline__ void draw_tokens(Row<dtype> row) {
  for (uint32_t sample = static_cast<uint32_t>(row->job.num_samples); sample-- > 0;) {
    const int block = block_race(row, sample);
    const int64_t token = token_race(row, block, sample);
    put(row->job.token, row->index * row->job.num_samples + sample, token);
    if (sample == 0) set_token(row, token);
  }
}

template <DType dtype>
__device__ __noinline__ void report_scalars(Row<dtype> row) {
  const Job& job = row->job;
  const bool greedy = row->settings.greedy;
  const auto token_order = [&] {
    return spec::order(spec::key(row.value_at(row->token)), static_cast<uint32_t>(row->token));
  };
  if (job.rank) put(job.rank, row->index, count_through(row, token_order()));
  if (job.num_kept) {
    const bool is_counted = greedy || row->cut.is_filtered;
    const int64_t counted = is_counted ? 0 : count_through(row, spec::kKeepAll);
    put(job.num_kept, row->index, greedy ? 1 : is_counted ? row->cut.count : counted);
  }
  if (job.entropy) put(job.entropy, row->index, greedy ? 0.0f : entropy(row));
  if (job.kept_mass) put(job.kept_mass, row->index, greedy ? 1.0f : spec::share(row->cut.mass, row->cut.mass_all));
  if (job.logprob) put(job.logprob, row->index, greedy ? 0.0f : logprob_of(row, row.value_at(row->token)));
  if (greedy) set_last(row, token_order());  // R1.8: it alone is kept
}

template <DType dtype>
__device__ __noinline__ void report_vectors(Row<dtype> row) {
  scatter(row, row->job.kept, [](float) { return uint8_t{1}; });
  scatter(row, row->job.probs, [&](float v) {
    if (row->settings.greedy) return 1.0f;
    const spec::Weight w = weight(row->settings, v);
    return spec::probability(w.m, row->n_row - w.n, row->cut.mass);
  });
}

// The row's token, or tokens, from the cut; false if there are too few.
template <bool reports, DType dtype>
__device__ bool draw_row(Row<dtype> row) {
  if (row->settings.greedy) {
    if (reports && !row->job.replacement && row->job.num_samples > 1) return false;
    set_token(row, first_token(row));
    const int64_t samples = row->job.num_samples;
    for (int64_t j = thread(); row->job.token && j < samples; j += kThreads)
      row->job.token[row->index * samples + j] = row->token;
    return true;
  }
  cut(row, reports);
  if (reports && !row->job.replacement) return draw_without_replacement(row);
  if (row->job.token)
    draw_tokens(row);
  else if (reports)
    set_token(row, first_token(row));
  return true;
}

// From a scanned row to its answer; with `reports`, more than tokens drawn with replacement, and statuses.
template <bool reports, DType dtype>
__device__ void finish(Row<dtype> row) {
  if (!is_valid(row->job, row->index)) return write_bad(row->job, row->index, Status::invalid);
  const float largest = max_of_blocks(row);
  if (largest != largest) return write_bad(row->job, row->index, status_of_nan(row));
  if (largest == -__builtin_inff()) return write_bad(row->job, row->index, Status::empty);
  if (thread() == 0) row.set_max(largest);
  __syncthreads();
  if (!draw_row<reports>(row)) return write_bad(row->job, row->index, Status::too_few);
  put(row->job.status, row->index, static_cast<int32_t>(Status::ok));
  if (!reports) return;
  report_scalars(row);
  report_vectors(row);
  write_top(row);
  if (row->job.raw_logprob) put(row->job.raw_logprob, row->index, raw_logprob(row));
}

template <DType dtype, bool reports>
__global__ void __launch_bounds__(kThreads, reports ? kResidentWithReports : kResident)
    draw(const __grid_constant__ Job job, const __grid_constant__ Workspace workspace, int parts, bool advance) {
  __shared__ int slot, part, in_flight;
  __shared__ bool is_last;
  const Row<dtype> row;
  if (thread() == 0) {
    in_flight = static_cast<int>(gridDim.x) / parts;
    slot = static_cast<int>(blockIdx.x) / parts;
    part = static_cast<int>(blockIdx.x) % parts;
    row->index = slot;
  }
  __syncthreads();
  while (row->index < job.batch * job.steps) {
    __syncthreads();  // all have read it before it is written anew
    if (thread() == 0) row.set(job, row->index, workspace.slot(slot));
    __syncthreads();
    scan(row, static_cast<int>(int64_t{row->blocks} * part / parts),
         static_cast<int>(int64_t{row->blocks} * (part + 1) / parts), wants_masses(job, row->settings));
    if (parts > 1) {
      __syncthreads();
      if (thread() == 0) {
        __threadfence();  // what the whole thread block wrote before the barrier, before the arrival
        is_last = atomicAdd(workspace.arrived(slot), 1u) + 1 == static_cast<unsigned>(parts);
        __threadfence();  // the arrivals, before what the whole thread block reads behind the barrier
      }
      __syncthreads();
      if (!is_last) return;  // a row's parts are of one wave: there is no further row
      if (thread() == 0) *workspace.arrived(slot) = 0;
    }
    __syncthreads();
    finish<reports>(row);
    __syncthreads();  // before the row's place is taken by the next
    if (thread() == 0) {
      if (advance) const_cast<int64_t*>(job.position.data)[row->index] += 1;
      row->index += in_flight;
    }
    __syncthreads();
  }
}

}  // namespace onedraw::cuda
