"""Ctrl-C and SIGTERM, from the first import to the last flush.

An interrupt does not always arrive as ``KeyboardInterrupt``: libav turns it into its own
``InterruptedError``, and extension modules that are being imported turn it into
``ImportError`` or ``SystemError``. So the signal is remembered, and whatever exception comes
out afterwards is taken for what it is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class Interrupts:
    """Remembers the signal that asked this process to stop; the second one ends it at once
    (the feature store survives that at any moment)."""

    def __init__(self) -> None:
        self.signum = 0
        self._instead: Callable[[], None] | None = None
        self._noted = 0

    def install(self) -> None:
        """Take over SIGINT and SIGTERM; ignored signals (``nohup``) stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._arrived)

    def _arrived(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            os._exit(128 + signum)
        if self._instead is not None:
            self._noted = signum
            instead, self._instead = self._instead, None
            instead()
            return
        if self._noted:
            os._exit(128 + signum)
        self.signum = signum
        raise KeyboardInterrupt

    def call_instead(self, end: Callable[[], None]) -> None:
        """From now on the first signal calls ``end`` and interrupts nothing: what is being said
        is finished. The second one ends the process at once."""
        self._instead = end

    def end_calling(self) -> int:
        """Signals interrupt again.

        Returns:
            the exit code of the one that came meanwhile, 0 where none did.
        """
        code = 128 + self._noted if self._noted else 0
        self._instead, self._noted = None, 0
        return code

    def caused(self, error: BaseException) -> bool:
        """Whether ``error`` is an interrupt, whatever its type."""
        return self.signum != 0 or isinstance(error, (KeyboardInterrupt, InterruptedError))

    def check(self) -> None:
        """Stop here if a signal came that somebody swallowed, as extension modules do that
        are being imported. Called before work starts and before a result is printed.

        Raises:
            KeyboardInterrupt: it did, and nothing is being raised for it.
        """
        if self.signum and sys.exc_info()[0] is None:
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.signum or signal.SIGINT)


INTERRUPTS = Interrupts()
