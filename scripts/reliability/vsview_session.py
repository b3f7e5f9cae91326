"""A script is opened in VSView, looked at, and reloaded with frames on their way. Run in a process of its own.

Arguments: the script, how many reloads, and where to save a picture of the window. Writes a line of JSON: what the
process holds (`resources.Sample`) after each reload. Ends with os._exit, because Qt's threads would wait for a failed
assertion for ever.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QEvent
from vsview.app.main import Application, MainWindow
from vsview.app.plugins.manager import PluginManager

from scripts.reliability import resources

FRAMES_IN_FLIGHT = 8


def wait(app: Any, done: Any, what: str, seconds: float = 100) -> None:
    """Let Qt work until `done`."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited too long for {what}"
        app.processEvents()
        time.sleep(0.005)


def session(script: Path, reloads: int, picture: Path) -> list[resources.Sample]:
    """Look around, then reload; return what the process holds after each reload."""
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

    samples = []
    for _ in range(reloads):
        # As its player does, but that one keeps a reload waiting for ten seconds, with any script.
        shown = workspace.outputs_manager.current_voutput
        assert shown is not None
        clip = shown.prepared_clip
        waiting = [clip.get_frame_async(n) for n in range(50, 50 + FRAMES_IN_FLIGHT)]
        del clip
        reloading = workspace.reload_content()
        wait(app, reloading.done, "the reload")
        assert reloading.result() == 0
        wait(app, lambda: workspace.playback.can_reload, "the frame after the reload")
        failed = [str(future.exception()) for future in waiting if future.exception()]
        assert all("abandoned" in message for message in failed), failed
        del waiting
        seek(42)
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        samples.append(resources.sample())
        faulthandler.dump_traceback_later(120, exit=True)
    return samples


if __name__ == "__main__":
    faulthandler.dump_traceback_later(120, exit=True)
    try:
        sys.stdout.write(json.dumps(session(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))) + "\n")
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
