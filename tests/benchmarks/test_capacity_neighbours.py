"""Who else used the processor."""

import os
import subprocess
import sys
import time

from benchmarks.capacity.neighbours import Neighbours

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def test_another_process_is_a_neighbour():
    begun = time.monotonic()
    neighbours = Neighbours(os.getpid())
    subprocess.run([sys.executable, "-c", BURN], check=True)
    used_s = neighbours.cores() * (time.monotonic() - begun)
    assert used_s > 0.4
