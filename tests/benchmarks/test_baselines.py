from pathlib import Path

import torch

from benchmarks.baselines import PlainPipeline
from benchmarks.exports import Exported, Source
from export.deployments import Export, load, read_deployment


def test_plain_transformers_reads_the_checkpoints_that_the_deployment_names(tmp_path):
    demo = read_deployment("demo")
    for name, source in demo.members.items():
        (tmp_path / f"real-{name}").symlink_to(Path(source.checkpoint))
    named = demo.with_checkpoints({name: str(tmp_path / f"real-{name}") for name in demo.members})
    export = Export(named, tmp_path / "export", lambda *told: None)
    exported = Exported(Source(), export, load(export))

    plain = PlainPipeline(exported, "cpu")

    networks = {network.spec.name: network.module for network in exported.networks}
    theirs, ours = networks["grounding_dino"].model.state_dict(), plain.dino.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[key], value) for key, value in ours.items())
