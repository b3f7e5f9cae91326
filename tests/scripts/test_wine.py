"""How Wine is started by `python -m scripts.wine` and by the tests that need it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import wine

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux lays processes out at random")

#: Print where the heap of a process lies that is started by another one, as Wine's are.
HEAP = """
import subprocess, sys
print(subprocess.check_output(["grep", "heap", "/proc/self/maps"], text=True).split()[0])
"""


def test_the_heap_is_never_where_wine_needs_the_address() -> None:
    personality = Path("/proc/thread-self/personality")
    before = personality.read_text(encoding="ascii")
    with wine.fixed_addresses():
        if not int(personality.read_text(encoding="ascii"), 16) & wine.ADDR_NO_RANDOMIZE:
            pytest.skip("this machine does not let processes ask for it")
        heaps = {subprocess.check_output([sys.executable, "-c", HEAP], text=True).split("-")[0] for _ in range(3)}
    assert len(heaps) == 1
    assert personality.read_text(encoding="ascii") == before


def test_a_prefix_that_cannot_be_made_is_explained_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "wine64"
    broken.write_text("#!/bin/sh\necho the reason >&2\nexit 1\n", encoding="ascii")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = f"Wine could not be set up: '{broken} wineboot --init' ended with 1.\nthe reason"
    with pytest.raises(SystemExit, match=re.escape(reason)):
        wine.make_prefix(tmp_path / "prefix")
    assert not (tmp_path / "prefix").exists()
