"""Handle Ctrl-C and SIGTERM, from the first import to the last flush.

An interrupt does not always arrive as ``KeyboardInterrupt``: libav turns it into its own
``InterruptedError``, and extension modules turn it into ``ImportError`` or ``SystemError`` while
they are imported. The signal is therefore recorded, and any exception after it counts as an
interrupt.
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
    """Records the signal that asks this process to stop. A second signal ends the process at once;
    the feature store survives that at any moment."""

    def __init__(self) -> None:
        self.signum = 0
        self._callback: Callable[[], None] | None = None
        self._noted = 0

    def install(self) -> None:
        """Handle SIGINT and SIGTERM; ignored signals (``nohup``) stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._arrived)

    def _arrived(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            os._exit(128 + signum)
        if self._callback is not None:
            self._noted = signum
            callback, self._callback = self._callback, None
            callback()
            return
        if self._noted:
            os._exit(128 + signum)
        self.signum = signum
        raise KeyboardInterrupt

    def call_instead(self, end: Callable[[], None]) -> None:
        """Call ``end`` on the first signal from now on instead of interrupting, so that the
        current output is finished. A second signal ends the process at once."""
        self._callback = end

    def end_calling(self) -> int:
        """Let signals interrupt again from now on.

        Returns:
            the exit code for a signal that arrived meanwhile, or 0.
        """
        code = 128 + self._noted if self._noted else 0
        self._callback, self._noted = None, 0
        return code

    def caused(self, error: BaseException) -> bool:
        """Return whether ``error`` is due to an interrupt, whatever its type."""
        return self.signum != 0 or isinstance(error, (KeyboardInterrupt, InterruptedError))

    def check(self) -> None:
        """Raise the interrupt if a signal arrived but its exception was swallowed, which
        extension modules do while they are imported. Called before work starts and before a
        result is printed.

        Raises:
            KeyboardInterrupt: a signal arrived, and no exception is being handled.
        """
        if self.signum and sys.exc_info()[0] is None:
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.signum or signal.SIGINT)


INTERRUPTS = Interrupts()
