"""The budget report reads machine code, ptxas's words and datasheets right. None of it needs nvcc."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.budget import shape
from benchmarks.budget.estimate import Counted, estimate, mass_loops_of
from benchmarks.budget.listing import Kernel, Statics, parse_statics, parse_threads, short_name
from benchmarks.budget.loops import LAST_CONSTANT, blocks_of, loops_of, mass_loops, wide_loops
from benchmarks.budget.occupancy import Resources, blocks_per_multiprocessor, occupancy
from benchmarks.budget.sass import CLASSES, PIPES, Function, by_class, by_pipe, parse
from benchmarks.budget.write import report
from benchmarks.gpu_budget import estimates, hot, kernel_record, load

HERE = Path(__file__).parent
NAME = "_ZN7onedraw4cuda41_GLOBAL__N__3a49e177_9_kernel_cu_33507ec04drawILNS_5DTypeE2EEEvNS_3JobE"


@pytest.fixture(scope="module")
def function() -> Function:
    (found,) = parse((HERE / "sass" / "loop.sass").read_text())
    return found


@pytest.fixture
def _plain_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thread blocks a processor, parts of 64 blocks or more."""
    monkeypatch.setattr(shape, "SOURCE", HERE / "there is none")


@pytest.fixture(scope="module")
def limits() -> Mapping[str, Mapping[str, int]]:
    path = HERE.parent / "benchmarks" / "budget" / "devices.json"
    return json.loads(path.read_text())["architectures"]


def test_every_instruction_is_read(function: Function) -> None:
    assert function.name == NAME
    assert [i.address for i in function.instructions] == list(range(0, 0x420, 0x10))
    assert {i.kind for i in function.instructions} <= set(CLASSES)
    assert {i.pipe for i in function.instructions} <= set(PIPES)


def test_loops_are_found_by_structure(function: Function) -> None:
    """The outer one, one inside it, and one of a function that is called; not the one of `BRA.DIV`, not padding."""
    assert [loop.head for loop in loops_of(blocks_of(function))] == [0x40, 0xA0, 0x380]


def test_the_mass_loop_is_the_one_that_reads_nothing_else(function: Function) -> None:
    assert [path[0].address for path in wide_loops(function)] == [0x40, 0x380]
    (path,) = mass_loops(function)
    assert path[0].address == 0x40


def test_the_usual_path_has_the_wide_loads_and_the_weights_and_nothing_slow(
    function: Function,
) -> None:
    (path,) = mass_loops(function)
    assert [i.width for i in path if i.loads] == [16, 16]
    assert [i.width for i in path if i.stores] == [4, 8]
    around = (*range(0x90, 0xD0, 0x10), *range(0x2B0, 0x2E0, 0x10))  # the narrow way, the slow one
    passed = [address for address in range(0x40, 0x330, 0x10) if address not in around]
    assert [i.address for i in path] == passed
    assert by_class(path) == {
        "memory": 4,
        "float": 22,
        "integer": 5,
        "warp": 2,
        "control": 7,
    }
    assert by_pipe(path) == {"load/store": 4, "fma": 21, "alu": 6, "warp": 2, "none": 7}


def test_what_is_slow_on_the_only_way_is_counted() -> None:
    """A slow instruction that no path avoids is not hidden by the choice of the path."""
    text = (HERE / "sass" / "loop.sass").read_text()
    text = text.replace("VOTEU.ANY UR6, UPT, PT ", "F2I.FTZ.U32.TRUNC R2, R2")
    (function,) = parse(text)
    (path,) = mass_loops(function)
    assert by_class(path)["slow"] == 1


def test_a_loop_may_end_with_a_call_that_does_not_come_back() -> None:
    """As ptxas leaves loops for sm_80: `@P1 CALL` behind the jump to the head."""
    text = (HERE / "sass" / "loop.sass").read_text()
    text = text.replace("@!P1 BRA 0x40 ;", " @P1 CALL.REL.NOINC 0x340 ;")
    text = text.replace("BAR.SYNC.DEFER_BLOCKING 0x0 ;", "BRA 0x40 ;")
    (function,) = parse(text)
    (path,) = mass_loops(function)
    assert (path[0].address, path[-1].address) == (0x40, 0x330)
    assert "slow" not in by_class(path)
    assert [loop.head for loop in loops_of(blocks_of(function))] == [0x40, 0xA0, 0x380]


def test_a_narrow_load_is_no_mass_loop() -> None:
    text = (HERE / "sass" / "loop.sass").read_text().replace("LDG.E.128", "LDG.E.64")
    (function,) = parse(text)
    assert mass_loops(function) == []


def test_weights_are_told_by_the_last_constant_of_their_polynomial() -> None:
    """As SASS prints the float32 that the specification names."""
    text = (HERE.parent / "csrc" / "spec" / "weight.h").read_text()
    name = re.search(r"kC0 = (0x1\.[0-9a-f]+p\+0)f;", text)
    assert name is not None
    assert f"{float.fromhex(name.group(1)):.20g}".startswith(LAST_CONSTANT)


