"""Serve the page on this machine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from tractable.core.checks import check_range

__all__ = ["serve"]


def serve(
    words: dict[str, str] | None = None,
    *,
    port: int = 2718,
    browser: bool = True,
    out: str | Path = "runs",
    tell: Callable[[str], object] | None = None,
) -> int:
    """Serve the explorer until it is interrupted, and return the exit code of the server.

    Parameters
    ----------
    words : dict, optional
        Of the page's link: ``study``, ``preset``, and fields of the study.
    port : int
        Of this machine; nobody else can open it.
    browser : bool
        Open the page in the browser.
    out : path
        Where the runs go that the page's button starts.
    tell : callable, optional
        Receives the page's link.

    Raises
    ------
    ImportError
        marimo is not installed: the extra ``explore`` brings it.
    """
    check_range("port", port, 1, 65_535)
    if importlib.util.find_spec("marimo") is None:
        raise ImportError("the explorer needs marimo: pip install 'tractable[explore]'")
    link = f"http://127.0.0.1:{port}/?{urlencode(words or {})}"
    page = Path(__file__).with_name("page.py")
    command = [sys.executable, "-m", "marimo", "-q", "run", str(page), "--headless", "--no-token"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "MARIMO_SKIP_UPDATE_CHECK": "1",
        "TRACTABLE_EXPLORE_OUT": str(Path(out).resolve()),
    }
    server = subprocess.Popen(command, env=environment)
    try:
        if tell is not None:
            tell(link)
        if browser:
            _open_when_ready(link, port, server)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def _open_when_ready(link: str, port: int, server: subprocess.Popen[bytes]) -> None:
    import socket
    import time
    import webbrowser

    for _ in range(100):
        if server.poll() is not None:
            return
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                webbrowser.open(link)
                return
        time.sleep(0.2)
