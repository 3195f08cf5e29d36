"""Searches of every kind, in a world where the right finds are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fovea_client import Client, InvalidInput, InvalidPrompt
from fovea_search import Index, InvalidFilter, OtherMembers, Query, Store
from PIL import Image

from tests.search import colours

PICTURES = 24  # half with a red and half with a green square, all with a blue one; half at night


@pytest.fixture
def full(run, index: Index, tmp_path) -> Index:
    colours.write(tmp_path / "photos", PICTURES)
    run(tmp_path / "photos")
    return index


def colour_of(find) -> str:
    """The colour of the pixels under a find's mask."""
    from fovea_client.images import load

    pixels = np.array(load(find.path))[find.mask.to_numpy()]
    return colours.NAMES[int(colours.embed(pixels).argmax())]


def seed_of(find) -> int:
    return int(Path(find.path).stem)


def at_night(find) -> bool:
    return seed_of(find) % 2 == 1


def test_a_text_finds_every_object_of_its_kind_and_no_other(full: Index) -> None:
    finds = full.search(text="a red thing", k=12, fold=None)
    assert [colour_of(find) for find in finds] == ["red"] * 12
    assert all(find.score > 0.99 for find in finds)
    assert colour_of(full.search(text="a red thing", k=13, fold=None)[12]) != "red"
    assert finds[0].box.tolist() == finds[0].mask.box().tolist()


def test_a_crop_a_box_and_a_point_find_what_they_show(full: Index, tmp_path) -> None:
    crop = tmp_path / "crop.png"
    crop.write_bytes(colours.picture((), scene="green"))
    scene = tmp_path / "scene.png"
    scene.write_bytes(colours.picture(("green", "red"), seed=3))
    green = full._client.embed_objects(scene.read_bytes()).boxes[1]
    middle = (green[:2] + green[2:]) / 2
    for query in (
        {"image": crop},
        {"image": np.array(Image.open(crop))},
        {"image": scene, "box": green},
        {"image": scene, "point": middle},
    ):
        finds = full.search(**query, k=5, fold=None)
        assert [colour_of(find) for find in finds] == ["green"] * 5


def test_boxes_and_points_without_an_object_are_refused(full: Index, tmp_path) -> None:
    scene = colours.picture(("green",), seed=3)
    with pytest.raises(InvalidPrompt, match="expected a box around an object"):
        full.search(image=scene, box=(0, 0, 3, 3))
    with pytest.raises(InvalidPrompt, match="there is none at"):
        full.search(image=scene, point=(0, 0))
    with pytest.raises(InvalidPrompt, match="within 96x96"):
        full.search(image=scene, point=(500, 0))


def test_text_and_image_together_and_what_is_not_wanted(full: Index) -> None:
    green = colours.picture((), scene="green")
    both = full.search(text="blue", image=green, k=24, fold=None)
    assert {colour_of(find) for find in both} == {"blue", "green"}
    mostly = full.search(text="blue", image=green, alpha=0.8, k=12, fold=None)
    assert {colour_of(find) for find in mostly} == {"green"}
    without = full.search(text="blue or green", negative="green", k=12, fold=None)
    assert {colour_of(find) for find in without} == {"blue"}


def test_a_scene_brings_the_pictures_that_show_it_to_the_front(full: Index) -> None:
    finds = full.search(text="blue", scene="at night", k=12, fold=None)
    assert all(colour_of(find) == "blue" and at_night(find) for find in finds)
    plain = full.search(text="blue", k=12, fold=None)
    picture = full.search(scene="night", kind="picture", k=24, fold=None)
    cosines = {find.path: find.score / 1.5 for find in picture}
    expected = plain[0].score + 0.5 * cosines[finds[0].path]
    assert finds[0].score == pytest.approx(expected, abs=1e-3)


def test_whole_pictures(full: Index) -> None:
    finds = full.search(text="night", kind="picture", k=12, fold=None)
    assert all(find.kind == "picture" and find.mask is None and at_night(find) for find in finds)


def test_filters(full: Index) -> None:
    finds = full.search(text="blue", where="path LIKE '%/0007.png' AND area > 0.01", k=5)
    assert {seed_of(find) for find in finds} == {7}
    assert len(full.search(text="blue", where="area > 0.9")) == 0
    assert len(full.search(text="blue", where="(folder != ')') AND area > 0", k=3)) == 3