def test_names() -> None:
    assert short_name(NAME) == "draw<bfloat16>"
    assert short_name("_ZN7onedraw4cuda4scanILNS_5DTypeE0ELi3ELb1EEEvPKv") == "scan<float32, 3, 1>"
    assert short_name("_ZN7onedraw4cuda4flatEPKv") == "flat"
    assert short_name("kernel") == "kernel"


def test_what_ptxas_says_is_added_up() -> None:
    log = f"""ptxas info    : Compiling entry function '{NAME}' for 'sm_90'
ptxas info    : Function properties for {NAME}
    128 bytes stack frame, 96 bytes spill stores, 132 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 128 bytes cumulative stack size, 273 bytes smem
ptxas info    : Function properties for _ZN7onedraw4cuda7variateE
    0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Compiling entry function '{NAME}' for 'sm_100a'
ptxas info    : Function properties for {NAME}
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers
"""
    found = parse_statics(log)
    first, second = found[NAME, "90"], found[NAME, "100"]
    assert (first.registers, first.shared, first.stack) == (64, 273, 128)
    assert (first.spill_stores, first.spill_loads) == (100, 140)
    assert (second.registers, second.shared, second.stack, second.spill_loads) == (40, 0, 0, 0)


def test_the_threads_of_a_block_come_from_the_elf() -> None:
    text = f".nv.info.{NAME}\n\t<0x1>\n\tAttribute:\tEIATTR_MAX_THREADS\n\tFormat:\tX\n\tValue:\t0x80 0x2 0x1 \n"
    assert parse_threads(text) == {NAME: 256}


@pytest.mark.parametrize(
    ("architecture", "registers", "shared", "threads", "blocks"),
    [
        # As cudaOccMaxActiveBlocksPerMultiprocessor of cuda_occupancy.h, CUDA 13.0, says.
        ("80", 64, 273, 256, 4),
        ("80", 80, 273, 256, 3),
        ("90", 64, 273, 256, 4),
        ("90", 32, 0, 32, 32),
        ("90", 40, 40_000, 256, 5),
        ("100", 255, 0, 64, 4),
        ("120", 64, 273, 256, 4),
        ("120", 16, 0, 64, 24),
        ("120", 32, 0, 256, 6),
        ("120", 32, 30_000, 128, 3),
    ],
)
def test_occupancy(
    architecture: str,
    registers: int,
    shared: int,
    threads: int,
    blocks: int,
    limits: Mapping[str, Mapping[str, int]],
) -> None:
    asked = Resources(registers, shared, threads)
    assert blocks_per_multiprocessor(asked, limits[architecture]) == blocks
    assert occupancy(asked, limits[architecture]) == pytest.approx(
        blocks * threads / 32 / limits[architecture]["warps"]
    )


DEVICE = {"multiprocessors": 10, "clock_ghz": 1.0, "bandwidth_gb_s": 1000}
LIMITS = {
    "warps": 64,
    "blocks": 32,
    "registers": 65536,
    "register_unit": 256,
    "shared": 100_000,
    "shared_unit": 128,
    "shared_reserved": 1024,
    "rates": {"fma": 128, "alu": 64, "warp": 32, "slow": 16, "load/store": 32},
}
ASSUMED = {
    "memory_latency_cycles": 800,
    "cache_latency_cycles": 270,
    "barrier_cycles": 40,
    "shuffle_cycles": 25,
    "launch_us": 2.0,
}


def test_the_layout_of_a_launch_is_by_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "tuning.h"
    source.write_text("""constexpr Tuning kTuning[] = {
    {75, 2, 64}, { 90, 4,
     32},
};
constexpr int kMostParts = 48;   // thread blocks a row
constexpr int kMostSplit = 100;
""")
    monkeypatch.setattr(shape, "SOURCE", source)
    assert shape.launch_shape(80, 1, 128_256, 132) == (32, 1)  # 2,004 blocks in parts of 64 or more
    assert shape.launch_shape(90, 1, 128_256, 132) == (48, 1)
    assert shape.launch_shape(120, 64, 128_256, 132) == (8, 64)
    assert shape.launch_shape(90, 101, 128_256, 132) == (1, 101)
    assert shape.launch_shape(90, 132, 128_256, 132) == (1, 132)
    assert shape.launch_shape(75, 4096, 128_256, 132) == (1, 264)
    source.write_text("constexpr Tuning kTuning[] = {{75, 2}};")
    with pytest.raises(RuntimeError, match="three columns"):
        shape.table()


