#include "answer.h"

#include <cstdio>

namespace onedraw::tests {
namespace {

template <class T>
void attach(bool wanted, int64_t size, int byte, Exact<T>& array, T*& output) {
  output = nullptr;
  if (!wanted) return;
  array = Exact<T>(size);
  array.fill_bytes(byte);
  output = array.get();
}

template <class T>
std::string compare(const char* name, const Exact<T>& a, const Exact<T>& b, int64_t rows) {
  for (int64_t i = 0; i < a.size(); ++i) {
    uint64_t x = 0, y = 0;
    memcpy(&x, &a[i], sizeof(T));
    memcpy(&y, &b[i], sizeof(T));
    if (x == y) continue;
    const int64_t each = a.size() / rows;
    char text[200];
    snprintf(text, sizeof text, "%s of row %lld, entry %lld: 0x%llx (%.9g) and 0x%llx (%.9g)", name,
             static_cast<long long>(i / each), static_cast<long long>(i % each), static_cast<unsigned long long>(x),
             static_cast<double>(a[i]), static_cast<unsigned long long>(y), static_cast<double>(b[i]));
    return text;
  }
  return "";
}

}  // namespace

Answer::Answer(Job& job, const Wanted& wanted, int byte) : rows_(job.batch * job.steps) {
  attach(wanted.token, rows_ * job.num_samples, byte, token_, job.token);
  attach(wanted.status, rows_, byte, status_, job.status);
  attach(wanted.logprob, rows_, byte, logprob_, job.logprob);
  attach(wanted.raw_logprob, rows_, byte, raw_logprob_, job.raw_logprob);
  attach(wanted.rank, rows_, byte, rank_, job.rank);
  attach(wanted.num_kept, rows_, byte, num_kept_, job.num_kept);
  attach(wanted.kept_mass, rows_, byte, kept_mass_, job.kept_mass);
  attach(wanted.entropy, rows_, byte, entropy_, job.entropy);
  attach(wanted.kept, rows_ * job.vocab, byte, kept_, job.kept);
  attach(wanted.probs, rows_ * job.vocab, byte, probs_, job.probs);
  attach(wanted.top_token, rows_ * job.num_top, byte, top_token_, job.top_token);
  attach(wanted.top_logprob, rows_ * job.num_top, byte, top_logprob_, job.top_logprob);
}

std::string Answer::difference(const Answer& other) const {
  std::string found;
  const auto look = [&](const char* name, const auto& a, const auto& b) {
    if (found.empty()) found = compare(name, a, b, rows_);
  };
  look("status", status_, other.status_);
  look("num_kept", num_kept_, other.num_kept_);
  look("kept", kept_, other.kept_);
  look("token", token_, other.token_);
  look("logprob", logprob_, other.logprob_);
  look("raw_logprob", raw_logprob_, other.raw_logprob_);
  look("rank", rank_, other.rank_);
  look("kept_mass", kept_mass_, other.kept_mass_);
  look("entropy", entropy_, other.entropy_);
  look("probs", probs_, other.probs_);
  look("top_token", top_token_, other.top_token_);
  look("top_logprob", top_logprob_, other.top_logprob_);
  return found;
}

void Answer::add_to(uint64_t& digest) const {
  const auto add = [&](const auto& array) {  // FNV-1a
    const unsigned char* const bytes = reinterpret_cast<const unsigned char*>(array.get());
    const size_t size = static_cast<size_t>(array.size()) * sizeof(array[0]);
    for (size_t i = 0; i < size; ++i) digest = (digest ^ bytes[i]) * 0x100000001B3ull;
  };
  add(status_), add(num_kept_), add(kept_), add(token_), add(logprob_), add(raw_logprob_), add(rank_);
  add(kept_mass_), add(entropy_), add(probs_), add(top_token_), add(top_logprob_);
}

}  // namespace onedraw::tests
