#include "target.h"

#include "../spec/race.h"

#define ONEDRAW_STRING_(x) #x
#define ONEDRAW_STRING(x) ONEDRAW_STRING_(x)
#define ONEDRAW_JOIN_(a, b) a##b
#define ONEDRAW_JOIN(a, b) ONEDRAW_JOIN_(a, b)

namespace onedraw::tests {
namespace {

void weights(uint32_t first_key, int count, float scale, int64_t* n, uint32_t* m) {
  for (int i = 0; i < count; ++i) {
    const spec::Weight w = spec::weight(spec::value_of_key(first_key + static_cast<uint32_t>(i)), scale);
    n[i] = w.n;
    m[i] = w.m;
  }
}

void mantissas(int first, int count, uint32_t* m) {
  for (int i = 0; i < count; ++i) m[i] = spec::mantissa(static_cast<float>(first + i) * 0x1p-23f);
}

void variates(const uint64_t* u, int count, float* e) {
  for (int i = 0; i < count; ++i) e[i] = spec::variate(u[i]);
}

}  // namespace

extern const Target ONEDRAW_JOIN(kTarget_, ONEDRAW_TARGET);
const Target ONEDRAW_JOIN(kTarget_, ONEDRAW_TARGET) = {ONEDRAW_STRING(ONEDRAW_TARGET), weights, mantissas, variates};

}  // namespace onedraw::tests
