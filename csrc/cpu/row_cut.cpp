// Section 4 of the specification: from a scanned row to the tokens that the filters keep.
#include "row.h"

namespace onedraw::cpu {

bool wants_masses(const Job& job, const Settings& s) {
  if (s.greedy) return false;
  if (job.kept_mass) return true;
  return !top_k_is_on(job, s) && (s.top_p < 1 || !(s.min_p > 0));
}

namespace {

// Where masses were scanned: the distances of all blocks, and the row's whole mass.
void align_blocks(Row& row) {
  row.kernel.distances(row.settings, row.max, row.blocks, row.scratch);
  row.mass_all = 0;
  for (int64_t b = 0; b < row.blocks; ++b)
    row.mass_all += spec::aligned(row.scratch.block_mass[b], row.scratch.block_below[b]);
}

uint64_t mass_of(Gathered g, Scratch& scratch) {
  KeptMass mass(scratch);
  for (int64_t i = 0; i < g.count; ++i) mass.add(g.at[i]);
  const uint64_t total = mass.total();
  mass.clear(g.at, g.count);
  return total;
}

// Candidates among which the nucleus lies: more blocks are taken until what they hold reaches the target.
Gathered gather_mass(Row& row, uint64_t target) {
  for (int64_t blocks = 32; blocks < row.blocks / 2; blocks *= 4) {
    const Gathered g = row.gather(row.kernel.threshold(row.scratch.block_max, row.blocks, blocks, row.max));
    if (mass_of(g, row.scratch) >= target) return g;
  }
  return row.gather(-__builtin_inff());
}

// A value that no token passing min-p is below: log2(q) is at least the exponent of q, the rest is a margin for rounding.
float min_p_bound(const Settings& s, float row_max) {
  const double z = static_cast<double>(row_max) * static_cast<double>(s.scale);
  if (!(z < 0x1p50 && z > -0x1p50)) return row_max == __builtin_inff() ? row_max : -__builtin_inff();
  const double bound = (z + static_cast<double>(spec::given_weight(s.min_p).n) - 0.01) / static_cast<double>(s.scale);
  const double margin = (bound < 0 ? -bound : bound) * 0x1p-20;
  return static_cast<float>(bound - margin);
}

}  // namespace

void cut_row(Row& row) {
  const Settings& s = row.settings;
  if (wants_masses(row.job, s)) align_blocks(row);
  const bool by_k = top_k_is_on(row.job, s), by_p = s.top_p < 1, by_min = s.min_p > 0;
  row.is_filtered = by_k || by_p || by_min;
  if (!row.is_filtered) {
    row.mass = row.mass_all;
    return;
  }
  uint64_t target = 0;
  if (by_k) {
    row.kept = row.gather(row.kernel.threshold(row.scratch.block_max, row.blocks, s.top_k, row.max));
    row.kept.count = keep_top_k(row.kept, s.top_k, s.ties_keep);
  } else if (by_p) {
    target = spec::top_p_target(s.top_p, row.mass_all);
    row.kept = gather_mass(row, target);
  } else {
    row.kept = row.gather(min_p_bound(s, row.max));
  }
  if (by_p) {
    if (by_k) target = spec::top_p_target(s.top_p, mass_of(row.kept, row.scratch));
    row.kept.count = keep_top_p(row.kept, target, s.ties_keep, row.scratch);
  }
  if (by_min) row.kept.count = keep_min_p(row.kept, s.min_p);
}

}  // namespace onedraw::cpu
