"""Every fault on the real server: a short form always, the full size with `-m faults`."""

import pytest

from benchmarks.faults.__main__ import FAULTS, run

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    "short", [True, pytest.param(False, marks=pytest.mark.faults)], ids=["short", "full"]
)
@pytest.mark.parametrize("fault", FAULTS)
def test_the_promises_hold(fault, short):
    report = run(fault, short=short)
    print(f"\n{report}")
    assert report.during.sent > 0
    assert not report.broken
