"""A server's description of itself: verbs, members, classes and licences."""

import json
from pathlib import Path

import pytest
from fovea_client import LocalClient, UnknownVerb
from fovea_client.cli import app
from fovea_client.models import members_of
from typer.testing import CliRunner

from fovea.manifest import exported_deployment
from fovea.verbs import VERBS

EXPORT = "build/export/demo"


def test_only_the_deployments_verbs_are_listed(client):
    deployment = exported_deployment(Path(EXPORT))
    told = client.verbs()
    assert [one.name for one in told] == sorted(verb.name for verb in deployment.verbs)
    for one in told:
        assert set(one.members) == set(VERBS[one.verb])


def test_members_are_listed_with_their_weights(client):
    [clip] = [member for member in members_of(client.verbs()) if member.name == "clip"]
    assert (clip.family, clip.role) == ("clip", "embedder")
    assert len(clip.fingerprint) == 64
    assert clip.licence
    assert client.describe("embed_text").fingerprints == {"embeds": clip.fingerprint}


def test_a_local_client_lists_the_same(client):
    with LocalClient(EXPORT) as local:
        assert local.verbs() == client.verbs()


def test_a_verb_that_is_not_served_is_unknown(client):
    with pytest.raises(UnknownVerb, match="has no 'paint'"):
        client.describe("paint")


@pytest.mark.parametrize("where", ["server", "local"])
def test_the_command_prints_them(url, where):
    place = ["--url", url] if where == "server" else ["--local", EXPORT]
    printed = CliRunner().invoke(app, ["models", "--json", *place])
    assert printed.exit_code == 0
    record = json.loads(printed.stdout)
    assert {"name": "detect", "verb": "detect", "members": {"detects": "grounding_dino"}} in record[
        "verbs"
    ]
    assert {member["name"] for member in record["members"]} == {"clip", "grounding_dino", "sam"}
    table = CliRunner().invoke(app, ["models", *place]).stdout
    assert "open_detector" in table and "detects = grounding_dino" in table
