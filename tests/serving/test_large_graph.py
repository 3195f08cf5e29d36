"""A network larger than protobuf's 2 GiB loads in the real Triton and answers like PyTorch."""

import numpy as np
import pytest
import torch
from fovea_client import Client

from demo.served import demo_server
from export.deployments import Export, run
from export.stand_ins import metaclip_2
from fovea.deployment_file import DeploymentFile
from fovea.members import Source
from fovea.verbs import verbs_of

pytestmark = [pytest.mark.server, pytest.mark.real_size]

TEXTS = ("a cat", "ein roter Bus", "猫")


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """MetaCLIP 2, whose table of 901,629 tokens takes 2.3 GB."""
    folder = tmp_path_factory.mktemp("large")
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    torch.manual_seed(0)
    path = metaclip_2.large().write(checkpoint)
    verbs = verbs_of({"embed_text": {"embeds": "large"}})
    file = DeploymentFile("large", {"large": Source(str(path), "metaclip_2")}, verbs)
    made = Export(file, folder / "export", max_batch=1, members=folder / "members")
    run(made)
    return made


def test_texts_have_the_vectors_of_transformers(export):
    graph = export.onnx_path("large_text_encoder")
    assert sum(part.stat().st_size for part in graph.parent.iterdir()) > 2**31
    with demo_server(export.repository) as server, Client(server.grpc_url) as client:
        served = np.stack([client.embed_text(text) for text in TEXTS])
    [request] = export.find().values()
    model, tokenizer = request.checkpoint.load_model(), request.checkpoint.load_tokenizer()
    length = model.config.text_config.max_position_embeddings
    tokens = tokenizer([*TEXTS], padding="max_length", max_length=length, return_tensors="pt")
    with torch.inference_mode():
        vectors = model.get_text_features(**tokens).pooler_output
    expected = torch.nn.functional.normalize(vectors, dim=-1).numpy()
    assert np.allclose(served, expected, atol=1e-4)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
