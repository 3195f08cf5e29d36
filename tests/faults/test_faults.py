"""Every fault on the real server, in a short form and at full size: `pytest -m faults`."""

import hypothesis
import pytest
from hypothesis import strategies as st

from demo.served import demo_server
from tests.faults.__main__ import FAULTS, run
from tests.faults.fuzz import Attack, processes_of
from tests.faults.load import sample_paths

pytestmark = [pytest.mark.server, pytest.mark.faults]


@pytest.mark.parametrize("short", [True, False], ids=["short", "full"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_promises_hold(fault, short):
    report = run(fault, short=short)
    print(f"\n{report}")
    assert report.during.sent > 0
    assert not report.broken


def test_wrong_requests_are_refused_clearly_and_kill_nothing():
    pictures = [path.read_bytes() for path in sample_paths()]
    with demo_server() as server:
        attack, processes = Attack(server), processes_of(server)

        @hypothesis.settings(max_examples=300, deadline=None)
        @hypothesis.given(st.data())
        def wrong(data):
            shot = data.draw(attack.shots(pictures))
            assert shot() == ""
            assert processes_of(server) == processes

        wrong()
