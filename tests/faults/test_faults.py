"""Every fault on the real server: quick short forms always, all at full size with `-m faults`."""

import pytest

from benchmarks.faults.__main__ import FAULTS, run

pytestmark = pytest.mark.server

QUICK = (
    "killed-backend",
    "killed-first-step",
    "deadlines",
    "heavy",
    "stopped",
    "replaced",
    "unready",
)
CASES = [
    *(pytest.param(fault, True, id=f"{fault}-short") for fault in QUICK),
    *(pytest.param(fault, False, id=fault, marks=pytest.mark.faults) for fault in FAULTS),
]


@pytest.mark.parametrize(("fault", "short"), CASES)
def test_the_promises_hold(fault, short):
    report = run(fault, short=short)
    print(f"\n{report}")
    assert report.during.sent > 0
    assert not report.broken
