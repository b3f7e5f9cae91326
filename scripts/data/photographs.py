"""Batches of photographs set in motion: layers of them slide, turn and grow over each other along smooth paths.

Exact frames at any time, exact motion, unlimited variety. A scene is a background and up to three layers above it. Each
layer's texture is a piece of a photograph; the shape of an upper layer is the inside of a smooth level set or a set of
thin bars. A layer's pose is a similarity that changes smoothly with time; the camera is one more such motion that all
layers share.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.data.batch import Batch, BatchSpec, Target, batch_random, pick_scale
from scripts.data.degradation import degrade_some, reduce_bicubic
from scripts.data.pictures import cut_detailed

TEXTURE_PX = 640  # photograph pixels a side of a texture
RESTING_SHARE = 0.15  # of the layers and cameras do not move
OVERLAY_SHARE = 0.1  # of the upper layers are not moved by the camera
STRIPES_SHARE = 0.2  # of the upper layers are fences, window frames, letters
SWINGING_SHARE = 0.25  # of the motions turn farther, as ears and arms do
EXPOSURE_SHARE = 0.2  # of the samples become brighter or darker

Pose = tuple[Tensor, Tensor]  # linear part (B, 2, 2) and shift (B, 2), full-size pixels from the picture's centre


class Motion:
    """Similarity transforms of a batch, from scene to picture, that change with time."""

    def __init__(self, speed: Tensor, random: torch.Generator) -> None:
        """`speed` (B,): full-size pixels from the first frame to the second."""
        batch = len(speed)

        def normal(deviation: float) -> Tensor:
            return torch.randn(batch, generator=random) * deviation

        direction = torch.rand(batch, generator=random) * 2 * torch.pi
        self.velocity = torch.stack((direction.cos(), direction.sin())) * speed
        curved = torch.rand(batch, generator=random) < 0.5
        self.acceleration = torch.randn(2, batch, generator=random) * speed * 0.25 * curved
        moving = (speed > 0) & (torch.rand(batch, generator=random) < 0.5)
        swinging = torch.rand(batch, generator=random) < SWINGING_SHARE
        self.rotation = normal(0.04) * moving * torch.where(swinging, 5.0, 1.0)  # radians
        self.growth = normal(0.03) * moving  # logarithm of the size

    def pose(self, t: float) -> Pose:
        """The transform at time `t`; the identity at t = 0.5, so that nothing drifts away."""
        s = t - 0.5
        shift = (self.velocity * s + self.acceleration * (s * s - 0.25)).T
        angle, size = self.rotation * s, (self.growth * s).exp()
        cos, sin = angle.cos() * size, angle.sin() * size
        return torch.stack((torch.stack((cos, -sin), 1), torch.stack((sin, cos), 1)), 1), shift


def chain(outer: Pose, inner: Pose) -> Pose:
    """`outer` after `inner`."""
    return outer[0] @ inner[0], (outer[0] @ inner[1][:, :, None])[:, :, 0] + outer[1]


class Layer:
    """One layer of a batch of scenes."""

    def __init__(self, texture: Tensor, level: Tensor | None, density: Tensor, motion: Motion, overlay: Tensor) -> None:
        """Put together what has been picked.

        Args:
            texture: (B, 3, TEXTURE_PX, TEXTURE_PX) in [0, 1].
            level: (B, 1, TEXTURE_PX, TEXTURE_PX), 0 outside of the layer's shape … 1 inside; None: all is inside.
            density: (B,) texture pixels in a full-size pixel; below 1 there would be no detail to learn.
            motion: Of the layer.
            overlay: (B,) bool, whether the camera does not move it.
        """
        self.texture, self.level, self.density, self.motion, self.overlay = texture, level, density, motion, overlay

    def pose(self, camera: Motion, t: float) -> Pose:
        """From the layer to the picture at time `t`."""
        matrix, shift = chain(camera.pose(t), self.motion.pose(t))
        fixed = self.overlay[:, None]
        return torch.where(fixed[:, :, None], torch.eye(2), matrix), torch.where(fixed, torch.zeros(2), shift)

    def grid(self, places: Tensor, pose: Pose) -> Tensor:
        """Where in the texture picture `places` (H, W, 2) are, (B, H, W, 2) as `grid_sample` counts."""
        inverse = torch.linalg.inv(pose[0])
        here = (places[None] - pose[1].to(places)[:, None, None]) @ inverse.transpose(1, 2).to(places)[:, None]
        grid: Tensor = here * (self.density.to(places)[:, None, None, None] * 2 / TEXTURE_PX)
        return grid

    def colour(self, grid: Tensor) -> Tensor:
        """The texture's colours (B, 3, H, W) at places of it."""
        return F.grid_sample(self.texture, grid, mode="bicubic", padding_mode="reflection", align_corners=False)

    def coverage(self, grid: Tensor) -> Tensor:
        """How far places of the texture are inside of the layer's shape, (B, 1, H, W) in [0, 1]."""
        if self.level is None:
            return torch.ones_like(grid[:, None, :, :, 0])
        level = F.grid_sample(self.level, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return level.clamp(0, 1)


class Scene:
    """Layers in motion under a camera in motion: a batch of them."""

    def __init__(self, camera: Motion, layers: list[Layer], gain: Tensor) -> None:
        """`gain` (B, 1, 1, 1): the brightness at t = 1; it changes evenly from 1 at t = 0."""
        self.camera, self.layers, self.gain = camera, layers, gain

    def render(self, places: Tensor, t: float) -> Tensor:
        """The picture (B, 3, H, W) in [0, 1] at `places` (H, W, 2), full-size pixels from the centre, at time `t`."""
        picture: Tensor | None = None
        for layer in self.layers:
            grid = layer.grid(places, layer.pose(self.camera, t))
            colour = layer.colour(grid)
            picture = colour if picture is None else picture + layer.coverage(grid) * (colour - picture)
        assert picture is not None
        return (picture.clamp(0, 1) * (1 + (self.gain.to(places) - 1) * t)).clamp(0, 1)

    def flow(self, places: Tensor, start: float, end: float) -> Tensor:
        """How far (B, 2, H, W), in full-size pixels, what is seen at `places` at `start` has moved at `end`."""
        flow: Tensor | None = None
        for layer in self.layers:
            pose = layer.pose(self.camera, start)
            inverse = torch.linalg.inv(pose[0])
            back = (inverse, -(inverse @ pose[1][:, :, None])[:, :, 0])
            matrix, shift = (part.to(places) for part in chain(layer.pose(self.camera, end), back))
            moved = places[None] @ matrix.transpose(1, 2)[:, None] + shift[:, None, None] - places
            moved = moved.permute(0, 3, 1, 2)
            covered = layer.coverage(layer.grid(places, pose)) > 0.5
            flow = moved if flow is None else torch.where(covered, moved, flow)
        assert flow is not None
        return flow


class Photographs:
    """Makes batches of photographs in motion."""

    def __init__(self, images: list[Tensor], spec: BatchSpec, max_motion: float, seed: int) -> None:
        """`images`: (3, H, W) uint8 each. `max_motion`: of one layer, low-resolution pixels from frame to frame."""
        self.images, self.spec, self.max_motion, self.seed = images, spec, max_motion, seed

    def make(self, number: int) -> Batch:
        """Batch `number`, at one scale and one time between frames."""
        random = batch_random(self.seed, number)
        high = round(self.spec.side * pick_scale(random))
        scene, places = self._scene(high, random), _places(high, high)
        first, last = (scene.render(places, t) for t in (0.0, 1.0))
        t = float(torch.rand(1, generator=random))
        between, following = scene.render(places, t), scene.render(places, 2 - t)
        targets = [Target(t, between), Target(0.0, first), Target(1.0, last)]
        flow = self._flow(scene, high)
        frame0, middle, frame1, following = self._low([first, between, last, following], random)
        return Batch(frame0, frame1, (high, high), targets, flow, (middle, targets[0]), following)

    def make_motion(self, number: int) -> Batch:
        """Batch `number` without targets but the motion: much cheaper, for the flow's own first lessons."""
        random = batch_random(self.seed, number)
        high = round(self.spec.side * (1 + float(torch.rand(1, generator=random))))
        scene, places = self._scene(high, random), _places(high, high)
        frame0, frame1 = self._low([scene.render(places, t) for t in (0.0, 1.0)], random)
        return Batch(frame0, frame1, (high, high), [], self._flow(scene, high))

    def _low(self, frames: list[Tensor], random: torch.Generator) -> list[Tensor]:
        """What a network sees of consecutive frames."""
        side = self.spec.side
        return degrade_some([reduce_bicubic(frame, (side, side)) for frame in frames], self.spec.compressed, random)

    def _flow(self, scene: Scene, high: int) -> Tensor:
        """The true flow as a `Batch` has it."""
        places = _places(self.spec.side, high)
        both = torch.cat([scene.flow(places, start, 1 - start) for start in (0.0, 1.0)])
        return both * (self.spec.side / high)

    def _scene(self, high: int, random: torch.Generator) -> Scene:
        def speed() -> Tensor:
            fast = self.max_motion * (high / self.spec.side) * torch.rand(batch, generator=random) ** 2
            return fast * (torch.rand(batch, generator=random) > RESTING_SHARE)

        batch = self.spec.batch
        camera = Motion(speed(), random)
        layers = []
        for index in range(1 + int(4 * torch.rand(1, generator=random) ** 2)):  # most often one or two
            density = 1 + 0.4 * torch.rand(batch, generator=random)
            if index == 0:
                motion = Motion(torch.zeros(batch), random)
                overlay = torch.zeros(batch, dtype=torch.bool)
                layers.append(Layer(self._textures(high, random), None, density, motion, overlay))
            else:
                motion = Motion(speed(), random)
                overlay = torch.rand(batch, generator=random) < OVERLAY_SHARE
                textures = self._textures(high, random)
                layers.append(Layer(textures, self._shapes(high, random), density, motion, overlay))
        changing = torch.rand(batch, 1, 1, 1, generator=random) < EXPOSURE_SHARE
        gain = 1 + 0.1 * torch.randn(batch, 1, 1, 1, generator=random) * changing
        return Scene(camera, layers, gain)

    def _textures(self, high: int, random: torch.Generator) -> Tensor:
        size = (TEXTURE_PX, TEXTURE_PX)
        pieces = [cut_detailed(self.images, size, high, random) for _ in range(self.spec.batch)]
        gamma = 0.7 + 0.7 * torch.rand(self.spec.batch, 1, 1, 1, generator=random)
        return torch.stack(pieces) ** gamma

    def _shapes(self, high: int, random: torch.Generator) -> Tensor:
        """Level sets (B, 1, TEXTURE_PX, TEXTURE_PX), 0 outside … 1 inside, with an edge about a pixel wide."""
        shapes = []
        for _ in range(self.spec.batch):
            cells = max(2, round(float(1.2 + 5 * torch.rand(1, generator=random) ** 2) * TEXTURE_PX / high))
            if torch.rand(1, generator=random) < STRIPES_SHARE:
                period, duty = 0.15 + 0.5 * torch.rand(2, generator=random)
                x = torch.arange(TEXTURE_PX) / TEXTURE_PX * cells / period
                level = (x % 1 - duty).abs() - duty / 2
                level = -level.expand(TEXTURE_PX, TEXTURE_PX) * TEXTURE_PX / cells * period
                if torch.rand(1, generator=random) < 0.5:
                    level = level.T
            else:
                noise = torch.randn(1, 1, cells + 3, cells + 3, generator=random)
                smooth = F.interpolate(noise, size=(TEXTURE_PX, TEXTURE_PX), mode="bicubic", align_corners=False)
                level = smooth[0, 0] - 0.2 - 0.6 * torch.rand(1, generator=random)
                level = level * (TEXTURE_PX / cells) * 0.6
            softness = 0.7 + 2.5 * torch.rand(1, generator=random) ** 3
            shapes.append(level / softness + 0.5)
        return torch.stack(shapes)[:, None]


def _places(count: int, high: int) -> Tensor:
    """Centres of `count` x `count` pixels that fill a picture `high` pixels a side, from its centre: (…, …, 2)."""
    pixel = high / count
    line = (torch.arange(count) + 0.5) * pixel - 0.5 - (high - 1) / 2
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
