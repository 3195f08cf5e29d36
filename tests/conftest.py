"""How the tests share a machine; how long an example takes is its affair, so none is timed.

PyTorch's threads spin while they wait, which slows whatever else runs on the cores: one is enough.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
