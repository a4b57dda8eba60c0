"""Upload a model folder to the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vtnstream.errors import ModelError
from vtnstream.models.io import hub
from vtnstream.models.io.card import CARD_FILE, has_card, model_card
from vtnstream.models.io.checkpoint import CONFIG_FILE, WEIGHTS_FILE, load_model, save_model
from vtnstream.models.vivit import hf


def push_model(
    folder: str | Path, name: hub.HubName, *, private: bool = False, license: str | None = None
) -> str:
    """Upload config, weights and card of a model; other files are not uploaded.

    Args:
        folder: a local model folder.
        name: repository, and possibly a branch.
        private: make the repository visible only to its owner and organisation.
        license: SPDX identifier for a new card.

    Returns:
        the address of the commit.

    Raises:
        ModelError: the model cannot be loaded, or the Hub refuses the upload.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder")
    model = load_model(folder)  # a model that cannot be loaded is not uploaded
    card = model_card(folder, hub_name=str(name), license=license)
    optional = () if has_card(folder) else (CARD_FILE,)
    with tempfile.TemporaryDirectory(prefix="vtnstream-push-") as made:
        if hf.recognises(folder):  # uploaded in vtnstream's format
            folder = save_model(model, Path(made) / "model")
        files: dict[str, Path | bytes] = {
            CONFIG_FILE: folder / CONFIG_FILE,
            WEIGHTS_FILE: folder / WEIGHTS_FILE,
            CARD_FILE: card.encode(),
        }
        return hub.push(name, files, private=private, optional=optional)
