"""Which ensembles a probe calls, from Triton's statistics about its models."""

import pytest
from fovea_server import activity

NOW_S = 1_000_000.0
ENSEMBLES = {
    "main_object": ("preprocess", "clip", "rank", "dino", "main_box", "sam", "decoder", "masks"),
    "detect": ("preprocess", "dino", "boxes"),
    "detect_and_segment": ("preprocess", "dino", "boxes", "sam", "decoder", "masks"),
    "embed_text": ("tokenize", "text"),
}
NETWORKS = ("clip", "dino", "sam", "decoder", "text")


def statistics(name, *, ago_s=None, seconds=0.01, executions=1):
    """Triton's counts for a model whose requests take `seconds`, the last `ago_s` ago."""
    computing = {"count": executions, "ns": int(seconds * executions * 1e9)}
    return {
        "name": name,
        "last_inference": 0 if ago_s is None else int((NOW_S - ago_s) * 1e3),
        "execution_count": executions,
        "inference_stats": {"compute_infer": computing},
        "batch_stats": [{"batch_size": 1, "compute_infer": computing}],
    }


def config(name, steps=()):
    inputs = [{"name": "IMAGE"}, {"name": "BOX_THRESHOLD", "optional": True}]
    backend = "onnxruntime" if name in NETWORKS else "python"
    made = {"input": inputs, "backend": "" if steps else backend}
    if steps:
        first, *rest = steps
        made["ensemble_scheduling"] = {
            "step": [
                {"model_name": first, "input_map": {"image": "IMAGE"}},
                *({"model_name": s, "input_map": {"x": f"of {first}"}} for s in rest),
            ]
        }
    return made


def read(**ago_s):
    """A server whose ensembles answered this many seconds ago."""
    names = {*ENSEMBLES, *(step for steps in ENSEMBLES.values() for step in steps)}
    counted = {name: statistics(name, ago_s=ago_s.get(name)) for name in names}
    answers = {"/v2/models/stats": {"model_stats": [*counted.values()]}} | {
        f"/v2/models/{name}/config": config(name, ENSEMBLES.get(name, ())) for name in names
    }
    return activity.read_models(answers.get)


def to_ask(models, can_ask=lambda inputs: True, most_s=600.0):
    return activity.to_ask(models, can_ask, most_s, clock=lambda: NOW_S)


def test_a_quiet_server_is_asked_for_what_together_runs_every_model():
    assert to_ask(read()) == ["main_object", "embed_text", "detect"]


@pytest.mark.parametrize(
    ("answered", "asked"),
    [
        ({"main_object": 3}, ["embed_text", "detect"]),
        ({"detect_and_segment": 3, "embed_text": 9}, ["main_object"]),
        ({"main_object": 11}, ["main_object", "embed_text", "detect"]),
        ({"main_object": 3, "detect_and_segment": 2, "embed_text": 0}, []),
        ({"main_object": -3600}, ["main_object", "embed_text", "detect"]),
    ],
)
def test_ensembles_that_users_called_recently_are_not_probed(answered, asked):
    assert to_ask(read(**answered)) == asked


def test_the_answers_of_single_steps_prove_nothing():
    lately = dict.fromkeys(step for steps in ENSEMBLES.values() for step in steps)
    assert to_ask(read(**dict.fromkeys(lately, 0))) == ["main_object", "embed_text", "detect"]


def test_only_ensembles_whose_inputs_are_known_are_asked():
    assert to_ask(read(), can_ask=lambda inputs: inputs == ("IMAGE", "BOX_THRESHOLD")) == []
    assert to_ask(read(), can_ask=lambda inputs: inputs == ("IMAGE",)) != []


def test_a_costly_answer_counts_for_longer_but_not_for_ever():
    def proof_s(seconds, most_s=600.0):
        return activity._model(statistics("dino", seconds=seconds), config("dino")).proof_s(most_s)

    assert [proof_s(s) for s in (0.01, 1.0, 30.0)] == pytest.approx([10.0, 50.0, 600.0])
    assert proof_s(30.0, most_s=0.0) == 0.0


def test_only_networks_count_for_the_longest_execution():
    fetched = {
        "/v2/models/stats": {
            "model_stats": [statistics("rank", seconds=9), statistics("dino", seconds=2)]
        },
        "/v2/models/rank/config": config("rank"),
        "/v2/models/dino/config": config("dino"),
    }
    assert activity.longest_execution_s(activity.read_models(fetched.get)) == pytest.approx(2)


def test_a_just_unloaded_model_is_left_out():
    answers = {"/v2/models/stats": {"model_stats": [statistics("gone")]}}
    assert activity.read_models(answers.get) == {}
