"""Who else used the processor."""

import os
import subprocess
import sys
import time

from benchmarks.capacity.curves import ProcessorUse

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def test_another_process_is_a_neighbour():
    begun = time.monotonic()
    use = ProcessorUse(os.getpid())
    subprocess.run([sys.executable, "-c", BURN], check=True)
    used_s = use.foreign_cores() * (time.monotonic() - begun)
    assert used_s > 0.4


def test_what_this_process_does_is_ours():
    use = ProcessorUse(os.getpid())
    begun = time.process_time()
    while time.process_time() - begun < 0.3:
        pass
    assert 0.25 < use.ours_s() < 1
