"""Tiny image-text models of random weights in folders as transformers writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_WORDS = "a photo of video frame the dog cat runs goal corner replay red blue"
WORDS = _WORDS.split()
SIDE, PATCH, WIDTH = 32, 8, 24
FAMILIES = ("siglip", "siglip2-fixed", "siglip2", "clip")


def write_model(folder: Path, family: str, *, seed: int = 0, **changes: Any) -> Path:
    """A model folder of a family; ``siglip2-fixed`` is SigLIP 2 of fixed size, which says
    ``siglip`` and reads Gemma's tokens. ``changes`` go to the config."""
    import torch
    from transformers import AutoModel

    torch.manual_seed(seed)
    config = _config(family, changes)
    with torch.no_grad():
        model = AutoModel.from_config(config)
        for parameter in model.parameters():  # biases and tables that start as zeros too
            parameter.copy_(torch.randn_like(parameter) * 0.15)
    model.save_pretrained(folder)
    write_preprocessing(folder, family)
    write_tokeniser(folder, family)
    return folder


def _config(family: str, changes: dict[str, Any]) -> Any:
    from transformers import CLIPConfig, Siglip2Config, SiglipConfig

    common = {
        "hidden_size": WIDTH,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    vision: dict[str, Any] = {**common, "patch_size": PATCH}
    text: dict[str, Any] = {**common, "vocab_size": 200, "bos_token_id": 0, "eos_token_id": 1}
    kinds = {"clip": CLIPConfig, "siglip2": Siglip2Config}
    if family == "siglip2":
        vision["num_patches"] = (SIDE // PATCH) ** 2
    else:
        vision["image_size"] = SIDE
    if family in ("siglip2", "siglip2-fixed"):
        text["vocab_size"] = 256_000 if family == "siglip2-fixed" else 400
    if family == "clip":
        text |= {"pad_token_id": 1}
        changes = {"projection_dim": 16, **changes}
    vision |= changes.pop("vision", {})
    text |= changes.pop("text", {})
    config = kinds.get(family, SiglipConfig)(vision_config=vision, text_config=text, **changes)
    return config


def write_preprocessing(folder: Path, family: str) -> None:
    if family == "clip":
        data: dict[str, Any] = {
            "size": {"shortest_edge": SIDE},
            "crop_size": {"height": SIDE, "width": SIDE},
            "do_center_crop": True,
            "resample": 3,
            "image_mean": [0.48, 0.46, 0.41],
            "image_std": [0.27, 0.26, 0.28],
        }
    else:
        data = {
            "size": {"height": SIDE, "width": SIDE},
            "resample": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        }
        if family == "siglip2":
            data = {**data, "patch_size": PATCH, "max_num_patches": (SIDE // PATCH) ** 2}
            del data["size"]
    (folder / "preprocessor_config.json").write_text(json.dumps(data), "utf-8")


def write_tokeniser(folder: Path, family: str) -> None:
    if family == "siglip":
        _write_sentencepiece(folder)
    elif family == "clip":
        _write_clip(folder)
    else:
        _write_gemma(folder)


def _write_sentencepiece(folder: Path) -> None:
    import sentencepiece

    corpus = folder / "corpus.txt"
    lines = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))]
    corpus.write_text("\n".join(lines), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "spiece"),
        vocab_size=36,
        pad_id=-1,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        eos_piece="</s>",
        minloglevel=2,
    )
    corpus.unlink()
    (folder / "spiece.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "SiglipTokenizer", "model_max_length": 64}), "utf-8"
    )


def _write_clip(folder: Path) -> None:
    letters = sorted(set("".join(WORDS)) | set("zq0"))
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merge = (parts[0], parts[1])
            if merge not in merges:
                merges.append(merge)
                tokens.append("".join(merge))
            parts = ["".join(merge), *parts[2:]]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    text = "#version: 0.2\n" + "\n".join(" ".join(merge) for merge in merges) + "\n"
    (folder / "merges.txt").write_text(text, "utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}), "utf-8"
    )


def _write_gemma(folder: Path) -> None:
    from transformers import Siglip2Tokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = sorted(set("".join(WORDS)) | set("zq0") | {"▁"})
    tokens = [*special, *(f"<0x{number:02X}>" for number in range(256)), *letters]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = list(word)
        while len(parts) > 1:
            merge = (parts[0], parts[1])
            if merge not in merges:
                merges.append(merge)
                tokens.append("".join(merge))
            parts = ["".join(merge), *parts[2:]]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokeniser = Siglip2Tokenizer(vocab=vocabulary, merges=merges)
    tokeniser.save_pretrained(folder)
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text("utf-8"))
    parts = [
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "<eos>", "type_id": 0}},
    ]
    data["post_processor"] = {  # as in the published files: each text ends with <eos>
        "type": "TemplateProcessing",
        "single": parts,
        "pair": parts,
        "special_tokens": {"<eos>": {"id": "<eos>", "ids": [1], "tokens": ["<eos>"]}},
    }
    path.write_text(json.dumps(data), "utf-8")
    settings = json.dumps({"tokenizer_class": "GemmaTokenizer", "padding_side": "left"})
    (folder / "tokenizer_config.json").write_text(settings, "utf-8")
