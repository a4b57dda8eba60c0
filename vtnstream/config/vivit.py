"""Configuration of a ViViT: its tubelets, and which of the paper's four models it is (Arnab et al.
2021, sections 3.2 to 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vtnstream.errors import ConfigError

FORMS = ("joint", "factorised-encoder", "factorised-self-attention", "factorised-dot-product")
_TUBELET_INITS = ("central-frame", "average")


@dataclass(frozen=True, slots=True)
class ViViTConfig:
    """A ViViT over the blocks of an image ViT.

    Attributes:
        form: ``joint`` (the paper's model 1): all tubelets of a clip attend to each other;
            ``factorised-encoder`` (2): a spatial transformer per tubelet index, then a temporal
            transformer over their [CLS] tokens; ``factorised-self-attention`` (3): each block
            attends over space, then over time; ``factorised-dot-product`` (4): half of the
            heads attend over time, half over space.
        tubelet: frames, height and width (t, h, w) of a token; h and w must equal the patch size of
            the image ViT. t = 1 is the paper's uniform frame sampling.
        num_frames: frames per clip, a multiple of t.
        stride: the t frames of a tubelet are every ``stride``-th frame at ``frame_rate``.
        frame_rate: frames per second to which ``stride`` refers: that of the training videos.
        temporal_layers: layers of the factorised encoder's temporal transformer.
        tubelet_init: initialisation of the 3-D kernel from the image ViT's 2-D kernel:
            ``central-frame``, or ``average`` (filter inflation).
    """

    form: str = "factorised-encoder"
    tubelet: tuple[int, ...] = (2, 16, 16)
    num_frames: int = 32
    stride: int = 2
    frame_rate: Fraction = Fraction(25)
    temporal_layers: int = 4
    tubelet_init: str = "central-frame"

    def __post_init__(self) -> None:
        for name, allowed in (("form", FORMS), ("tubelet_init", _TUBELET_INITS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(
                    f"vivit.{name} must be one of {', '.join(allowed)}, not {value!r}"
                )
        if len(self.tubelet) != 3 or min(self.tubelet) < 1:
            raise ConfigError("vivit.tubelet is frames, height and width, such as [2, 16, 16]")
        for name in ("num_frames", "stride", "frame_rate", "temporal_layers"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"vivit.{name} must be positive, not {getattr(self, name)}")
        if self.num_frames % self.tubelet[0]:
            raise ConfigError(
                f"vivit.num_frames {self.num_frames} must be a multiple of the "
                f"{self.tubelet[0]} frames of a tubelet"
            )

    @property
    def reads_sequences(self) -> bool:
        """Whether the model computes features per tubelet index, so that it can read sequences of
        any length; the other forms read only clips of ``num_frames``."""
        return self.form == "factorised-encoder"

    @property
    def clip_tokens(self) -> int:
        """Tubelet indices per clip."""
        return self.num_frames // self.tubelet[0]

    @property
    def frame_step(self) -> Fraction:
        """Seconds between the frames of a tubelet."""
        return self.stride / self.frame_rate

    def check_rate(self, fps: Fraction) -> None:
        """Check that tubelets sampled at ``fps`` do not overlap.

        Raises:
            ConfigError: they do.
        """
        footprint = (self.tubelet[0] - 1) * self.frame_step
        if footprint * fps >= 1:
            raise ConfigError(
                f"{float(fps):g} samples/s are too many: a sample has {self.tubelet[0]} frames "
                f"{float(self.frame_step):g} s apart: choose less than {float(1 / footprint):g}"
            )
