"""The health check of a container: ``python -m vtnstream.studio.web.health [PORT]``.

It exits with 0 if the studio of this container answers, or if the container runs another command of
vtnstream, which has nothing to ask; and with 1 if the studio does not answer.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path

from vtnstream.config.studio import StudioConfig

_SECONDS = 4


def is_healthy(port: int, token: str | None = None) -> bool:
    """Whether a studio on this machine answers.

    Args:
        port: its port.
        token: its token, if it needs one.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        connection.request("GET", "/api/health", headers=headers)
        answer = connection.getresponse()
        # Without its token the studio refuses, but it does answer.
        return answer.status == 401 or json.load(answer) == {"status": "ok"}
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def serves(command: list[str]) -> bool:
    """Whether a command line is that of a studio."""
    return "studio" in command[1:4]


def _first_command() -> list[str]:
    """The command line of the first process of the container."""
    try:
        words = Path("/proc/1/cmdline").read_bytes().split(b"\0")
        return [word.decode("utf-8", "replace") for word in words]
    except OSError:
        return []


def main() -> int:
    """Check, with the port of the command line and the token of the environment."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else StudioConfig().port
    if len(sys.argv) < 2 and not serves(_first_command()):
        return 0
    return 0 if is_healthy(port, os.environ.get("VTNSTREAM_STUDIO_TOKEN")) else 1


if __name__ == "__main__":
    sys.exit(main())
