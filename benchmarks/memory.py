"""Peak extra memory of a draw: how far resident memory rises above what it was before the call.

The kernel keeps the high-water mark of a process (VmHWM in /proc/self/status), and writing 5 to
/proc/self/clear_refs sets it back; it counts to within some 0.3 MiB. That sees what torch, NumPy and the
compiled core allocate alike. Each draw happens once in a process forked for it, so that no peer finds
memory another left behind; the allocator returns large blocks at once (MALLOC_MMAP_THRESHOLD_), so that
none is reused unseen. The measurement runs as a process of its own, as that would slow the timing.

    python -m benchmarks.memory < cases.json > bytes.json
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.cases import Case

ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "OMP_NUM_THREADS": "1",  # a pool of threads does not survive a fork
}


def kilobytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def peak_of(case: Case, peer: str) -> int:
    """Bytes above the level before the draw; in the process that calls this, so fork first."""
    from benchmarks.data import make_logits
    from benchmarks.filters import FILTERS
    from benchmarks.peers import PEERS

    filters = FILTERS[case.filters]
    small = make_logits(case.distribution, case.batch, 128, case.dtype)
    PEERS[peer].prepare(filters, 1, small)(small)  # its code is loaded now
    logits = make_logits(case.distribution, case.batch, case.vocab, case.dtype)
    draw = PEERS[peer].prepare(filters, 1, logits)
    Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmRSS")
    draw(logits)
    return 1024 * max(0, kilobytes("VmHWM") - before)


def forked(case: Case, peer: str) -> int | None:
    """`peak_of` in a child; None if it failed there (its message is on standard error)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(peak_of(case, peer)).encode())
            os._exit(0)
        except BaseException as error:
            print(f"{case} {peer}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return int(text) if text else None


def measure(cases: Sequence[Case]) -> list[dict[str, int | None]]:
    """For each case the peak of each of its peers, in bytes; measured in one process for all."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        return [{} for _ in cases]
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory"],
        input=json.dumps([asdict(case) for case in cases]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **ENVIRONMENT},
        cwd=Path(__file__).parent.parent,
    )
    found: list[dict[str, int | None]] = json.loads(answer.stdout)
    return found


def main() -> None:
    import torch

    torch.set_num_threads(1)
    cases = [Case(**{**fields, "peers": tuple(fields["peers"])}) for fields in json.load(sys.stdin)]
    import benchmarks.peers  # noqa: F401  (once, before the forks)

    print(json.dumps([{peer: forked(case, peer) for peer in case.peers} for case in cases]))


if __name__ == "__main__":
    main()
