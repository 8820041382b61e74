#include "kernels.h"

namespace onedraw::cpu {
#define ONEDRAW_DECLARE(name) extern const Kernel kKernel_##name;
ONEDRAW_KERNELS(ONEDRAW_DECLARE)
}  // namespace onedraw::cpu

namespace onedraw::tests {
namespace {

const cpu::Kernel* const kCompiled[] = {nullptr,  // the reference has nothing to be called one by one
#define ONEDRAW_ENTRY(name) &cpu::kKernel_##name,
                                        ONEDRAW_KERNELS(ONEDRAW_ENTRY)};

bool is_usable(int index) {
  const std::string name = cpu::kernel_name(index);
  return name == "wide" || cpu::kernel_supported(index);
}

}  // namespace

std::vector<UsableKernel> usable_kernels(const std::string& only) {
  std::vector<UsableKernel> usable;
  for (int i = 0; i < cpu::num_kernels(); ++i)
    if (i == 0 || (is_usable(i) && (only.empty() || only == cpu::kernel_name(i)))) usable.push_back({i, kCompiled[i]});
  return usable;
}

std::string kernels_line(const std::vector<UsableKernel>& usable) {
  std::string line, rest;
  for (const UsableKernel& k : usable) line += (line.empty() ? "" : " ") + std::string(cpu::kernel_name(k.index));
  for (int i = 0; i < cpu::num_kernels(); ++i)
    if (!is_usable(i)) rest += " " + std::string(cpu::kernel_name(i));
  return rest.empty() ? line : line + "; not on this processor:" + rest;
}

}  // namespace onedraw::tests
