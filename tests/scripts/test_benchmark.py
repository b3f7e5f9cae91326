"""The benchmark measures the version that it names, and its report says plainly which goals are met."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.profiler import ProfilerActivity

from scripts import ROOT
from scripts.benchmark import builds, report
from scripts.benchmark.__main__ import main
from scripts.benchmark.bench import Row
from scripts.benchmark.client import Worker
from scripts.benchmark.counting import counted, launches
from scripts.benchmark.goals import Goal, goals
from scripts.benchmark.playback import LOADED, play, source
from scripts.evaluation.scores import Entry, Setting

needs_git = pytest.mark.skipif(
    not shutil.which("git") or not (ROOT / ".git").exists(), reason="needs git, and a checkout made by it"
)


def table(text: str, title: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    below = text.partition(f"## {title}\n")[2]
    match = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert match, title
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in match[0].splitlines()[2:]]


@pytest.mark.parametrize(
    "sections", [("end_to_end", "steps", "growth"), ("startup", "large_frame", "overhead", "literal")], ids=" ".join
)
def test_every_section_is_measured_and_reported(sections: tuple[str, ...], tmp_path: Path) -> None:
    """Without a version to compare with; nothing outside of the folder is written."""
    main(["--quick", "--before", "", "--work", str(tmp_path), "--only", *sections])
    kept = json.loads((tmp_path / "results.json").read_text())
    assert set(kept) == set(sections)
    text = (tmp_path / "BENCHMARKS.md").read_text()
    for name in sections:
        numbers = [value for row in kept[name]["rows"] for value in row.values() if isinstance(value, int | float)]
        assert numbers
        assert min(numbers) >= 0
        assert table(text, report.SECTIONS[name].TITLE)
    assert "Not measured on a GPU" in text
    assert {cells[-1] for cells in table(text, "Goals")} == {"not measured"}  # not by tiny sizes
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        Image.open(tmp_path / picture).load()
    (tmp_path / "BENCHMARKS.md").unlink()
    report.write(tmp_path / "results.json", tmp_path, tmp_path)
    assert (tmp_path / "BENCHMARKS.md").read_text() == text


def test_what_a_gpu_does_is_kept_beside_what_a_cpu_does(tmp_path: Path) -> None:
    """Each with its machine, and whatever else is measured anew."""
    pair = {"source": [160, 90], "factor": 4, "threads": 1, "seconds": 0.02, "cpu": 0.02, "peak": 3e9}
    counts = {"step": "further frame", "multiply_adds": 7_000_000, "launches": 30, "kernels": 29, "busy": 0.0015}
    made = {"setting": [2, 2, 0], "version": None, "cpu": 0.01, "peak": 2e9, "gpu_peak": 5e9, "build": "now"}
    rows: dict[str, list[Row]] = {
        "steps": [{**pair, **counts, "model": "lite", "build": "now"}],
        "end_to_end": [
            {**made, "method": "lite", "output": output, "seconds": seconds}
            for output, seconds in (([854, 480], 0.005), ([3840, 2160], 0.05))
        ],
        "startup": [{"what": "now", "source": [160, 90], "seconds": 5.0, "peak": 1e9}],
    }

    def kept(machine: str, device: str) -> str:
        about = {"machine": machine, "builds": {"now": "unknown"}, "device": device, "quick": False}
        found = {name: {**about, "rows": [row | {"device": device} for row in these]} for name, these in rows.items()}
        return json.dumps(found)

    (tmp_path / "results.json").write_text(kept("a machine with a CPU", "cpu"))
    report.write(tmp_path / "results.json", tmp_path, tmp_path)
    alone = (tmp_path / "BENCHMARKS.md").read_text()
    assert "Not measured on a GPU" in alone
    gpu = tmp_path / report.GPU_RESULTS
    gpu.parent.mkdir()
    gpu.write_text(kept("a machine with a GPU", "cuda"))
    report.write(tmp_path / "results.json", tmp_path, tmp_path)
    text = (tmp_path / "BENCHMARKS.md").read_text()
    assert "Not measured on a GPU" not in text
    assert text.index("a machine with a CPU") < text.index("## On a GPU") < text.index("a machine with a GPU")
    assert table(text, "A fresh process") == table(alone, "A fresh process")
    assert table(text, "On a GPU: a fresh process") == [["now", "5 s", "1.00", "1.00 GB"]]
    (step,) = table(text, "On a GPU: a pair of frames, step by step")
    assert step[2:] == ["30", "29", "20 ms", "1.5 ms", "3.00 GB"]
    (clip,) = table(text, "On a GPU: from script to picture")
    assert clip[:2] == ["lite, now", "cuda"]
    assert clip[-3:] == ["200", "2.00 GB", "5.00 GB"]
    below = text.partition("## On a GPU")[2]
    assert table(below, "2x size, 2x rate, to 3840x2160")[0][-3] == "20"


def test_without_a_library_of_pythons_frames_come_all_the_same(tmp_path: Path) -> None:
    """As of a Python that vspipe cannot load."""
    build = builds.installed(tmp_path)
    (tmp_path / "config" / "vapoursynth" / "vapoursynth.toml").write_bytes(b"")
    script = source((60, 40), 5, tmp_path) + "clip.set_output()\n"
    assert len(play(build, script, (60, 40), 5, tmp_path).arrivals) == 5
    assert "pipe.py" in str(build.vspipe[-1])


@needs_git
def test_an_earlier_commit_is_built_and_really_runs(tmp_path: Path) -> None:
    build = builds.earlier("HEAD", tmp_path)
    assert build is not None
    with Worker(build) as worker:
        assert Path(worker.about["file"]).is_relative_to(tmp_path)
    script = source((32, 24), 3, tmp_path)
    script += 'out = core.videoinr.Upscale(clip.resize.Point(format=vs.RGBS), scale=2, factor_num=2, model="lite")\n'
    script += f"out.resize.Point(format=vs.RGB24).set_output()\n{LOADED}"
    seen = play(build, script, (64, 48), 3, tmp_path)
    assert len(seen.arrivals) == len(seen.cpu) == 3
    assert sorted(seen.arrivals) == seen.arrivals
    assert 0 < seen.cpu[0] <= seen.cpu[-1]
    assert seen.peak > 100e6
    with pytest.raises(RuntimeError, match="was loaded, which is not in"):
        build.check(builds.__file__)


def test_a_frame_arrives_when_it_is_made_and_not_with_the_next(tmp_path: Path) -> None:
    script = source((60, 40), 5, tmp_path)  # vspipe keeps the last of the 7200 bytes until there are more
    script += """
