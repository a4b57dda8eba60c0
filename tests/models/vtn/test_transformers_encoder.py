"""Classes of ``transformers`` as temporal encoders, and full attention compared with BERT."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.small import as_batch, sequence, small_vtn, stir
from vtnstream.config import ModelConfig, TemporalConfig
from vtnstream.config.loading import from_dict, to_dict
from vtnstream.errors import ConfigError, ModelError, UsageError, VtnstreamError
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.long_sequence.windows import encode_windows
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.temporal import TemporalEncoder
from vtnstream.models.vtn.transformers_encoder import TransformersEncoder
from vtnstream.scoring.analyze import attention_map

SIZE = 32
CLASSES = ("LongformerModel", "BigBirdModel", "BertModel", "RobertaModel", "RoFormerModel")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def temporal(kind: str, **changes: object) -> TemporalConfig:
    options: dict[str, object] = {
        "num_layers": 2,
        "num_heads": 4,
        "intermediate_size": 64,
        "attention_window": (8,),
        "positions": "learned",
        "max_positions": 120,
        "kind": kind,
        **changes,
    }
    if kind == "transformers:BigBirdModel":
        options.setdefault("arguments", {"block_size": 4, "num_random_blocks": 1})
    return TemporalConfig(**options)  # type: ignore[arg-type]


def vtn(name: str, **changes: object) -> VTN:
    shape = temporal(f"transformers:{name}", **changes)
    fields = {n: getattr(shape, n) for n in TemporalConfig.__dataclass_fields__}
    return small_vtn(**fields)


@pytest.mark.parametrize("name", CLASSES)
def test_any_class_reads_a_sequence(name: str, tmp_path: Path) -> None:
    """Whole sequences, windows and padded batches agree, also after saving and loading."""
    model = vtn(name)
    features = sequence(90)
    values, indices = as_batch(features)
    with torch.no_grad():
        plain = model.forward_features(values, indices=indices)
    assert plain.logits is not None and plain.dense_logits is not None
    found = encode_sequence(model, features, block_size=16)
    np.testing.assert_allclose(found.logits, plain.logits[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.dense_logits, plain.dense_logits[0], rtol=1e-4, atol=1e-5)

    with torch.no_grad():
        tokens = model.embed_features(values, indices=indices)
        for start, logits in encode_windows(model, features, starts=[0, 20, 60], window=30):
            part = slice(start, start + 30)
            alone = model.encode_tokens(tokens[:, part], indices=indices[:, part], cls_only=True)
            expected = model.class_logits(alone[:, 0])[0]
            np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)

    loaded = load_model(save_model(model, tmp_path / "model"))
    again = encode_sequence(loaded, features)
    np.testing.assert_array_equal(again.logits, found.logits)
    assert loaded.config == model.config
    with pytest.raises(UsageError, match="does not return attention weights"):
        attention_map(model, features)


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "BigBirdModel"])
def test_padding_changes_nothing(name: str) -> None:
    """BigBird's sparse attention is excluded, because it depends on the padded length itself."""
    model = vtn(name)
    values, _ = as_batch(sequence(40))
    mask = torch.ones(2, 40, dtype=torch.bool)
    mask[1, 25:] = False
    batch = values.repeat(2, 1, 1)
    batch[1, 25:] = 7.0
    with torch.no_grad():
        both = model.forward_features(batch, padding_mask=mask)
        alone = model.forward_features(values[:, :25])
    assert both.logits is not None and alone.logits is not None
    torch.testing.assert_close(both.logits[1:], alone.logits, rtol=1e-4, atol=1e-4)


def test_bigbird_does_not_depend_on_earlier_calls() -> None:
    """The library leaves sparse attention permanently at the first short sequence."""
    model, long, short = vtn("BigBirdModel"), sequence(100), sequence(10)
    first = encode_sequence(model, long).logits
    encode_sequence(model, short)
    np.testing.assert_array_equal(encode_sequence(model, long).logits, first)
    assert model.temporal_encoder.model.attention_type == "block_sparse"


