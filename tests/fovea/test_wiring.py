"""An ensemble that Triton would misunderstand, or leave hanging, is refused with the reason."""

import pytest

from fovea.specs import EnsembleStep, ModelSpec, TensorSpec
from fovea.wiring import Wiring, WiringError

A, B = TensorSpec("a", "FP32", (3, -1)), TensorSpec("b", "INT64", (2,))
C = TensorSpec("c", "FP32", (3, 7))


def model(name, inputs, outputs):
    return ModelSpec(name, "python", inputs, outputs, 8)


ENCODER = model("encoder", (A, TensorSpec("hint", "FP32", (1,), optional=True)), (B,))
HEAD = model("head", (B,), (C,))


def wired(*steps, inputs=(A,), outputs=(C,)):
    wiring = Wiring("verb", inputs)
    for step, given, made in steps:
        wiring.add(step, inputs=given, outputs=made)
    return wiring.ensemble(outputs, 4, {"verb": "x"})


def test_steps_are_wired_by_the_names_of_the_ensemble():
    made = wired((ENCODER, {"a": "a"}, {"b": "found"}), (HEAD, {"b": "found"}, {"c": "c"}))
    assert made.steps == (
        EnsembleStep("encoder", (("a", "a"),), (("b", "found"),)),
        EnsembleStep("head", (("b", "found"),), (("c", "c"),)),
    )
    assert made.max_batch_size == 4
    assert made.parameters == (("verb", "x"),)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([(HEAD, {"b": "nowhere"}, {"c": "c"})], "nothing gives nowhere, which head takes"),
        ([(ENCODER, {}, {"b": "b"})], "encoder gets no a"),
        ([(ENCODER, {"a": "a", "z": "a"}, {"b": "b"})], "encoder has no z"),
        ([(ENCODER, {"a": "a"}, {"y": "b"})], "encoder has no y"),
        ([(ENCODER, {"a": "a"}, {"b": "a"})], "a has two sources, one is encoder"),
        ([(ENCODER, {"a": "a"}, {"b": "b"})], "nothing gives c"),
        (
            [
                (ENCODER, {"a": "a"}, {"b": "b"}),
                (ENCODER, {"a": "a"}, {"b": "more"}),
                (HEAD, {"b": "b"}, {"c": "c"}),
            ],
            "nothing takes more",
        ),
        ([(HEAD, {"b": "a"}, {"c": "c"})], r"b of head is INT64 \[2\], a is FP32 \[3, -1\]"),
    ],
)
def test_mismatched_steps_are_refused(steps, said):
    with pytest.raises(WiringError, match=f"verb: .*{said}"):
        wired(*steps)


def test_an_output_of_another_shape_is_refused():
    steps = [(ENCODER, {"a": "a"}, {"b": "b"}), (HEAD, {"b": "b"}, {"c": "c"})]
    other = TensorSpec("c", "FP32", (3, 8))
    with pytest.raises(WiringError, match="the ensemble's output is FP32"):
        wired(*steps, outputs=(other,))
