// One instruction set's kernel. CMake compiles this file once for each, with ONEDRAW_TARGET naming it.
#include "kernel.h"

#include "race.h"
#include "scan.h"
#include "select.h"

#define ONEDRAW_STRING_(x) #x
#define ONEDRAW_STRING(x) ONEDRAW_STRING_(x)
#define ONEDRAW_JOIN_(a, b) a##b
#define ONEDRAW_JOIN(a, b) ONEDRAW_JOIN_(a, b)

namespace onedraw::cpu {

extern const Kernel ONEDRAW_JOIN(kKernel_, ONEDRAW_TARGET);
const Kernel ONEDRAW_JOIN(kKernel_, ONEDRAW_TARGET) = {
    ONEDRAW_STRING(ONEDRAW_TARGET), ONEDRAW_TARGET::scan,   ONEDRAW_TARGET::align,
    ONEDRAW_TARGET::threshold,      ONEDRAW_TARGET::gather, ONEDRAW_TARGET::weigh_candidates,
    ONEDRAW_TARGET::keep,           ONEDRAW_TARGET::count,  ONEDRAW_TARGET::ties,
    ONEDRAW_TARGET::race,           ONEDRAW_TARGET::scores, ONEDRAW_TARGET::count_before,
    ONEDRAW_TARGET::floor,
};

}  // namespace onedraw::cpu
