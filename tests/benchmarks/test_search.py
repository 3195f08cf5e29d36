"""The basis of the search benchmark: its world, its truth, its judge of masks, its plan."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks.capacity import index as index_plan
from benchmarks.search import peers, vectors
from benchmarks.search.__main__ import FULL, QUICK, SECTIONS
from benchmarks.search.decoder import judged
from benchmarks.search.vectors import CONDITIONS, Chunk, K, Truth, World
from demo.scene_pictures import write_scenes


def test_a_small_store_is_searched_exactly_and_kept_up() -> None:
    found = vectors.measure(2_000, queries=4)
    for searched in (found.indexed, found.unindexed):
        assert set(searched) == set(CONDITIONS)
        assert searched["no filter"]["recall"] == searched["10 %"]["recall"] == 1.0
        assert searched["no filter"]["least"] == K
    assert found.found_at_once
    assert found.delete_ms > 0


@given(st.integers(0, 1_000), st.integers(1, 4))
def test_the_truth_of_chunks_is_that_of_the_whole(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(parts * 50, 8)).astype(np.float32)
    areas, queries = rng.random(len(rows), np.float32), rows[:3]
    truth = Truth(queries)
    for start in range(0, len(rows), 50):
        truth.add(Chunk(start, rows[start : start + 50], areas[start : start + 50]))
    whole = Chunk(0, rows, areas).ids()
    for query, ids in zip(queries, truth.ids["no filter"], strict=True):
        best = np.argsort(-(rows @ query), kind="stable")[:K]
        assert set(ids) == {whole[place] for place in best}


def test_the_world_is_clustered_and_seeded() -> None:
    world = World.of(np.random.default_rng(0))
    drawn = world.draw(np.random.default_rng(1), 500)
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-5)
    assert (drawn == world.draw(np.random.default_rng(1), 500)).all()
    # The nearest centre is far nearer than others are.
    likeness = np.sort(drawn @ world.centres.T, axis=1)
    assert np.median(likeness[:, -1]) > 3 * np.median(likeness[:, -2])


def test_masks_are_judged_as_segment_anything_does() -> None:
    logits = torch.full((1, 1, 8, 10), -3.0)
    logits[..., 2:5, 3:7] = 3.0
    logits[..., 2, 3:7] = 0.5  # in the mask, but not above the raised threshold
    stability, areas, boxes = judged(logits)
    assert stability[0, 0] == pytest.approx(8 / 12)
    assert areas[0, 0] == 12
    assert boxes[0, 0].tolist() == [3, 2, 7, 5]


def test_an_object_counts_once_and_a_missed_one_as_never_found(tmp_path) -> None:
    (scene,) = write_scenes(tmp_path / "photos", 1).values()
    thing = scene.objects[0]
    names = peers.true_names([thing.mask, thing.mask, ~thing.mask], scene)
    assert names[:2] == [thing.label, ""]
    found = peers.Found(np.array([[1, 0], [0, 1]], np.float32), ["a", ""])
    scenes = {"x": type("S", (), {"objects": [type("T", (), {"label": "a"})()] * 2})()}
    assert peers.text_map(found, scenes, {"a": [1.0, 0.0]}) == 0.5


def test_the_quick_form_measures_the_same_sections() -> None:
    assert set(SECTIONS) == {"vectors", "decoder", "jobs", "peers"}
    assert all(vars(QUICK)[name] < value for name, value in vars(FULL).items())


def test_a_plan_is_done_in_time(tmp_path) -> None:
    plan = index_plan.plan({"ray": 20.0}, 1e8, 7, concurrency=16, spare=1)
    assert (plan.servers - 1) * 20.0 < plan.rate <= plan.servers * 20.0
    assert plan.actors * 16 >= plan.under_way > (plan.actors - 1) * 16
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"jobs": [{"ray": 20.0}]}))
    import typer

    app = typer.Typer()
    app.command()(index_plan.main)
    answer = CliRunner().invoke(app, ["--measured", str(path), "--json"])
    assert json.loads(answer.stdout)["servers"] == plan.servers
    assert CliRunner().invoke(app, ["--measured", "nowhere.json"]).exit_code == 2
