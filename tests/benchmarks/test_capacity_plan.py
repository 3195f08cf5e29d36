"""The answer: machines, cost, and the message if there is none."""

import dataclasses
import json
import math
import re

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.capacity import __main__ as command
from benchmarks.capacity import hardware
from benchmarks.capacity.errors import Infeasible, InvalidReport, UnknownHardware
from benchmarks.capacity.plan import Goal, plan
from benchmarks.capacity.service_times import GPU, BatchCurve, ServiceTimes, Step, read, write

MS = 1e-3


def gpu_times(kind: str = "NVIDIA H100 80GB HBM3") -> ServiceTimes:
    """A decoder on the processor and a network that batches on the GPU."""
    steps = (
        Step("decode", (), BatchCurve((1,), (2 * MS,)), instances=8),
        Step("network", ("decode",), BatchCurve((1, 8), (5 * MS, 12 * MS)), GPU, max_batch=8),
    )
    return ServiceTimes("main_object", kind, "example", 8, steps, origin="measured")


def test_batches_make_a_machine_carry_more_than_one_by_one():
    row = plan(gpu_times(), Goal(rate=2000, p99_s=0.1))
    assert row.machines < math.ceil(2000 * 5 * MS)
    assert row.machines >= math.ceil(2000 * 12 * MS / 8)
    assert row.p99_s <= 0.1
    assert 0 < row.scale_at_queue_s < 0.1, "the autoscaler acts before the p99 is missed"


def test_a_tighter_p99_never_takes_fewer_machines():
    machines = [plan(gpu_times(), Goal(2000, p99)).machines for p99 in (0.02, 0.1)]
    assert machines == sorted(machines, reverse=True)


def test_spare_machines_are_added_and_paid():
    lean = plan(gpu_times(), Goal(2000, 0.05), dollars_per_machine=2.0)
    safe = plan(gpu_times(), Goal(2000, 0.05, spare=1), dollars_per_machine=2.0)
    assert safe.machines == lean.machines + 1
    assert safe.dollars_per_hour == 2.0 * safe.machines
    assert safe.dollars_per_million == pytest.approx(safe.dollars_per_hour / 7.2)
    assert safe.p99_without_spare_s == lean.p99_s
    assert safe.utilisation < lean.utilisation


def test_a_p99_below_the_service_time_is_refused_with_a_possible_one():
    with pytest.raises(Infeasible, match="hardly any load has 7 ms"):
        plan(gpu_times(), Goal(rate=10, p99_s=0.005))


def test_another_gpu_is_slower_by_its_worst_ratio():
    scaled = hardware.scaled(gpu_times(), hardware.find("L4"))
    h100, l4 = hardware.find("H100 SXM"), hardware.find("L4")
    slower = h100.memory_gb_per_s / l4.memory_gb_per_s
    assert slower > h100.tensor_tflops / l4.tensor_tflops
    assert scaled.steps[1].curve.seconds[0] == pytest.approx(5 * MS * slower)
    assert scaled.steps[0] == gpu_times().steps[0]
    assert "scaled from H100 SXM" in scaled.origin and "not measured" in scaled.origin


def test_times_without_gpu_are_never_scaled_to_one():
    times = gpu_times("2 cores")
    on_cpu = tuple(dataclasses.replace(step, place="cpu") for step in times.steps)
    with pytest.raises(UnknownHardware, match="without a GPU"):
        hardware.scaled(dataclasses.replace(times, steps=on_cpu), hardware.find("L4"))


def test_every_figure_of_the_catalogue_has_a_source():
    for gpu in hardware.catalogue():
        assert gpu.figures_from.startswith("https://")
        priced = gpu.dollars_per_hour is not None
        assert priced == gpu.price_from.startswith("https://") == bool(gpu.price_date)


def test_service_times_survive_a_file(tmp_path):
    write(gpu_times(), tmp_path / "times.json")
    assert read(tmp_path / "times.json") == gpu_times()


@pytest.mark.parametrize("text", ["", "[]", '{"verb": 1}', '{"kind": "x", "steps": [{}]}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.raises(InvalidReport, match="does not hold service times"):
        read(path)


@pytest.fixture
def ask():
    """The command as people type it: its exit code, output, and errors."""
    app = typer.Typer()
    app.command()(command.main)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def times_file(tmp_path):
    path = tmp_path / "times.json"
    write(gpu_times(), path)
    return str(path)


def test_the_command_answers_for_every_gpu_that_can_be_estimated(ask, times_file):
    question = ("--rate", "500", "--p99", "300ms", "--service-times", times_file, "--json")
    kinds = ("--kind", "NVIDIA H100 80GB HBM3", "--kind", "A100 40GB", "--kind", "H200")
    answered = ask(*question, *kinds)
    assert answered.exit_code == 0
    answer = json.loads(answered.stdout)
    by_kind = {row["kind"]: row for row in answer["plans"]}
    assert by_kind["NVIDIA H100 80GB HBM3"]["origin"] == "measured"
    assert by_kind["A100 40GB"]["origin"].startswith("scaled from")
    assert by_kind["A100 40GB"]["dollars_per_hour"] is not None
    assert by_kind["H200"]["dollars_per_hour"] is None


def test_the_users_own_price_counts(ask, times_file):
    question = ("--rate", "500", "--p99", "300ms", "--service-times", times_file, "--json")
    answered = ask(*question, "--kind", "T4", "--price", "T4=0.25")
    (row,) = json.loads(answered.stdout)["plans"]
    assert row["dollars_per_hour"] == 0.25 * row["machines"]
    assert row["price_from"] == "your own"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--rate", "500", "--p99", "1ms"), 1, "out of reach"),
        (("--rate", "500", "--p99", "300"), 2, "time above 0 with its unit"),
        (("--rate", "-5", "--p99", "300ms"), 2, "rate of requests"),
        (("--rate", "5", "--p99", "300ms", "--kind", "B200"), 1, "no times of B200"),
        (("--rate", "5", "--p99", "300ms", "--spare", "-1"), 2, "--spare"),
    ],
)
def test_a_question_without_answer_ends_with_a_reason(ask, times_file, arguments, code, message):
    answered = ask(*arguments, "--service-times", times_file)
    assert answered.exit_code == code
    assert message in " ".join(re.sub("[│╭╮╰╯─]", " ", answered.stderr).split())