core.num_threads = 1  # one frame after the other
import time
def slow(n, f):
    time.sleep(0.2)
    return f.copy()
clip.std.ModifyFrame(clip, slow).set_output()
"""
    seen = play(builds.installed(tmp_path), script, (60, 40), 5, tmp_path)
    steps = [later - earlier for earlier, later in itertools.pairwise(seen.arrivals)]
    assert len(steps) == 4
    assert min(steps) > 0.1
    seconds, cpu = seen.steady(rate=2)
    assert seconds == pytest.approx((seen.arrivals[4] - seen.arrivals[2]) / 2)
    assert 0 <= cpu < seconds / 2


@needs_git
def test_what_git_does_not_have_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^git does not have the commit 000.*: fetch it, or give --before") as refused:
        main(["--work", str(tmp_path), "--before", "0" * 40])
    assert "\n" not in str(refused.value)


def test_what_is_asked_of_pytorch_is_counted() -> None:
    """Views and allocations are not; a call that has parts is not counted beside them."""
    image, kernel = torch.rand(1, 3, 8, 10), torch.rand(5, 3, 3, 3)
    with torch.no_grad(), counted() as counts:
        features = torch.nn.functional.conv2d(image, kernel, padding=1).relu()
        features[:, :2].permute(0, 2, 3, 1).unsqueeze(0)
        torch.empty(3).detach()
    assert counts.launches == 2
    assert counts.multiply_adds == 8 * 10 * 5 * 3 * 9
    with torch.no_grad(), counted() as twice:
        for _ in range(2):
            torch.nn.functional.conv2d(image, kernel, padding=1).relu()
    assert (twice.launches, twice.multiply_adds) == (4, 2 * counts.multiply_adds)


CALLS: dict[str, tuple[int, Callable[[torch.Tensor], object]]] = {
    "views": (0, lambda x: x[:, :2].mT.unsqueeze(0).expand(2, -1, -1, -1, -1).reshape(2, 1, 2, 10, 8)),
    "memory": (0, lambda x: (torch.empty_like(x).detach(), x.new_empty(3).resize_(4))),
    "questions": (1, lambda x: (x.sum().item(), x.is_contiguous(), torch.result_type(x, 1))),
    "nothing to convert": (0, lambda x: x.float().contiguous().to(x)),
    "conversion": (2, lambda x: (x.half(), x.mT.contiguous())),
    "a constant on the way": (3, lambda x: torch.where(x > 0, x, 1.0)),
    "of another form": (1, lambda x: torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")),
    "in place": (2, lambda x: x.clone().mul_(2)),
    "parts on this device": (3, lambda x: (x.std(2), x.max(), x.mean((2, 3)))),
    "composite": (2, lambda x: torch.nn.functional.pad(torch.nn.functional.avg_pool2d(x, 2), (1, 1))),
}


@pytest.mark.parametrize(("wanted", "call"), CALLS.values(), ids=CALLS)
def test_launches_are_the_same_however_they_are_counted(wanted: int, call: Callable[[torch.Tensor], object]) -> None:
    """By what one thread asks for, and by PyTorch's profiler, which sees all of them."""
    image = torch.rand(1, 3, 8, 10)
    with torch.no_grad(), counted() as asked:
        call(image)
    with torch.inference_mode(), torch.profiler.profile(activities=[ProfilerActivity.CPU]) as seen:
        call(image)
    assert (asked.launches, launches(seen.events())) == (wanted, wanted)


