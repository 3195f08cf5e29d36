"""How a machine's settings are chosen, and how the export uses them."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from benchmarks.exports import Exported, Source, export
from benchmarks.figures import Spread
from benchmarks.tune import Bench, Knob, Ratios, knobs, search, tuned
from export.__main__ import read_settings
from export.deployments import Loaded
from export.errors import ExportError
from export.repository import write_repository
from fovea.deployment import BatchSizes
from fovea.machine_settings import MachineSettings
from fovea.placement import Placement
from fovea.specs import from_json, to_json
from tests.deployments import TINY

STEADY = Spread.of([1.0, 1.0, 1.0])


def config(folder, model):
    return text_format.Parse((folder / model / "config.pbtxt").read_text(), pb.ModelConfig())


def test_settings_reach_the_configurations(tmp_path):
    settings = MachineSettings(
        BatchSizes(networks=(("grounding_dino", 2),)),
        (
            Placement("sam_image_encoder", instances=2, threads=1, delay_us=500),
            Placement("preprocess_image", instances=3),
        ),
        decode_margin=3.0,
        embedding_cache_bytes=5,
    )
    assert from_json(MachineSettings, to_json(settings)) == settings
    write_repository(tmp_path, settings.apply(TINY))
    encoder = config(tmp_path, "sam_image_encoder")
    assert encoder.instance_group[0].count == 2
    assert encoder.parameters["intra_op_thread_count"].string_value == "1"
    assert encoder.dynamic_batching.max_queue_delay_microseconds == 500
    step = config(tmp_path, "preprocess_image")
    assert step.instance_group[0].count == 3
    assert "intra_op_thread_count" not in step.parameters
    assert step.parameters["decode_margin"].string_value == "3.0"
    assert config(tmp_path, "sam_encode_image").parameters["cache_bytes"].string_value == "5"
    assert config(tmp_path, "grounding_dino").max_batch_size == 2
    plain = config(tmp_path, "sam_mask_decoder")
    assert plain.instance_group[0].count == 1
    assert "intra_op_thread_count" not in plain.parameters


def test_an_unknown_model_cannot_be_placed():
    with pytest.raises(ValueError, match=r"no model \['sam2'\], the deployment has \["):
        MachineSettings(placements=(Placement("sam2"),)).apply(TINY)


@pytest.mark.parametrize("text", ["", "[1]", '{"speed": 9}', '{"batch_sizes": {"sam": 1}}'])
def test_a_file_that_holds_no_settings_is_refused(tmp_path, text):
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ExportError, match=r"settings\.json holds no settings"):
        read_settings(path)


@pytest.mark.parametrize(
    ("throughput", "p99", "kept"),
    [
        ((1.2, 1.1, 1.3), (0.9, 0.9, 0.9), True),
        ((1.2, 0.99, 1.3), (0.9, 0.9, 0.9), False),  # lost a turn
        ((1.01, 1.02, 1.02), (1.0, 1.0, 1.0), False),  # within the noise
        ((1.2, 1.1, 1.3), (1.2, 1.3, 1.1), False),  # a longer tail
    ],
)
def test_only_what_beats_the_noise_in_every_turn_is_kept(throughput, p99, kept):
    assert Ratios(Spread.of(throughput), Spread.of(p99)).better is kept


class Formula:
    """A bench whose server is faster the closer two sizes are to 4 and 2."""

    def rate(self, settings):
        sizes = settings.batch_sizes
        return 10 / (1 + abs(sizes.embeddings - 4)) + 10 / (1 + abs(sizes.steps - 2))

    def compare(self, ours, theirs):
        return Ratios(Spread.of([self.rate(ours) / self.rate(theirs)] * 3), STEADY)


def sizes(name):
    return lambda settings, value: MachineSettings(
        BatchSizes(**{**vars(settings.batch_sizes), name: value}), settings.placements
    )


def test_the_search_walks_from_knob_to_knob():
    choices = (
        Knob("embeddings", (1, 2, 4), sizes("embeddings")),
        Knob("steps", (1, 2, 3), sizes("steps")),
    )
    best, attempts = search(Formula(), choices, lambda attempt: None)
    assert (best.batch_sizes.embeddings, best.batch_sizes.steps) == (4, 2)
    assert [attempt.kept for attempt in attempts] == [True, True, True, True, True, False]


def test_if_nothing_wins_the_defaults_stay(tmp_path, capsys):
    out = tmp_path / "settings.json"
    choices = (Knob("embeddings", (12, 16), sizes("embeddings")),)
    assert tuned(Formula(), choices, out) == MachineSettings()
    assert from_json(MachineSettings, out.read_text()) == MachineSettings()
    assert "Nothing beat the defaults: they stay." in capsys.readouterr().out


def test_every_knob_turns_something_that_a_repository_can_hold(tmp_path):
    exported = Exported(Source(), export=None, loaded=Loaded(TINY, [], {}))
    for knob in knobs(exported):
        for value in knob.values:
            turned = knob.turn(MachineSettings(), value)
            assert turned != MachineSettings(), knob.name
            write_repository(tmp_path / knob.name / str(value), turned.apply(TINY))


@pytest.mark.server
def test_two_settings_are_served_at_once_and_compared_in_turns(tmp_path):
    made = export(Source(), lambda network, what: None)
    bench = Bench(made, tmp_path, callers=2, seconds=0.5, rounds=2)
    (knob,) = [knob for knob in knobs(made) if "preprocess" in knob.name]
    found = bench.compare(knob.turn(MachineSettings(), 1), MachineSettings())
    assert len(found.throughput.values) == len(found.p99.values) == 2
    assert found.throughput.least > 0 and found.p99.least > 0
    assert config(tmp_path / "ours", "preprocess_image").instance_group[0].count == 1
    assert config(tmp_path / "theirs", "preprocess_image").instance_group[0].count == 2
