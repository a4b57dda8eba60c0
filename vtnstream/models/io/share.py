"""A model folder to the Hugging Face Hub."""

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
    """Push config, weights and card of a model that loads; other files stay here.

    Args:
        folder: a model folder on this machine.
        name: repository, and possibly a branch.
        private: only its owner and organisation see it.
        license: SPDX identifier for a card that is made.

    Returns:
        the address of the commit.

    Raises:
        ModelError: no whole model folder, or the Hub refuses.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder")
    model = load_model(folder)  # what does not load here is of no use to others
    card = model_card(folder, hub_name=str(name), license=license)
    optional = () if has_card(folder) else (CARD_FILE,)
    with tempfile.TemporaryDirectory(prefix="vtnstream-push-") as made:
        if hf.recognises(folder):  # pushed as what we made of it
            folder = save_model(model, Path(made) / "model")
        files: dict[str, Path | bytes] = {
            CONFIG_FILE: folder / CONFIG_FILE,
            WEIGHTS_FILE: folder / WEIGHTS_FILE,
            CARD_FILE: card.encode(),
        }
        return hub.push(name, files, private=private, optional=optional)
