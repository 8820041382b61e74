// The obvious version of a row: sort the candidates, cut, race. It is the kernel named "reference",
// it decides nothing in a hurry, and the fast kernels are checked against it.
#include <algorithm>
#include <map>
#include <vector>

#include "../spec/reader.h"
#include "../spec/settings.h"
#include "answer.h"
#include "kernel.h"

namespace onedraw::cpu {
namespace {

using spec::Split;
using spec::Weight;

struct Token {
  int64_t id;
  float x;
  uint32_t key;
  Weight w;
};

// The mass of a set of tokens (R3.3), fed one by one.
class Mass {
 public:
  Mass(const std::map<int64_t, int64_t>& block_n, int64_t n_row) : block_n_(block_n), n_row_(n_row) {}

  void add(const Token& t) {
    const int64_t n_b = block_n_.at(t.id / spec::kBlock);
    uint64_t& sum = blocks_[t.id / spec::kBlock];
    total_ -= spec::aligned(sum, n_row_ - n_b);
    sum += spec::block_weight(t.w.m, n_b - t.w.n);
    total_ += spec::aligned(sum, n_row_ - n_b);
  }
  uint64_t total() const { return total_; }
  const std::map<int64_t, uint64_t>& blocks() const { return blocks_; }

 private:
  const std::map<int64_t, int64_t>& block_n_;
  int64_t n_row_;
  std::map<int64_t, uint64_t> blocks_;
  uint64_t total_ = 0;
};

// A row whose candidates are in the order of tokens (R1.7).
struct Sorted {
  std::vector<Token> tokens;
  std::map<int64_t, int64_t> block_n;  // n_b of each block with a candidate
  Status status = Status::ok;

