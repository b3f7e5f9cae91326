"""Photographs set in motion: layers of them slide, turn and grow over each other along smooth paths.

Exact frames at any time, exact motion, unlimited variety. Everything is rendered on the training device.
A scene is a background and up to three layers above it. Each layer's texture is a piece of a photograph; the shape of
an upper layer is the inside of a smooth level set or a set of thin bars. A layer's pose is a similarity that changes
smoothly with time; the camera is one more such motion that all layers share.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from scripts.data.batch import Batch, Kind, Target, disturb, pick_scale, pick_window, seed_of, shrink

PIECE = 640  # photograph pixels a side of a texture
CHOICE = 3  # places looked at for every texture: the one with most detail teaches most


def load(folder: Path, device: torch.device) -> list[Tensor]:
    """All photographs, (3, H, W) uint8."""
    images = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB")))
            images.append(pixels.permute(2, 0, 1).contiguous().to(device))
    return images


def detail(image: Tensor, side: int) -> float:
    """How much neighbouring pixels differ in the middle `side` pixels of (3, H, W) uint8: what will be seen of it."""
    height, width = image.shape[-2:]
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    green = image[1, top : top + side : 2, left : left + side : 2].float()
    return float(green.diff(dim=0).abs().mean() + green.diff(dim=1).abs().mean())


def most_detailed(images: list[Tensor], size: tuple[int, int], side: int, random: torch.Generator) -> Tensor:
    """Cut pieces of random photographs; return the one with most detail in its middle, turned somehow: (3, *size).

    Values in [0, 1]. A photograph that is too small is enlarged.
    """

    def below(end: int) -> int:
        return int(torch.randint(max(1, end), (), generator=random))

    best, most = images[0], -1.0
    for _ in range(CHOICE):
        image = images[below(len(images))]
        top, left = below(image.shape[1] - size[0] + 1), below(image.shape[2] - size[1] + 1)
        cut = image[:, top : top + size[0], left : left + size[1]]
        if (found := detail(cut, side)) > most:
            best, most = cut, found
    best = best.float() / 255
    if best.shape[-2:] != size:
        best = F.interpolate(best[None], size=size, mode="bicubic", align_corners=False)[0].clamp(0, 1)
    flip = below(8)
    best = best.flip([axis + 1 for axis in range(2) if flip >> axis & 1] or [])
    return best.transpose(1, 2) if flip & 4 else best


class Motion:
    """Similarity transforms (B,): scene → picture at a time, in full-size pixels around the picture's centre."""

    def __init__(self, batch: int, reach: Tensor, random: torch.Generator) -> None:
        def normal(deviation: float) -> Tensor:
            return torch.randn(batch, generator=random) * deviation

        direction = torch.rand(batch, generator=random) * 2 * torch.pi
        self.velocity = torch.stack((direction.cos(), direction.sin())) * reach
        curve = torch.rand(batch, generator=random) < 0.5
        self.acceleration = torch.randn(2, batch, generator=random) * reach * 0.25 * curve
        moving = (reach > 0) & (torch.rand(batch, generator=random) < 0.5)
        swinging = torch.rand(batch, generator=random) < 0.25  # as ears and arms do
        self.turn = normal(0.04) * moving * torch.where(swinging, 5.0, 1.0)
        self.growth = normal(0.03) * moving

    def pose(self, t: float) -> tuple[Tensor, Tensor]:
        """Linear part (B, 2, 2) and shift (B, 2) at time `t`; the identity at t = 0.5, so that nothing drifts away."""
        s = t - 0.5
        shift = (self.velocity * s + self.acceleration * (s * s - 0.25)).T
        angle, size = self.turn * s, (self.growth * s).exp()
        cos, sin = angle.cos() * size, angle.sin() * size
        return torch.stack((torch.stack((cos, -sin), 1), torch.stack((sin, cos), 1)), 1), shift


