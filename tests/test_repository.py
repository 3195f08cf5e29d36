"""The committed model repository is what the specs say."""

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.production import production_deployment
from export.repository import HEADER, write_repository
from fovea.house import wire

COMMITTED = Path(__file__).resolve().parent.parent / "model_repository"


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".onnx" and "__pycache__" not in path.parts
    }


def test_generated_configs_equal_the_committed_ones(tmp_path):
    write_repository(tmp_path, production_deployment())
    assert tree(tmp_path) == tree(COMMITTED)


def test_a_model_that_is_no_longer_generated_is_removed_and_others_stay(tmp_path):
    for name, text in (("former", HEADER), ("foreign", 'name: "foreign"\n')):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(text)
    write_repository(tmp_path, production_deployment())
    assert not (tmp_path / "former").exists()
    assert (tmp_path / "foreign" / "1").is_dir()


def test_every_config_parses_and_names_its_folder():
    paths = sorted(COMMITTED.glob("*/config.pbtxt"))
    assert len(paths) == 25
    for path in paths:
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        assert config.name == path.parent.name


def test_every_network_batches_and_warms_up():
    for network in wire(production_deployment()).networks:
        assert network.max_batch_size > 1
        assert network.warmup


def test_only_first_steps_have_a_queue_policy():
    limited = {path.parent.name for path in COMMITTED.glob("*/config.pbtxt")
               if "default_queue_policy" in path.read_text()}  # fmt: skip
    assert limited == {"preprocess_image", "clip_tokenize_text"}


def test_only_first_steps_refuse_by_time():
    wired = wire(production_deployment())
    models = (*wired.networks, *(step.model for step in wired.steps))
    timed = {model.name for model in models if model.queue.timeout_us}
    first = {ensemble.steps[0].model for ensemble in wired.ensembles}
    assert timed == first == {"preprocess_image", "clip_tokenize_text"}


def test_each_ensemble_has_one_first_step_so_that_nothing_else_runs_when_it_refuses():
    for ensemble in wire(production_deployment()).ensembles:
        given = {tensor.name for tensor in ensemble.inputs}
        ready = [step.model for step in ensemble.steps if {o for _, o in step.inputs} <= given]
        assert ready == [ensemble.steps[0].model]


def test_every_ensemble_tensor_has_one_source_and_matching_types():
    wired = wire(production_deployment())
    models = {m.name: m for m in (*wired.networks, *(step.model for step in wired.steps))}
    for ensemble in wired.ensembles:
        known = {tensor.name: tensor.dtype for tensor in ensemble.inputs}
        for step in ensemble.steps:
            model = models[step.model]
            dtypes = {tensor.name: tensor.dtype for tensor in model.outputs}
            for theirs, ours in step.outputs:
                assert ours not in known, (ensemble.name, ours)
                known[ours] = dtypes[theirs]
        for step in ensemble.steps:
            inputs = models[step.model].inputs
            dtypes = {tensor.name: tensor.dtype for tensor in inputs}
            mapped = {theirs for theirs, _ in step.inputs}
            needed = {tensor.name for tensor in inputs if not tensor.optional}
            assert needed <= mapped <= set(dtypes), (ensemble.name, step)
            for theirs, ours in step.inputs:
                assert known[ours] == dtypes[theirs]
        for tensor in ensemble.outputs:
            assert known[tensor.name] == tensor.dtype
