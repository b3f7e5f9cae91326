"""What importing the package does to the process, which belongs to somebody else."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

#: How GNU's OpenMP, which torch has on Linux, says for how long threads look for more work.
SPINS = re.compile(r"GOMP_SPINCOUNT = '(\d+)'")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another OpenMP")
@pytest.mark.parametrize(
    ("wanted", "spins"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
    ids=["nothing", "a count", "a policy"],
)
def test_torchs_threads_wait_as_is_best_or_as_the_user_wants(wanted: dict[str, str], spins: str) -> None:
    ours = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", "import vs_videoinr, torch"],
        env={**environment, "OMP_DISPLAY_ENV": "verbose", **wanted},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert set(SPINS.findall(done.stderr)) == {spins}