def chain(outer: tuple[Tensor, Tensor], inner: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """`outer` after `inner`."""
    return outer[0] @ inner[0], (outer[0] @ inner[1][:, :, None])[:, :, 0] + outer[1]


class Layer:
    """One layer of a batch of scenes."""

    def __init__(self, texture: Tensor, level: Tensor | None, density: Tensor, motion: Motion, static: Tensor) -> None:
        self.texture, self.level, self.density, self.motion = texture, level, density, motion
        self.static = static  # (B,) bool: an overlay that the camera does not move

    def pose(self, camera: Motion, t: float) -> tuple[Tensor, Tensor]:
        """Scene layer → picture at time `t`."""
        matrix, shift = chain(camera.pose(t), self.motion.pose(t))
        still = self.static[:, None]
        return torch.where(still[:, :, None], torch.eye(2), matrix), torch.where(still, torch.zeros(2), shift)

    def look(self, places: Tensor, pose: tuple[Tensor, Tensor], colour: bool = True) -> tuple[Tensor | None, Tensor]:
        """Colour (B, 3, …) and coverage (B, 1, …) seen at picture `places` (H, W, 2) from the centre."""
        inverse = torch.linalg.inv(pose[0])
        device = places.device
        shift = pose[1].to(device)
        here = (places[None] - shift[:, None, None]) @ inverse.transpose(1, 2).to(device)[:, None]
        grid = here * (self.density.to(device)[:, None, None, None] * 2 / PIECE)
        rgb = None
        if colour:
            rgb = F.grid_sample(self.texture, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
        if self.level is None:
            return rgb, torch.ones_like(grid[:, None, :, :, 0])
        level = F.grid_sample(self.level, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return rgb, level.clamp(0, 1)


class Photographs:
    """Batches of photographs in motion, each made from its number alone."""

    def __init__(self, images: list[Tensor], kind: Kind, reach: float, seed: int) -> None:
        """`images`: (3, H, W) uint8 on the device that trains, where everything is rendered.

        `reach`: greatest motion of one layer, low-resolution pixels.
        """
        self.images, self.device = images, images[0].device
        self.batch, self.side, self.kind, self.reach = kind.batch, kind.side, kind, reach
        self.seed, self.random = seed, torch.Generator()

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.random)

    def _textures(self, canvas: int) -> Tensor:
        pieces = [most_detailed(self.images, (PIECE, PIECE), canvas, self.random) for _ in range(self.batch)]
        gamma = (0.7 + 0.7 * self._uniform(self.batch, 1, 1, 1)).to(self.device)
        return torch.stack(pieces) ** gamma

    def _shapes(self, canvas: int) -> Tensor:
        """Level sets (B, 1, PIECE, PIECE), 0 outside … 1 inside, with an edge about a pixel wide."""
        shapes = []
        for _ in range(self.batch):
            cells = max(2, round(float(1.2 + 5 * self._uniform(1) ** 2) * PIECE / canvas))
            if self._uniform(1) < 0.2:  # bars: fences, window frames, letters
                period, duty = 0.15 + 0.5 * self._uniform(2)
                x = torch.arange(PIECE) / PIECE * cells / period
                level = (x % 1 - duty).abs() - duty / 2
                level = -level.expand(PIECE, PIECE) * PIECE / cells * period
                if self._uniform(1) < 0.5:
                    level = level.T
            else:
                noise = torch.randn(1, 1, cells + 3, cells + 3, generator=self.random)
                level = F.interpolate(noise, size=(PIECE, PIECE), mode="bicubic", align_corners=False)[0, 0]
                level = (level - 0.2 - 0.6 * self._uniform(1)) * (PIECE / cells) * 0.6
            softness = 0.7 + 2.5 * self._uniform(1) ** 3
            shapes.append(level / softness + 0.5)
        return torch.stack(shapes)[:, None].to(self.device)

    def _speed(self, scale: float) -> Tensor:
        speed = self.reach * scale * self._uniform(self.batch) ** 2
        return speed * (self._uniform(self.batch) > 0.15)

    def _scene(self, canvas: int, scale: float) -> tuple[Motion, list[Layer]]:
        camera = Motion(self.batch, self._speed(scale), self.random)
        layers = []
        for index in range(1 + int(4 * self._uniform(1) ** 2)):  # most often one or two
            density = 1 + 0.4 * self._uniform(self.batch)  # below 1 there would be no detail to learn
            if index == 0:
                motion = Motion(self.batch, torch.zeros(self.batch), self.random)
                static = torch.zeros(self.batch, dtype=torch.bool)
                layers.append(Layer(self._textures(canvas), None, density, motion, static))
            else:
                motion = Motion(self.batch, self._speed(scale), self.random)
                static = self._uniform(self.batch) < 0.1
                layers.append(Layer(self._textures(canvas), self._shapes(canvas), density, motion, static))
        return camera, layers

    @staticmethod
    def _render(camera: Motion, layers: list[Layer], places: Tensor, t: float) -> Tensor:
        picture: Tensor | None = None
        for layer in layers:
            rgb, cover = layer.look(places, layer.pose(camera, t))
            assert rgb is not None
            picture = rgb if picture is None else picture + cover * (rgb - picture)
        assert picture is not None
        return picture.clamp(0, 1)

    @staticmethod
    def _flow(camera: Motion, layers: list[Layer], places: Tensor, start: float, end: float) -> Tensor:
        """Motion (B, 2, h, w), in full-size pixels, of what is seen at `places` at `start`."""
        flow: Tensor | None = None
        for layer in layers:
            pose = layer.pose(camera, start)
            _, cover = layer.look(places, pose, colour=False)
            inverse = torch.linalg.inv(pose[0])
            go = chain(layer.pose(camera, end), (inverse, -(inverse @ pose[1][:, :, None])[:, :, 0]))
            matrix, shift = (part.to(places) for part in go)
            moved = places[None] @ matrix.transpose(1, 2)[:, None] + shift[:, None, None] - places
            moved = moved.permute(0, 3, 1, 2)
            flow = moved if flow is None else torch.where(cover > 0.5, moved, flow)
        assert flow is not None
        return flow

    def make(self, number: int) -> Batch:
        """Render one batch at one random scale."""
        self.random.manual_seed(seed_of(self.seed, number))
        return self._make(pick_scale(self.random), times=True)

    def make_motion(self, number: int) -> Batch:
        """Render a batch that has no targets but the motion: much cheaper, for the flow's own first lessons."""
        self.random.manual_seed(seed_of(self.seed, number))
        return self._make(1 + float(self._uniform(1)), times=False)

    def _make(self, scale: float, times: bool) -> Batch:
        high = round(self.side * scale)
        centre = (high - 1) / 2
        line = torch.arange(high, device=self.device, dtype=torch.float32) - centre
        places = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
        camera, layers = self._scene(high, high / self.side)
        changing = self._uniform(self.batch, 1, 1, 1) < 0.2
        gain = 1 + 0.1 * torch.randn(self.batch, 1, 1, 1, generator=self.random) * changing

        def exposed(picture: Tensor, t: float) -> Tensor:
            return (picture * (1 + (gain.to(self.device) - 1) * t)).clamp(0, 1)

        ends = [exposed(self._render(camera, layers, places, t), t) for t in (0.0, 1.0)]
        targets = []
        for t in (float(self._uniform(1)), 0.0, 1.0) if times else ():
            top, left, height, width = window = pick_window((high, high), self.kind.window, self.random)
            part = places[top : top + height, left : left + width]
            rgb = (
                exposed(self._render(camera, layers, part, t), t)
                if 0 < t < 1
                else ends[int(t)][:, :, top : top + height, left : left + width]
            )
            targets.append(Target(t, window, rgb))
        frames = ends
        if times and high <= self.kind.window:
            beyond = 2 - targets[0].t
            frames = [ends[0], targets[0].rgb, ends[1], exposed(self._render(camera, layers, places, beyond), beyond)]
        low = [shrink(frame, (self.side, self.side)) for frame in frames]
        if self._uniform(1) < 0.15:
            low = disturb(low, self.kind.compressed, self.random)
        line = (torch.arange(self.side, device=self.device) + 0.5) * (high / self.side) - 0.5 - centre
        coarse = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
        flow = torch.cat([self._flow(camera, layers, coarse, a, 1 - a) for a in (0.0, 1.0)]) * (self.side / high)
        if len(low) == 2:
            return Batch(low[0], low[1], (high, high), targets, flow)
        return Batch(low[0], low[2], (high, high), targets, flow, (low[1], targets[0]), low[3])