  uint64_t mass(size_t count) const {
    Mass m(block_n, tokens[0].w.n);
    for (size_t i = 0; i < count; ++i) m.add(tokens[i]);
    return m.total();
  }
};

template <class Value>
Sorted sorted_row(int64_t vocab, const Settings& settings, Status nan, Value value) {
  Sorted row;
  for (int64_t id = 0; id < vocab; ++id) {
    const float x = value(id);
    const uint32_t k = spec::key(x);
    if (k == spec::kKeyNaN) {
      row.status = nan;
      return row;
    }
    if (spec::is_candidate(k)) row.tokens.push_back({id, x, k, weight_of(settings, x)});
  }
  if (row.tokens.empty()) {
    row.status = Status::empty;
  } else {
    std::sort(row.tokens.begin(), row.tokens.end(),
              [](const Token& a, const Token& b) { return a.key != b.key ? a.key > b.key : a.id < b.id; });
    for (const Token& t : row.tokens) row.block_n.emplace(t.id / spec::kBlock, t.w.n);
  }
  return row;
}

// How many tokens the filters keep (section 4).
size_t num_kept(const Sorted& row, const Settings& s) {
  const std::vector<Token>& t = row.tokens;
  size_t kept = t.size();
  const auto with_ties = [&](size_t n) {
    if (s.ties_keep)
      while (n < kept && t[n].key == t[n - 1].key) ++n;
    return n;
  };
  if (s.greedy) return 1;
  if (s.top_k > 0) kept = with_ties(std::min<size_t>(kept, static_cast<size_t>(s.top_k)));
  if (s.top_p < 1) {
    const uint64_t target = spec::top_p_target(s.top_p, row.mass(kept));
    Mass mass(row.block_n, t[0].w.n);
    size_t n = 0;
    while (mass.total() < target) mass.add(t[n++]);
    kept = with_ties(n);
  }
  if (s.min_p > 0)
    while (!spec::passes_min_p(t[kept - 1].w, t[0].w, s.min_p)) --kept;
  return kept;
}

struct Racer {
  int64_t score;
  int64_t id;
  bool operator<(const Racer& other) const { return score != other.score ? score < other.score : id < other.id; }
};

Racer racer(const Settings& s, spec::Level level, int64_t sample, int64_t id, Weight w, int64_t n_row) {
  const uint64_t u = spec::random_bits(s.noise, level, static_cast<uint32_t>(sample), static_cast<uint32_t>(id));
  return {spec::score(spec::variate(u), w.m, w.n - n_row), id};
}

int64_t two_level_draw(const Sorted& row, size_t kept, const Settings& s, int64_t sample) {
  const int64_t n_row = row.tokens[0].w.n;
  Mass mass(row.block_n, n_row);
  for (size_t i = 0; i < kept; ++i) mass.add(row.tokens[i]);
  Racer block{INT64_MAX, INT64_MAX};
  for (const auto& [b, sum] : mass.blocks())
    block = std::min(block, racer(s, spec::Level::block, sample, b, spec::mass_weight(sum, row.block_n.at(b)), n_row));
  Racer token{INT64_MAX, INT64_MAX};
  for (size_t i = 0; i < kept; ++i)
    if (row.tokens[i].id / spec::kBlock == block.id)
      token = std::min(token, racer(s, spec::Level::token, sample, row.tokens[i].id, row.tokens[i].w, n_row));
  return token.id;
}

float entropy(const Sorted& row, size_t kept, uint64_t mass, float scale) {
  const Split first = spec::split(row.tokens[0].x, scale);
  std::map<int64_t, unsigned __int128> sums;
  for (size_t i = 0; i < kept; ++i) {
    const Token& t = row.tokens[i];
    const int64_t n_b = row.block_n.at(t.id / spec::kBlock);
    const uint32_t w = spec::block_weight(t.w.m, n_b - t.w.n);
    if (w == 0 || first.n - n_b > spec::kFarApart) continue;
    sums[t.id / spec::kBlock] +=
        static_cast<unsigned __int128>(spec::grid_distance(first, spec::split(t.x, scale))) * w;
  }
  unsigned __int128 total = 0;
  for (const auto& [b, sum] : sums) total += sum >> (first.n - row.block_n.at(b));
  return spec::entropy(total, mass, first.a);
}

float raw_logprob(const Reader& reader, int64_t id) {
  Settings plain{};
  plain.scale = spec::scale_of(1);
  const Sorted row = sorted_row(reader.vocab, plain, Status::nan, [&](int64_t i) { return raw_value(reader, i); });
  if (row.status != Status::ok) return __builtin_nanf("");
  const float x = raw_value(reader, id);
  if (!spec::is_candidate(spec::key(x))) return -__builtin_inff();
  return spec::logprob(spec::split(x, plain.scale), row.tokens[0].w.n, row.mass(row.tokens.size()));
}

std::vector<int64_t> draw(const Job& job, const Sorted& row, size_t kept, const Settings& s) {
  std::vector<int64_t> ids(static_cast<size_t>(job.num_samples), row.tokens[0].id);
  if (s.greedy) return ids;
  if (job.replacement) {
    for (size_t j = 0; j < ids.size(); ++j) ids[j] = two_level_draw(row, kept, s, static_cast<int64_t>(j));
    return ids;
  }
  std::vector<Racer> racers;
  for (size_t i = 0; i < kept; ++i)
    racers.push_back(racer(s, spec::Level::flat, 0, row.tokens[i].id, row.tokens[i].w, row.tokens[0].w.n));
  std::sort(racers.begin(), racers.end());
  for (size_t j = 0; j < ids.size(); ++j) ids[j] = racers[j].id;
  return ids;
}

void write_row(const Job& job, int64_t r, const Reader& reader, const Sorted& row, size_t kept, const Settings& s) {
  const std::vector<Token>& t = row.tokens;
  const int64_t n_row = t[0].w.n;
  const uint64_t mass = row.mass(kept);
  const std::vector<int64_t> ids = draw(job, row, kept, s);
  const auto logprob = [&](size_t i) {
    if (i >= kept) return -__builtin_inff();
    return s.greedy ? 0.0f : spec::logprob(spec::split(t[i].x, s.scale), n_row, mass);
  };
  const size_t rank =
      static_cast<size_t>(std::find_if(t.begin(), t.end(), [&](const Token& a) { return a.id == ids[0]; }) - t.begin());

  put(job.status, r, static_cast<int32_t>(Status::ok));
  if (job.token) std::copy(ids.begin(), ids.end(), job.token + r * job.num_samples);
  put(job.logprob, r, logprob(rank));
  put(job.rank, r, static_cast<int64_t>(rank) + 1);
  put(job.num_kept, r, static_cast<int64_t>(kept));
  if (job.raw_logprob) job.raw_logprob[r] = raw_logprob(reader, ids[0]);
  if (job.kept_mass) job.kept_mass[r] = s.greedy ? 1.0f : spec::share(mass, row.mass(t.size()));
  if (job.entropy) job.entropy[r] = s.greedy ? 0.0f : entropy(row, kept, mass, s.scale);
  if (job.kept) {
    memset(job.kept + r * job.vocab, 0, static_cast<size_t>(job.vocab));
    for (size_t i = 0; i < kept; ++i) job.kept[r * job.vocab + t[i].id] = 1;
  }
  if (job.probs) {
    std::fill_n(job.probs + r * job.vocab, job.vocab, 0.0f);
    for (size_t i = 0; i < kept; ++i)
      job.probs[r * job.vocab + t[i].id] = s.greedy ? 1.0f : spec::probability(t[i].w.m, n_row - t[i].w.n, mass);
  }
  for (int64_t i = 0; i < job.num_top; ++i) {
    const bool there = i < static_cast<int64_t>(t.size());
    put(job.top_token, r * job.num_top + i, there ? t[static_cast<size_t>(i)].id : job.bad_token);
    put(job.top_logprob, r * job.num_top + i, logprob(static_cast<size_t>(i)));
  }
}

}  // namespace

void reference_row(const Job& job, int64_t r) {
  const Settings settings = settings_of(job, r);
  const Reader reader = reader_of(job, r);
  const Sorted row =
      sorted_row(job.vocab, settings, status_of_nan(reader), [&](int64_t id) { return value(reader, id); });
  if (row.status != Status::ok) return write_bad(job, r, row.status);
  const size_t kept = num_kept(row, settings);
  if (!job.replacement && static_cast<size_t>(job.num_samples) > kept) return write_bad(job, r, Status::too_few);
  write_row(job, r, reader, row, kept, settings);
}

}  // namespace onedraw::cpu
