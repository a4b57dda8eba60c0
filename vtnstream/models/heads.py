"""Build the heads: the class of the whole video, and the class of each token."""

from __future__ import annotations

from torch import nn

from vtnstream.config import HeadConfig, TemporalConfig
from vtnstream.models.layers.mlp import init_linear_weights
from vtnstream.models.vtn.tcn import TcnHead


def build_mlp_head(config: HeadConfig, hidden_size: int) -> nn.Sequential | None:
    """Build the paper's head on [CLS] (section 3.3), or return None without labels.

    ``LayerNorm(D) -> Linear(D, mlp_dim) -> GELU -> Dropout -> Linear(mlp_dim, classes)``; the
    linear layers are parts 1 and 4, as in the published checkpoint. With ``linear`` it is one
    linear layer.
    """
    if not config.labels:
        return None
    if config.linear:
        return nn.Sequential(nn.Linear(hidden_size, len(config.labels)))
    mlp_dim = config.mlp_dim or hidden_size
    head = nn.Sequential(
        nn.LayerNorm(hidden_size),
        nn.Linear(hidden_size, mlp_dim),
        nn.GELU(),
        nn.Dropout(config.dropout),
        nn.Linear(mlp_dim, len(config.labels)),
    )
    init_linear_weights(head)
    return head


def build_dense_head(
    config: HeadConfig, temporal: TemporalConfig, hidden_size: int
) -> nn.Linear | TcnHead | None:
    """Build the head on each token, or return None without dense labels.

    It is one linear layer, without a LayerNorm because the encoder ends with one. The head of a
    ``tcn`` refines its result in stages.

    Args:
        config: labels of the head.
        temporal: the encoder before it.
        hidden_size: D.
    """
    if not config.dense_labels:
        return None
    if temporal.kind == "tcn":
        return TcnHead(temporal, hidden_size, len(config.dense_labels))
    head = nn.Linear(hidden_size, len(config.dense_labels))
    init_linear_weights(head)
    return head