@pytest.mark.parametrize(
    "where",
    [
        "colour = 'red'", "area >", "area = 'x'", "1", "folder LIKE", "; drop", "a = 'x",
        "true) OR (true", "area > 0; drop", "(area > 0",
    ],
)  # fmt: skip
def test_a_bad_filter_is_one_line(full: Index, where: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        full.search(text="blue", where=where)
    assert "\n" not in str(caught.value) and where in str(caught.value)
    assert ".rs:" not in str(caught.value) and "_rowid" not in str(caught.value)


def test_grouped_finds_are_one_a_picture(full: Index) -> None:
    finds = full.search(text="blue red green", k=PICTURES, grouped=True, fold=None)
    assert len({find.picture for find in finds}) == len(finds) == PICTURES


def test_near_duplicates_are_folded_and_counted(full: Index) -> None:
    """Red squares by day are one find, those at night another: their pictures differ."""
    finds = full.search(text="red", k=3)
    assert {(colour_of(find), at_night(find)) for find in finds[:2]} == {
        ("red", False),
        ("red", True),
    }
    assert colour_of(finds[2]) != "red"
    assert finds.folded == PICTURES // 2 - 2


def test_two_masks_of_one_thing_are_one_find(run, index: Index, tmp_path) -> None:
    """The server finds a square, and the same one with a stripe beside it in another colour."""
    pixels = np.full((96, 96, 3), colours.COLOURS["day"], np.uint8)
    pixels[20:60, 20:60] = colours.COLOURS["red"]
    pixels[24:60, 24:60] = colours.COLOURS["green"]
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "one.png")
    run(tmp_path / "photos")
    assert len(index.search(text="green red", fold=None)) == 2
    finds = index.search(text="green red")
    assert (len(finds), finds.folded) == (1, 1)


def test_a_find_is_a_query_by_the_beginning_of_its_id(full: Index) -> None:
    first = full.search(text="green", k=1)[0]
    content, _, number = first.id.partition(":")
    finds = full.search(like=f"{content[:12]}:{number}", k=12, fold=None)
    assert {colour_of(find) for find in finds} == {"green"}
    for wrong in ("abc", "zzzzzzzzzz:1", f"{content[:12]}:77", "a'; drop:1"):
        with pytest.raises(InvalidInput, match="expected the id of"):
            full.search(like=wrong)


def test_marks_turn_a_query_towards_the_intended_things(full: Index) -> None:
    finds = full.search(text="red green", k=24, fold=None)
    reds = [find.id for find in finds if colour_of(find) == "red"]
    greens = [find.id for find in finds if colour_of(find) == "green"]
    again = full.search(text="red green", good=reds[:3], bad=greens[:3], k=12, fold=None)
    assert {colour_of(find) for find in again} == {"red"}


def test_marks_of_one_kind_are_enough(full: Index) -> None:
    reds = [find.id for find in full.search(text="red", k=2, fold=None)]
    liked = full.search(text="red green", good=reds, k=12, fold=None)
    assert {colour_of(find) for find in liked} == {"red"}
    left = full.search(text="red green", bad=reds, k=12, fold=None)
    assert {colour_of(find) for find in left} == {"green"}


def test_scores_below_the_least_are_left_out_and_templates_are_averaged(full: Index) -> None:
    finds = full.search(text="red", min_score=0.9, k=24, fold=None, templates=("a {}", "one {}."))
    assert {colour_of(find) for find in finds} == {"red"} and len(finds) == 12


def test_finds_that_are_no_nearer_to_the_query_than_to_words_for_nothing_are_left_out(full: Index):
    assert len(full.search(text="red", k=PICTURES, fold=None)) == PICTURES
    finds = full.search(text="red", min_margin=0.5, k=PICTURES, fold=None)
    assert {colour_of(find) for find in finds} == {"red"} and len(finds) == 12
    assert not full.search(text="red", min_margin=1.5, k=PICTURES, fold=None)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"box": (1, 2, 3, 4), "text": "x"},
        {"image": b"x", "box": (1, 2, 3, 4), "point": (1, 2)},
        {"text": "x", "kind": "mask"},
        {"text": "x", "k": 0},
        {"text": "x", "templates": ("a photo",)},
    ],
)
def test_wrong_queries_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        Query(**wrong)


def test_another_embedder_is_refused_with_the_way_out(full: Index, triton) -> None:
    triton.parameters = colours.parameters(colours.OTHER_EMBEDDER)
    with Client(triton.url) as other:
        stranger = Index(Store.open(full.store.uri), other)
        for query in ({"text": "red"}, {"image": colours.picture(("red",))}):
            with pytest.raises(OtherMembers, match=r"eeeeeeeeeeee .*index the pictures again"):
                stranger.search(**query)


def test_finds_turn_into_other_libraries_forms(full: Index) -> None:
    from pycocotools.coco import COCO

    finds = full.search(text="blue", k=10, fold=None)
    coco = COCO()
    coco.dataset = json.loads(json.dumps(finds.to_coco_json()))
    coco.createIndex()
    assert len(coco.anns) == 10 and len(coco.imgs) == 10
    assert all(coco.annToMask(one).sum() == colours.SQUARE**2 for one in coco.anns.values())
    by_path = finds.to_supervision()
    assert sum(len(one) for one in by_path.values()) == 10
    assert all(one.mask.shape[1:] == (colours.SIZE, colours.SIZE) for one in by_path.values())
    frame = finds.to_pandas()
    assert list(frame["score"]) == sorted(frame["score"], reverse=True)
    assert json.loads(json.dumps(finds.to_dict()))["finds"][0]["path"] == finds[0].path
    assert len(finds[:3]) == 3 and finds[:3].query == "blue"
