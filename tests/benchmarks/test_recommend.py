"""Light and heavy members: the calls to each deployment, and the use of the figures."""

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.choices import CHOICES
from benchmarks.recommend import (
    PICTURE_WH,
    Amount,
    Measured,
    conclusion,
    figures,
    main,
    measure,
    page,
    pictures,
)
from benchmarks.targets import Pool
from demo.served import EXPORTS, export_demo
from export import stand_ins
from export.deployments import Export, read_deployment
from fovea import families
from fovea.verbs import VERBS

AMOUNT = Amount(rounds=1, seconds=0, requests=1, pictures=8)


def rows() -> list[Measured]:
    heavy = Measured("heavy", ["A", "B"], 900, [2000.0, 2200], [0.5, 0.4], [1.0, 1], [4000, 4100])
    light = Measured("light", ["C", "D"], 90, [500.0, 600], [2.0, 1.2], [4.0, 5], [900, 800])
    return [heavy, light]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_members_play_the_roles_of_their_slots_and_have_stand_ins_of_real_size(choice):
    slots = VERBS["main_object"]
    parts = {"ranks": choice.ranks, "detects": choice.detects, "cuts": choice.cuts}
    for slot, part in parts.items():
        assert issubclass(families.load(part.family), slots[slot])
        assert part.stand_in in stand_ins.builds(part.family, "real")


def test_names_of_choices_differ():
    assert len({choice.name for choice in CHOICES}) == len(CHOICES)


def test_pictures_differ_and_have_a_box_within():
    made = pictures(3)
    assert len({question.jpeg for question in made}) == 3
    for question in made:
        left, top, right, bottom = question.box_xyxy
        assert question.image.size == PICTURE_WH
        assert 0 <= left < right <= PICTURE_WH[0] and 0 <= top < bottom <= PICTURE_WH[1]


def test_ratios_are_to_the_first_deployment_of_the_same_round():
    first, second = figures(rows())
    assert first["main_object, × first"].values == (1, 1)
    assert second["main_object, × first"].values == pytest.approx((4, 3))
    assert second["segment, × first"].values == pytest.approx((4, 5))


def test_it_ends_with_the_fastest_deployment():
    assert conclusion(rows()) == "light: 3.50 times as many pictures as heavy"


def test_an_unknown_deployment_is_refused_before_anything_is_exported():
    answer = CliRunner().invoke(_app(), ["--only", "gone"])
    assert answer.exit_code == 2 and "owlvit-mobilesam" in " ".join(answer.output.split())


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(main)
    return app


def test_the_page_has_a_row_for_each_deployment_and_says_what_is_not_measured():
    text = page(rows(), AMOUNT)
    assert "| heavy | A, B |" in text and "| light | C, D |" in text
    assert "nothing of what it is worth" in " ".join(text.split())


@pytest.mark.server
def test_a_round_asks_the_real_server_and_every_picture_has_a_mask():
    export_demo()
    export = Export(read_deployment("demo"), EXPORTS / "demo")
    row = Measured("demo", ["demo"], 1)
    measure(row, export, AMOUNT, Pool(pictures(AMOUNT.pictures)))
    for values in (row.latency_ms, row.main_object_per_s, row.segment_per_s, row.memory_mb):
        assert len(values) == 1 and values[0] > 0
