"""What a ViViT adds to the config of a model: how frames become tubelets, and which of the
paper's four models reads them (Arnab et al. 2021, sections 3.2 to 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vtnstream.errors import ConfigError

FORMS = ("joint", "factorised-encoder", "factorised-self-attention", "factorised-dot-product")
TUBELET_INITS = ("central-frame", "average")


@dataclass(frozen=True, slots=True)
class ViViTConfig:
    """A ViViT over the blocks of an image ViT.

    Attributes:
        form: ``joint`` (the paper's model 1): all tubelets of a clip attend to each other;
            ``factorised-encoder`` (2): a spatial transformer for each tubelet index, and a
            temporal one over their [CLS]; ``factorised-self-attention`` (3): each block
            attends over space, then over time; ``factorised-dot-product`` (4): half of the
            heads attend over time, half over space.
        tubelet: frames, height and width (t, h, w) of a token, h and w those of the image
            ViT's patches. t = 1 is the paper's uniform frame sampling: patches of single
            frames.
        num_frames: frames of a clip, whole tubelets.
        stride: the t frames of a sample are every ``stride``-th of ``frame_rate``.
        frame_rate: frames a second in which ``stride`` counts: that of the training videos.
        temporal_layers: of the factorised encoder's temporal transformer.
        tubelet_init: how the 3-D kernel starts from the image ViT's: ``central-frame``, or
            ``average`` (filter inflation).
    """

    form: str = "factorised-encoder"
    tubelet: tuple[int, ...] = (2, 16, 16)
    num_frames: int = 32
    stride: int = 2
    frame_rate: Fraction = Fraction(25)
    temporal_layers: int = 4
    tubelet_init: str = "central-frame"

    def __post_init__(self) -> None:
        for name, allowed in (("form", FORMS), ("tubelet_init", TUBELET_INITS)):
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
                f"vivit.num_frames {self.num_frames} is no whole number of tubelets of "
                f"{self.tubelet[0]} frames"
            )

    @property
    def reads_sequences(self) -> bool:
        """Whether tubelets become features one by one, so that a sequence of any length can
        be read; the other forms see clips of ``num_frames`` and nothing else."""
        return self.form == "factorised-encoder"

    @property
    def clip_tokens(self) -> int:
        """Tubelet indices of a clip."""
        return self.num_frames // self.tubelet[0]

    @property
    def frame_step(self) -> Fraction:
        """Seconds between the frames of a sample."""
        return self.stride / self.frame_rate

    def check_rate(self, fps: Fraction) -> None:
        """Raises:
        ConfigError: a sample would begin before the one before it has ended.
        """
        footprint = (self.tubelet[0] - 1) * self.frame_step
        if footprint * fps >= 1:
            raise ConfigError(
                f"{float(fps):g} samples/s are too many: one takes {self.tubelet[0]} frames "
                f"{float(self.frame_step):g} s apart, so choose less than {float(1 / footprint):g}"
            )
