"""A script is opened in VSPreview, looked at, and reloaded with frames on their way. Run in a process of its own.

Takes and writes what `vsview_session.py` does.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import vapoursynth as vs
from PyQt6.QtWidgets import QApplication
from vspreview import init
from vspreview.core.vsenv import get_current_environment, set_vsengine_loop
from vspreview.main import MainWindow

from scripts.reliability import resources

FRAMES_IN_FLIGHT = 8


def session(window: Any, reloads: int, picture: Path) -> list[resources.Sample]:
    """Look around, then reload; return what the process holds after each reload."""
    for n in (5, 200, 17, 100):
        window.switch_frame(n)
        QApplication.processEvents()
    window.grab().save(str(picture))
    samples = []
    for _ in range(reloads):
        clip = window.current_output.prepared.clip
        waiting = [clip.get_frame_async(n) for n in range(50, 50 + FRAMES_IN_FLIGHT)]
        del clip
        reload(window)
        failed = [str(future.exception()) for future in waiting if future.exception()]
        assert not failed, failed
        del waiting
        window.switch_frame(42)
        QApplication.processEvents()
        samples.append(resources.sample())
        faulthandler.dump_traceback_later(120, exit=True)
    return samples


def reload(window: Any) -> None:
    """Reload; and again if VSPreview has lost its new environment meanwhile.

    The frames of the old one that are done in other threads each make that the current one for a moment, of which
    VSPreview keeps a single one for all threads. So it happens to scripts that use no plugin, too.
    """
    try:
        window.reload_script()
    except vs.Error as error:
        if "Internal environment id not set" not in str(error):
            raise
        get_current_environment().switch()
        window.reload_script()


def main(script: Path, reloads: int, picture: Path) -> list[resources.Sample]:
    """What vspreview's own main does, but for the event loop."""
    init.main.app = QApplication([])
    set_vsengine_loop()
    window = MainWindow(script.parent, True, True, False)
    window.load_script(script, [], False, None, script.name, None)
    return session(window, reloads, picture)


if __name__ == "__main__":
    faulthandler.dump_traceback_later(120, exit=True)
    try:
        sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))) + "\n")
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
