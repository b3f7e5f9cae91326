"""Run by test_vsview.py in a process of its own: a script is opened in VSView, looked at, and reloaded.

Arguments: the script, and where to save a picture of the window. Writes a line of JSON. Ends with os._exit, because
Qt's threads would wait for a failed assertion for ever.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QEvent
from vsview.app.main import Application, MainWindow
from vsview.app.plugins.manager import PluginManager


def resident() -> int:
    """Bytes of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait(app: Any, done: Any, what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited too long for {what}"
        app.processEvents()
        time.sleep(0.005)


def session(script: Path, picture: Path) -> dict[str, Any]:
    app = Application([], no_settings=True)
    PluginManager.load()
    window = MainWindow()
    window.show()
    button, loading = window.load_new_script(script)
    workspace = button.workspace
    wait(app, loading.done, "the script")
    assert loading.result() == 0
    wait(app, lambda: workspace.playback.can_reload, "the first frame")

    def seek(n: int) -> None:
        rendered: list[Any] = []
        assert workspace.playback.request_frame(n, cb_render=rendered.append), f"frame {n} was refused"
        wait(app, lambda: rendered and workspace.playback.can_reload, f"frame {n}")
        assert rendered[0].exception() is None
        assert rendered[0].result() == 0

    for n in (5, 200, 17, 100):
        seek(n)
    window.grab().save(str(picture))

    memory, threads = [], []
    for _ in range(5):
        reloading = workspace.reload_content()
        wait(app, reloading.done, "the reload")
        assert reloading.result() == 0
        wait(app, lambda: workspace.playback.can_reload, "the frame after the reload")
        seek(42)
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        memory.append(resident())
        threads.append(sum(thread.name.startswith("videoinr") for thread in threading.enumerate()))
    return {"memory": memory, "threads": threads}


if __name__ == "__main__":
    faulthandler.dump_traceback_later(120, exit=True)
    try:
        sys.stdout.write(json.dumps(session(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