def clip(method: str, build: str, cpu: float, size: int = 4, rate: int = 2) -> Row:
    return {"method": method, "build": build, "device": "cpu", "setting": [size, rate, 0], "cpu": cpu}


def step(build: str, name: str, launches: int, source: tuple[int, int] = (160, 90), seconds: float = 1) -> Row:
    about = {"model": "lite", "build": build, "device": "cpu", "source": list(source), "factor": 4}
    return {**about, "step": name, "launches": launches, "seconds": seconds}


def started(build: str, seconds: float) -> Row:
    return {"what": build, "seconds": seconds}


def plain(build: str, seconds: float, kind: str = "RGBS") -> Row:
    return {"format": kind, "build": build, "seconds": seconds}


def decoded(literal: float, first: float, tuned: bool) -> Row:
    return {"build": "now", "threads": 1, "tuned": tuned, "literal": literal, "first": first}


@pytest.mark.parametrize(
    ("text", "section", "good", "bad"),
    [
        (
            "`lite` 1x size",
            "end_to_end",
            [clip("lite", "before", 6, 1), clip("lite", "now", 0.5, 1)],
            [clip("lite", "before", 6, 1), clip("lite", "now", 0.51, 1)],
        ),
        (
            "`lite` 4x size, 10x",
            "end_to_end",
            [clip("lite", "before", 6, 4, 10), clip("lite", "now", 1, 4, 10)],
            [clip("lite", "before", 6, 4, 10), clip("lite", "now", 1.01, 4, 10)],
        ),
        (
            "`standard` 4x size, 2x",
            "end_to_end",
            [clip("standard", "before", 10), clip("standard", "now", 1)],
            [clip("standard", "before", 9.9), clip("standard", "now", 1)],
        ),
        (
            "`lite`, launches for a pair",
            "steps",
            [step("now", "encode a pair", 300), step("now", "first frame of a pair", 200)],
            [step("now", "encode a pair", 300), step("now", "first frame of a pair", 201)],
        ),
        (
            "`lite`, launches for a further",
            "steps",
            [step("now", "further frame", 30)],
            [step("now", "further frame", 31)],
        ),
        (
            "`lite`, a further frame at",
            "steps",
            [step("now", "further frame", 30, (320, 180), 0.04)],
            [step("now", "further frame", 30, (320, 180), 0.041)],
        ),
        ("`lite`, 1920x1080", "large_frame", [{"build": "now", "peak": 2e9}], [{"build": "now", "peak": 2.1e9}]),
        (
            "published network, decoding on one thread, allocation as",
            "literal",
            [decoded(5, 1, False)],
            [decoded(4, 1, False)],
        ),
        (
            "published network, decoding on one thread, allocation tuned",
            "literal",
            [decoded(3, 1, True)],
            [decoded(2, 1, True)],
        ),
        ("fresh process", "startup", [started("now", 4)], [started("now", 4.1)]),
        (
            "the plugin around",
            "overhead",
            [plain("without", 0.002), plain("now", 0.0029)],
            [plain("without", 0.002), plain("now", 0.0031)],
        ),
        ("the same in YUV", "overhead", [plain("now", 0.0025, "YUV420P8")], [plain("now", 0.0026, "YUV420P8")]),
    ],
)
def test_goals_follow_the_numbers(text: str, section: str, good: list[Row], bad: list[Row]) -> None:
    def found(sections: dict[str, list[Row]]) -> Goal:
        (goal,) = [goal for goal in goals(sections, [], []) if goal.text.startswith(text)]
        return goal

    assert found({}).met is None
    assert found({section: good}).met is True
    assert found({section: bad}).met is False
    if any(row.get("build") == "before" for row in good):
        assert found({section: [row for row in good if row["build"] == "now"]}).verdict == "not measured"


def test_what_standard_has_lost_is_read_from_the_evaluation() -> None:
    def score(clip: str, *psnr: float) -> Entry:
        none: tuple[float, ...] = (0, 0)
        return Entry(clip, "standard", Setting(4, 2, 9), psnr, none, none, none, 1, "", "", "")

    def lost(before: list[Entry], now: list[Entry]) -> Goal:
        (goal,) = [goal for goal in goals({}, now, before) if "PSNR lost" in goal.text]
        return goal

    before = [score("a", 34, 32), score("b", 36, 33)]
    assert lost(before, before).met is True
    assert lost(before, [score("a", 34, 31.94), score("b", 36, 33)]).met is True  # 0.03 in the mean
    assert lost(before, [score("a", 34.2, 31.92), score("b", 36, 33)]).met is False
    assert lost(before, before[:1]).met is None  # not all clips
    assert lost([], before).met is None
