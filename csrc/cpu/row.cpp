// The course of one row after its scan, for every kernel: status, cut, race, answer.
#include "row.h"

#include "answer.h"

namespace onedraw::cpu {

namespace {

Status status_of(const Row& row) {
  if (row.scratch.has_nan) return status_of_nan(row.reader);
  return row.max == -__builtin_inff() ? Status::empty : Status::ok;
}

}  // namespace

void finish_row(const Kernel& kernel, const Job& job, int64_t index, Scratch& scratch) {
  Row row{kernel,
          job,
          index,
          settings_of(job, index),
          reader_of(job, index),
          scratch,
          (job.vocab + spec::kBlock - 1) / spec::kBlock,
          0,
          false,
          spec::kKeepAll,
          0,
          {},
          0,
          0};
  row.max = kernel.floor(scratch.block_max, row.blocks);
  const Status status = status_of(row);
  if (status != Status::ok) return write_bad(job, index, status);
  if (row.settings.greedy) {
    if (!job.replacement && job.num_samples > 1) return write_bad(job, index, Status::too_few);
  } else {
    cut_row(row);
    if (!draw_row(row)) return write_bad(job, index, Status::too_few);
  }
  write_answer(row);
}

}  // namespace onedraw::cpu
