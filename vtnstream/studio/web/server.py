"""The HTTP server. This is the only file that imports uvicorn."""

from __future__ import annotations

import secrets
import socket

import uvicorn

from vtnstream.config.studio import StudioConfig
from vtnstream.errors import UsageError
from vtnstream.studio.service import Studio
from vtnstream.studio.web.app import create_app
from vtnstream.studio.web.guard import Guard, Rules

_GRACE_SECONDS = 2
_BACKLOG = 256


class StudioServer:
    """A server that accepts connections from now on and answers them once it runs.

    Args:
        studio: what to serve.
        config: address and limits.
        token: secret that requests need; an address that other machines can reach gets a random
            one if this is None.

    Attributes:
        address: of the first page, with the token if there is one.

    Raises:
        UsageError: the address cannot be listened on.
    """

    def __init__(self, studio: Studio, config: StudioConfig, *, token: str | None = None) -> None:
        self._listener = _listen(config)
        port = self._listener.getsockname()[1]
        if token is None and not config.is_local:
            token = secrets.token_urlsafe(32)
        self.address = _address(config, port, token)
        rules = Rules(config.host, port, token, config.max_body_bytes)
        self._server = uvicorn.Server(
            uvicorn.Config(
                Guard(create_app(studio, config), rules),
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                # The application starts and stops with the command; a second signal would print a
                # traceback of this protocol.
                lifespan="off",
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

    def run(self) -> None:
        """Serve until :meth:`stop` or a signal. A signal is raised again at the end."""
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._listener.close()

    def close(self) -> None:
        """Stop listening, for a server that never ran."""
        self._listener.close()

    def stop(self) -> None:
        """End :meth:`run`, which may happen in another thread."""
        self._server.should_exit = True


def _listen(config: StudioConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"{config.host}:{config.port}: cannot be listened on ({error.strerror or error}): "
            "choose another --port, or 0 for any free one"
        ) from error
    return listener


def _address(config: StudioConfig, port: int, token: str | None) -> str:
    host = socket.gethostname() if config.host in ("0.0.0.0", "::") else config.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={token}" if token else "")
