"""Threads follow from what this process may use, not from what the machine has."""

import os

import pytest

from fovea.cores import cores, quotas


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        ("0::/", {"": "400000 100000"}, [4.0]),
        ("0::/", {"": "max 100000"}, []),
        ("0::/", {}, []),
        ("0::/pods/one", {"pods/one": "150000 100000", "pods": "max 100000"}, [1.5]),
        ("0::/pods/one", {"pods/one": "max 100000", "pods": "250000 100000"}, [2.5]),
        ("1:cpu:/", {"": "400000 100000"}, []),
    ],
)
def test_the_limits_of_all_groups_around_the_process_count(tmp_path, group, limits, expected):
    (tmp_path / "cgroup").write_text(f"{group}\n")
    for folder, limit in limits.items():
        (tmp_path / "fs" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / folder / "cpu.max").write_text(f"{limit}\n")
    assert list(quotas(tmp_path / "fs", tmp_path / "cgroup")) == expected


def test_there_is_at_least_one_core_and_no_more_than_may_be_used():
    assert 1 <= cores() <= len(os.sched_getaffinity(0))