@pytest.mark.parametrize("length", [5, 40, 77])
def test_longformer_of_the_library_equals_ours(length: int) -> None:
    torch.manual_seed(length)
    config = temporal("transformers:LongformerModel", num_global_tokens=3)
    theirs = TransformersEncoder(config, SIZE).eval()
    stir(theirs, 0.3)
    ours = TemporalEncoder(temporal("longformer", num_global_tokens=3), SIZE).eval()
    state = theirs.model.state_dict()
    ours.load_state_dict({name: state[name] for name in ours.state_dict()})
    tokens, cls = torch.randn(2, length, SIZE), torch.randn(1, 3, SIZE).expand(2, -1, -1)
    valid = torch.ones(2, length, dtype=torch.bool)
    valid[1, length // 2 + 1 :] = False
    indices = (torch.arange(length) * 3 + 5).expand(2, -1)
    with torch.no_grad():
        a = ours(tokens, cls, padding_mask=valid, indices=indices)
        b = theirs(tokens, cls, padding_mask=valid, indices=indices)
    real = torch.cat((torch.ones(2, 1, dtype=torch.bool), valid), 1)
    torch.testing.assert_close(a[real], b[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [1, 40, 77])
def test_full_attention_equals_bert(length: int) -> None:
    torch.manual_seed(length)
    theirs = TransformersEncoder(temporal("transformers:BertModel"), SIZE).eval()
    stir(theirs, 0.3)
    ours = TemporalEncoder(temporal("full"), SIZE).eval()
    state = theirs.model.state_dict()
    ours.load_state_dict({name: state[name] for name in ours.state_dict()})
    tokens, cls = torch.randn(2, length, SIZE), torch.randn(1, 1, SIZE).expand(2, -1, -1)
    valid = torch.ones(2, length, dtype=torch.bool)
    valid[1, length // 2 + 1 :] = False
    with torch.no_grad():
        for mask in (None, valid):
            a, b = (each(tokens, cls, padding_mask=mask) for each in (ours, theirs))
            real = valid if mask is not None else torch.ones_like(valid)
            real = torch.cat((torch.ones(2, 1, dtype=torch.bool), real), 1)
            torch.testing.assert_close(a[real], b[real], rtol=1e-5, atol=1e-5)


def test_learns() -> None:
    model = vtn("BertModel").train()
    output = model(torch.randn(1, 3, 3, 160, 160))
    output.logits.sum().backward()
    for name, parameter in model.temporal_encoder.named_parameters():
        if "word_embeddings" not in name and "position_embeddings" not in name:
            assert parameter.grad is not None, name


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("transformers:BertMode", {}, "no model class 'BertMode'; did you mean"),
        ("transformers:AutoModel", {}, "no model class 'AutoModel'"),
        ("transformers:os", {}, "no model class 'os'"),
        ("transformers:ViTModel", {}, "takes no inputs_embeds"),
        ("transformers:FNetModel", {}, "takes no attention_mask"),
        ("transformers:BertModel", {"num_heads": 5}, "cannot be built from this config"),
        ("transformers:BertModel", {"arguments": {"hiden_act": "relu"}}, "has no hiden_act"),
        ("transformers:BertModel", {"arguments": {"_name_or_path": "x"}}, "is set by vtnstream"),
        ("transformers:BertModel", {"arguments": {"vocab_size": 9}}, "is set by vtnstream"),
        (
            "transformers:BertModel",
            {"arguments": {"hidden_act": "org/code"}},
            "must be a number, a name",
        ),
        ("transformers:BertModel", {"dilation": ((2,),)}, "temporal.dilation has no effect"),
        ("transformers:BertModel", {"attention": "uniform"}, "temporal.attention has no effect"),
        ("transformers:BertModel", {"positions": "rotary"}, "write positions = learned"),
        ("longformr", {}, "did you mean 'longformer'"),
        ("full", {"dilation": ((2,),)}, "needs the kind longformer"),
        ("longformer", {"arguments": {"a": 1}}, "needs a kind transformers:CLASS"),
        ("longformer", {"dilation": ((1,), (2,), (3,))}, "one row, or one for each layer"),
        ("longformer", {"dilation": ((1, 2),)}, "one number, or one for each head"),
        ("longformer", {"dilation": ((0,),)}, "1 or more"),
        ("longformer", {"num_global_tokens": 0}, "num_global_tokens must be positive"),
        ("longformer", {"attention": "even"}, "must be one of learned, uniform"),
        ("longformer", {"hidden_size": 30}, "30 cannot be split into 4 heads"),
    ],
)
def test_errors_are_one_line(kind: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(VtnstreamError, match=message) as caught:
        TransformersEncoder(temporal(kind, **changes), SIZE)
    assert "\n" not in str(caught.value)


def test_decoders_are_refused() -> None:
    shape = temporal("transformers:GPT2Model", arguments={"n_inner": 64})
    encoder = TransformersEncoder(shape, SIZE)
    with pytest.raises(ModelError, match="is a decoder"):
        encoder(torch.randn(1, 5, SIZE), torch.randn(1, 1, SIZE))


def test_a_sequence_longer_than_the_position_table() -> None:
    encoder = TransformersEncoder(temporal("transformers:RoFormerModel"), SIZE).eval()
    with pytest.raises(ModelError, match="room for 120 tokens, not for 151"):
        encoder(torch.randn(1, 150, SIZE), torch.randn(1, 1, SIZE))


def test_kind_given_as_a_string() -> None:
    config = from_dict(ModelConfig, {"temporal": "transformers:BertModel"})
    assert config.temporal.transformers_class == "BertModel"
    assert from_dict(ModelConfig, to_dict(config)) == config
    with pytest.raises(ConfigError, match=r"temporal\.kind"):
        from_dict(ModelConfig, {"temporal": "lstm"})


def test_older_configs_load_unchanged() -> None:
    data = to_dict(TemporalConfig())
    for name in ("kind", "dilation", "num_global_tokens", "attention", "arguments"):
        del data[name]
    assert from_dict(TemporalConfig, data) == TemporalConfig()


IMPORTS = """
import sys
from vtnstream.cli.framework.process_settings import postpone_compiler
postpone_compiler()  # as commands do
from tests.models.small import sequence, small_vtn
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.models.long_sequence.streaming import encode_sequence
for number, kind in enumerate(({"kind": "full"}, {"positions": "learned"})):
    model = load_model(save_model(small_vtn(**kind), f"{sys.argv[1]}/{number}"))
    encode_sequence(model, sequence(20))
assert not {"transformers", "torch._dynamo", "torch._dynamo.utils", "sympy"} & set(sys.modules)

# What was put off is done when it is asked for.
import torch, timm.models.naflexvit as naflexvit
assert torch.compiler.disable.__module__ == "torch.compiler"
asked = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
from torch._dynamo.utils import is_compile_supported
assert asked == is_compile_supported("cpu")
marked = naflexvit.NaFlexRopeIterator.__next__
assert marked.__wrapped__ is not marked and "torch._dynamo" in sys.modules
"""


def test_libraries_that_inference_does_without_are_not_imported(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", IMPORTS, tmp_path], check=True)
