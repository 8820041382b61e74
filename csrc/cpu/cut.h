// Which of a row's candidates the filters keep.
#pragma once

#include "kernel.h"

namespace onedraw::cpu {

// The row's candidates as far as they were gathered: the first `count` of scratch.candidates, the kept ones first
// once a filter has run.
struct Gathered {
  Candidate* at;
  int64_t count;
};

// The mass (R3.3) of a set of candidates, kept by block in scratch.kept_mass.
class KeptMass {
 public:
  explicit KeptMass(Scratch& scratch) : scratch_(scratch) {}
  void add(const Candidate& c);
  void remove(const Candidate& c);
  void clear(const Candidate* c, int64_t count);
  uint64_t total() const { return total_; }

 private:
  void change(const Candidate& c, uint64_t by);

  Scratch& scratch_;
  uint64_t total_ = 0;
};

// Each moves what it keeps to the front and returns how many that are.
int64_t keep_top_k(Gathered g, int64_t k, bool ties);
int64_t keep_top_p(Gathered g, uint64_t target, bool ties, Scratch& scratch);
int64_t keep_min_p(Gathered g, float min_p);
void sort_first(Gathered g, int64_t n);

}  // namespace onedraw::cpu
