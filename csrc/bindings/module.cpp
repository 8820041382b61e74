// The table of contents of onedraw._core.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "../cpu/kernel.h"
#include "../cuda/launch.h"
#include "../spec/race.h"
#include "../spec/version.h"
#include "build_info.h"
#include "job.h"

namespace py = pybind11;

namespace onedraw::bindings {
namespace {

std::string valid_kernels() {
  std::string names;
  for (int i = 0; i < cpu::num_kernels(); ++i)
    if (cpu::kernel_supported(i)) names += (names.empty() ? "" : ", ") + std::string(cpu::kernel_name(i));
  return names;
}

// Used for the argument of set_kernel and for the variable ONEDRAW_KERNEL alike.
void set_kernel(const std::optional<std::string>& name, const char* from) {
  if (!name) return cpu::choose_kernel(-1);
  for (int i = 0; i < cpu::num_kernels(); ++i)
    if (*name == cpu::kernel_name(i) && cpu::kernel_supported(i)) return cpu::choose_kernel(i);
  throw py::value_error(std::string(from) + " must be one of the kernels that this build and processor have (" +
                        valid_kernels() + "), got '" + *name + "'");
}

void set_kernel_from_environment() {
  const char* name = std::getenv("ONEDRAW_KERNEL");
  set_kernel(name && *name ? std::optional<std::string>(name) : std::nullopt, "ONEDRAW_KERNEL");
}

py::list kernels() {
  py::list result;
  for (int i = 0; i < cpu::num_kernels(); ++i) {
    py::dict entry;
    entry["name"] = cpu::kernel_name(i);
    entry["supported"] = cpu::kernel_supported(i);
    result.append(entry);
  }
  return result;
}

double floor_of(py::object x, int threads) {
  const Tensor t = tensor_of(x, "x");
  if (!t.is(kDLFloat, 32) || t.shape.size() != 2 || t.strides[1] != 1 || t.shape[1] == 0 ||
      t.device.device_type != kDLCPU)
    throw py::value_error("x must be a float32 matrix on the CPU with contiguous rows");
  py::gil_scoped_release release;
  return cpu::floor_of(static_cast<const float*>(t.data), t.shape[0], t.shape[1], t.strides[0], threads);
}

// How launches are laid out, by architecture: a row of this table holds from
// its architecture on.
py::list cuda_tuning() {
  py::list result;
  for (const cuda::Layout& t : cuda::tuning()) {
    py::dict entry;
    entry["architecture"] = t.architecture;
    entry["threads"] = t.threads;
    entry["blocks_per_processor"] = t.per_processor;
    entry["least_logits_of_a_part"] = t.least_part * spec::kBlock;
    result.append(entry);
  }
  return result;
}

void check_cuda(const std::string& error) {
  if (!error.empty()) throw std::runtime_error(error);
}

}  // namespace
}  // namespace onedraw::bindings

PYBIND11_MODULE(_core, m) {
  using namespace onedraw;
  using namespace onedraw::bindings;
  m.doc() = "The compiled core of onedraw; its arguments are checked in Python.";
  m.attr("SPEC_VERSION") = spec::kVersion;
  set_kernel_from_environment();

  py::class_<PyJob>(m, "Job")
      .def(py::init<>())
      .def("set", &PyJob::set)
      .def("allow", &PyJob::allow)
      .def("bias", &PyJob::bias)
      .def("bias_sparse", &PyJob::bias_sparse)
      .def("output", &PyJob::output)
      .def("run", &PyJob::run)
      .def("run_cuda", &PyJob::run_cuda, py::arg("logits"), py::arg("workspace"), py::arg("stream") = 0,
           py::arg("advance") = false)
      .def_property(
          "ties_keep", [](const PyJob& p) { return p.job.ties_keep; }, [](PyJob& p, bool v) { p.job.ties_keep = v; })
      .def_property(
          "row_stream", [](const PyJob& p) { return p.job.row_stream; }, [](PyJob& p, bool v) { p.job.row_stream = v; })
      .def_property(
          "weights", [](const PyJob& p) { return p.job.weights; }, [](PyJob& p, bool v) { p.job.weights = v; })
      .def_property(
          "replacement", [](const PyJob& p) { return p.job.replacement; },
          [](PyJob& p, bool v) { p.job.replacement = v; })
      .def_property(
          "bad_token", [](const PyJob& p) { return p.job.bad_token; }, [](PyJob& p, int64_t v) { p.job.bad_token = v; })
      .def_property(
          "num_samples", [](const PyJob& p) { return p.job.num_samples; },
          [](PyJob& p, int64_t v) { p.job.num_samples = v; })
      .def_property(
          "threads", [](const PyJob& p) { return p.job.threads; }, [](PyJob& p, int v) { p.job.threads = v; });

  m.def("kernels", &kernels);
  m.def("kernel", [] { return cpu::kernel_name(cpu::chosen_kernel()); });
  m.def("set_kernel", [](std::optional<std::string> name) { set_kernel(name, "name"); });
  m.def("build_info", &build_info);
  m.def("floor", &floor_of, py::arg("x"), py::arg("threads") = 1);

  m.def("cuda_stream", [](py::object tensor) { return stream_of(tensor); });
  m.def("cuda_device_count", [] {
    int count = 0;
    check_cuda(cuda::device_count(count));
    return count;
  });
  m.def("cuda_tuning", &cuda_tuning);
  m.def("cuda_force_parts", [](int parts) {
    if (parts < 0) throw py::value_error("parts must be 0 (as the table says) or more, got " + std::to_string(parts));
    cuda::force_parts(parts);
  });
  m.def(
      "cuda_workspace_bytes",
      [](int device, int64_t rows, int64_t vocab) {
        cuda::Shape shape;
        check_cuda(cuda::shape_of(device, rows, vocab, shape));
        return cuda::workspace_bytes(vocab, shape);
      },
      py::arg("device"), py::arg("rows"), py::arg("vocab"));

  // Probes of the specification, for tests.
  m.def("philox", [](uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
    const spec::Words r = spec::philox(c0, c1, c2, c3, k0, k1);
    return py::make_tuple(r.w[0], r.w[1], r.w[2], r.w[3]);
  });
  m.def("weight", [](float x, float scale) {
    const spec::Weight w = spec::weight(x, scale);
    return py::make_tuple(w.n, w.m);
  });
  m.def("variate", [](uint64_t u) { return spec::variate(u); });
}
