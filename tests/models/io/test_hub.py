"""Upload to and load from a local hub, through the real client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from huggingface_hub import constants

from tests.models.io.fake_hub import TOKEN, Hub, fake_hub
from tests.models.small import small_vtn
from tests.models.vivit.test_hf import preprocessor, their_model
from vtnstream.cli.main import main
from vtnstream.config.loading import to_dict
from vtnstream.models.io.checkpoint import load_model, read_config, save_model, weights_sha256

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=:DeprecationWarning"  # the client's own, towards its HTTP library
)


class Outcome(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with fake_hub() as hub:
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = save_model(small_vtn(), tmp_path / "mine")
    (folder / "metrics.jsonl").write_text("{}")  # what training leaves stays here
    return folder


@pytest.fixture
def run(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return a function that runs ``vtnstream`` for a user who is logged in to this hub.

    The client reads its settings once, when it is imported; they are set here as the environment
    would set them.
    """
    settings = {
        "ENDPOINT": hub.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "VTNSTREAM_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path, **variables: str) -> Outcome:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            code = main(list(map(str, arguments)))
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def test_push_then_load_then_offline(run: Run, hub: Hub, folder: Path) -> None:
    pushed = run("models", "push", folder, "org/mine", "--private", "--license", "cc-by-4.0")
    assert pushed.code == 0, pushed.err
    assert pushed.out.startswith(f"{hub.address}/org/mine/commit/")
    repository = hub.repositories["org/mine"]
    files = repository.branches["main"]
    assert repository.private
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    card = files["README.md"].decode()
    assert "license: cc-by-4.0" in card and "--model org/mine" in card

    shown = run("models", "show", "hf://org/mine@main", "--json")
    assert json.loads(shown.out)["config"]["name"] == "small", shown.err
    hub.asked.clear()
    for variables, flag in (({"VTNSTREAM_OFFLINE": "1"}, []), ({}, ["--offline"])):
        shown = run("models", "show", "org/mine", "--json", *flag, **variables)
        assert json.loads(shown.out)["config"]["name"] == "small", shown.err
    other = run("models", "show", "org/other", "--offline")
    assert other.code == 2 and "offline mode is on and it is not in" in other.err
    assert hub.asked == [], "nothing was asked while offline"


def test_branches_and_an_existing_card(run: Run, hub: Hub, folder: Path) -> None:
    assert run("models", "push", folder, "org/mine").code == 0
    repository = hub.repositories["org/mine"]
    repository.branches["main"]["README.md"] = b"written on the Hub"
    save_model(small_vtn(seed=3), folder)
    assert run("models", "push", folder, "org/mine").code == 0
    assert repository.branches["main"]["README.md"] == b"written on the Hub"
    (folder / "README.md").write_text("my own")
    save_model(small_vtn(seed=5), folder)
    pushed = run("models", "push", folder, "org/mine@next")
    assert pushed.code == 0, pushed.err
    assert repository.branches["next"]["README.md"] == b"my own"
    assert (
        repository.branches["main"]["model.safetensors"]
        != (repository.branches["next"]["model.safetensors"])
    )
    loaded = folder.parent / "loaded"
    loaded.mkdir()
    for name, data in repository.branches["next"].items():
        (loaded / name).write_bytes(data)
    assert weights_sha256(load_model(loaded)) == weights_sha256(small_vtn(seed=5))


def test_a_folder_of_transformers_is_converted(run: Run, hub: Hub, tmp_path: Path) -> None:
    """The settings of its processor must not be lost."""
    theirs = tmp_path / "theirs"
    their_model().save_pretrained(theirs)
    preprocessor(image_mean=[0.1, 0.2, 0.3]).save_pretrained(theirs)
    assert run("models", "push", theirs, "org/vivit").code == 0
    files = hub.repositories["org/vivit"].branches["main"]
    plain = tmp_path / "plain"
    their_model().save_pretrained(plain)
    expected = json.loads(json.dumps(to_dict(read_config(theirs))))
    assert json.loads(files["config.json"]) == expected
    assert expected["preprocess"]["mean"] != to_dict(read_config(plain))["preprocess"]["mean"]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]


def test_refusals_are_one_line(run: Run, hub: Hub, folder: Path, tmp_path: Path) -> None:
    assert run("models", "push", folder, "org/mine").code == 0
    broken = save_model(small_vtn(), tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no")
    for arguments, variables, message in (
        ((folder, "org/mine", "--private"), {}, "is public: make it private"),
        ((folder, "org/new"), {"HF_TOKEN": "hf_wrong"}, "not allowed: log in"),
        ((folder, "org/new", "--offline"), {}, "offline mode is on"),
        ((folder, "no name"), {}, "not a Hub name"),
        ((broken, "org/new"), {}, "not a readable weights file"),
        ((tmp_path / "absent", "org/new"), {}, "no such model folder"),
    ):
        refused = run("models", "push", *arguments, **variables)
        assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
        assert message in refused.err and TOKEN not in refused.err
    assert list(hub.repositories) == ["org/mine"]