@pytest.mark.usefixtures("_plain_layout")
def test_an_estimate_is_the_arithmetic_that_the_report_states(function: Function) -> None:
    """Twenty rows of 128,000 16-bit logits, each read once, on a small device; 16 logits and 40 instructions a trip."""
    kernel = Kernel("draw<bfloat16>", "90", Statics(registers=64), 256, function)
    (loop,) = mass_loops_of(kernel)
    assert (loop.logits, loop.instructions, loop.widest_load, loop.loaded) == (16, 40, 16, 2)
    assert loop.stored == 12
    counted = Counted(1.0, 0.25, 0.5, barriers=10, shuffles=30, waits=4)
    found = estimate(
        loop, kernel, DEVICE, LIMITS, ASSUMED, counted, batch=20, vocab=128_000, dtype="bfloat16"
    )
    assert found.read == pytest.approx(20 * (256_000 + 32_000) / 1e12 * 1e6)
    trips = 20 * 128_000 / 16 / 32
    assert found.issue == pytest.approx(trips * 40 / (10 * 4 * 1e9) * 1e6)
    assert found.unit == pytest.approx(
        trips * 21 * 32 / 128 / (10 * 1e9) * 1e6
    )  # multiply-adds of 32 lanes, 128 a clock
    assert found.latency == pytest.approx(32 * (800 + 25 + 40) / 1e9 * 1e6)
    clocks = 10 * 40 + 30 * 25 + 4 * 270 + 2 * 0.5 * 128_000 / 64
    assert found.finish == pytest.approx(clocks / 1e9 * 1e6)
    assert found.total == pytest.approx(2 + found.latency + found.finish)
    assert found.over == pytest.approx(found.total / found.read)


@pytest.mark.usefixtures("_plain_layout")
def test_a_single_row_uses_as_many_multiprocessors_as_it_has_thread_blocks(
    function: Function,
) -> None:
    kernel = Kernel("draw<bfloat16>", "90", Statics(registers=64), 256, function)
    (loop,) = mass_loops_of(kernel)
    counted = Counted(1.0, 0.0, 0.0, 0, 0, 0)
    device = {**DEVICE, "multiprocessors": 100}
    found = estimate(
        loop, kernel, device, LIMITS, ASSUMED, counted, batch=1, vocab=8_192, dtype="bfloat16"
    )
    assert found.read == pytest.approx(16_384 / 1e12 * 1e6 * 100 / 2)  # two parts of 64 blocks


def test_every_figure_has_a_source() -> None:
    folder = HERE.parent / "benchmarks" / "budget"
    devices = json.loads((folder / "devices.json").read_text())
    assert set(devices["devices"]) == {"A100", "H100", "H200", "B200"}
    for device in devices["devices"].values():
        assert device["source"].startswith("https://")
        assert device["architecture"] in devices["architectures"]
    for figure in json.loads((folder / "published.json").read_text()):
        assert figure["source"].startswith("https://")
        assert {"who", "gpu", "batch", "vocab", "dtype", "filters", "us", "how"} <= set(figure)


def test_a_whole_report(function: Function) -> None:
    """From the data files as they are, with the sample as every kernel."""
    devices, reads = load("devices.json"), load("reads.json")
    kernels = [
        Kernel(f"draw<{dtype}>", architecture, Statics(registers=64, stack=8), 256, function)
        for architecture in ("80", "90", "100", "120")
        for dtype in ("float32", "bfloat16")
    ]
    found = {
        "compiler": "a compiler",
        "launches": 1,
        "kernels": [kernel_record(k, devices["architectures"][k.architecture]) for k in kernels],
        "reads": reads,
        "devices": devices,
        "estimates": estimates(kernels, reads, devices),
        "published": load("published.json"),
    }
    filters = {entry["filters"] for entry in reads}
    assert len(found["estimates"]) == 4 * 2 * len(filters) * 3 * 4
    assert all(
        entry["total"] >= entry["launch"] + entry["scan"] + entry["finish"] - 1e-9
        for entry in found["estimates"]
    )
    text = report(json.loads(json.dumps(found)))
    assert "| instructions a logit in the mass loop | 32 | 2.5 | met |" in text
    assert "| bytes of stack | 0 | 8 | **not met** |" in text
    assert (
        "| `draw<float32>` | 90 | **2.5** | 0.2 | 0.3 | 1.4 | 0.1 | 0.0 | 0.4 | 128 bits |" in text
    )
    assert text.count("| B200 | bfloat16 | 262,144 |") == 4  # a row in each table of times
    assert "<https://github.com/flashinfer-ai/flashinfer/pull/3461>" in text


def test_times_are_those_of_the_kernel_that_draws_tokens_alone(function: Function) -> None:
    kernels = [
        Kernel("draw<float32, 1>", "90", Statics(registers=96), 256, function),
        Kernel("draw<float32, 0>", "90", Statics(registers=80), 256, function),
        Kernel("draw<float32, 0>", "100", Statics(registers=64), 256, function),
    ]
    chosen = hot(kernels, "90", "float32")
    assert chosen is not None
    assert chosen[0] is kernels[1]
    assert hot(kernels, "90", "bfloat16") is None


def test_the_report_says_first_that_nothing_was_measured() -> None:
    text = (HERE.parent / "benchmarks" / "GPU_BUDGET.md").read_text()
    assert "estimated, not measured" in text.splitlines()[0]
