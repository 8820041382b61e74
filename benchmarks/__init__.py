"""Benchmarks of onedraw against the floor and its peers.

Importing this package before torch sets how OpenMP waits: threads that spin between two parallel
regions made every library here several times slower on a loaded machine. What was in force is part
of every record (`environment.describe`).
"""

import os
import sys

TORCH_CAME_FIRST = "torch" in sys.modules

if not TORCH_CAME_FIRST:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
