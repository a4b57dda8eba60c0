"""One model, loaded in numpy where that can answer a request, and else in torch."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from vtnstream.config import RuntimeConfig
from vtnstream.config.runtime import NUMPY, default_cache_dir
from vtnstream.errors import UsageError
from vtnstream.inference.loaded_model import LoadedModel
from vtnstream.inference.numpy_model import NumpyModel
from vtnstream.inference.request import Request

if TYPE_CHECKING:
    from vtnstream.inference.torch_model import TorchModel
    from vtnstream.models.architectures import VideoModel


class ModelLoader:
    """Loads a model in numpy or torch when it is needed. Several threads may use it at once.

    Args:
        source: a model folder, a name on the Hub, or a model loaded in torch.
        runtime: device, dtype, backend, cache.

    Raises:
        ModelError: the model cannot be used.
        UsageError: the device is not available, or numpy was requested and cannot run the model.
    """

    def __init__(self, source: str | Path | VideoModel, runtime: RuntimeConfig) -> None:
        cache = runtime.cache_dir or default_cache_dir()
        self._scratch = cache / "states" if runtime.use_cache else None
        self._source, self._runtime = source, runtime
        self._loading = threading.Lock()
        self._shares_threads = False
        self._torch: TorchModel | None = None
        self._numpy = None
        if isinstance(source, (str, Path)):
            self._numpy = NumpyModel.of(source, runtime, self._scratch)
        elif runtime.backend == NUMPY:
            raise UsageError("--backend numpy: this model was loaded in torch: name its folder")
        self.usual: LoadedModel = self._numpy or self.in_torch()

    def in_torch(self) -> TorchModel:
        """Return the model in torch."""
        from vtnstream.inference.torch_model import TorchModel

        with self._loading:
            if self._torch is None:
                self._torch = TorchModel(self._source, self._runtime, self._scratch)
                if self._shares_threads:
                    self._torch.share_threads(self._runtime)
            return self._torch

    def for_request(self, request: Request) -> LoadedModel:
        """Return the model for a request: in numpy if that can answer it.

        Raises:
            UsageError: numpy was requested and cannot.
        """
        if self._numpy is not None and request.is_one_pass:
            return self._numpy
        if self._runtime.backend == NUMPY:
            raise UsageError(
                "--backend numpy makes one pass over the features of a video: leave it out for "
                "views, end-to-end and the reference"
            )
        return self.in_torch()

    def for_streams(self) -> TorchModel:
        """Return the model for streams.

        Raises:
            UsageError: numpy was requested.
        """
        if self._runtime.backend == NUMPY:
            raise UsageError("--backend numpy reads whole videos: leave it out for --follow")
        return self.in_torch()

    def share_threads(self) -> None:
        """Start threads that run the backbone for all videos; they end with the process."""
        self._shares_threads = True
        self.usual.share_threads(self._runtime)
