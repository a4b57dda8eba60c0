"""``python -m vtnstream``."""

from vtnstream.cli.main import run

if __name__ == "__main__":
    run()
