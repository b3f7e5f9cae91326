"""Drawn pictures: edges, lines, letters and grids, of which photographs of nature have few and films have many.

Drawn several times as large and reduced, so that edges lie anywhere between pixels, as in a camera's picture; then
sometimes softened or sharpened, as cameras do as well.
"""

from __future__ import annotations

import string

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

SIDE_PX = 1024  # of a drawing
OVERSAMPLING = 3  # times as large is it drawn at first
Points = NDArray[np.float64]  # (..., 2), x and y in pixels of the large drawing


def _points(places: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in places.tolist()]


class Drawing:
    """One picture, element over element."""

    def __init__(self, random: np.random.Generator, background: Tensor) -> None:
        """`background`: a photograph (3, H, W) uint8, which a part of all drawings are drawn upon."""
        self.random = random
        self.colours = random.integers(0, 256, (random.integers(3, 9), 3))
        grey = random.random(len(self.colours)) < 0.4
        self.colours[grey] = self.colours[grey, :1]
        self.colours[:2] = (random.integers(0, 50),), (random.integers(200, 256),)  # nearly black and nearly white
        large = (SIDE_PX * OVERSAMPLING,) * 2
        if random.random() < 0.4:
            photograph = Image.fromarray(background.permute(1, 2, 0).contiguous().cpu().numpy())
            self.image = photograph.resize(large, Image.Resampling.BICUBIC)
        else:
            shade = Image.linear_gradient("L").rotate(random.uniform(0, 360)).resize(large)
            one, other = (Image.new("RGB", large, self._colour()) for _ in range(2))
            self.image = Image.composite(one, other, shade)
        self.draw = ImageDraw.Draw(self.image)

    def _colour(self) -> tuple[int, int, int]:
        red, green, blue = self.colours[self.random.integers(len(self.colours))].tolist()
        return red, green, blue

    def _log_uniform(self, low: float, high: float) -> float:
        """Evenly over magnitudes."""
        return float(np.exp(self.random.uniform(np.log(low), np.log(high))))

    def _line_width(self) -> int:
        return round(OVERSAMPLING * self._log_uniform(0.7, 8))

    def _corners(self, count: int) -> Points:
        """Corners of some figure, in the order of their angles around somewhere."""
        size = OVERSAMPLING * self._log_uniform(6, 300)
        angle = np.sort(self.random.uniform(0, 2 * np.pi, count))
        far = size * self.random.uniform(0.3, 1, (count, 1))
        middle = self.random.uniform(0, SIDE_PX * OVERSAMPLING, 2)
        around: Points = middle + far * np.stack((np.cos(angle), np.sin(angle)), -1)
        return around

    def figure(self) -> None:
        """A polygon or an ellipse, filled or in outline."""
        corners = self._corners(int(self.random.integers(3, 7)))
        fill, outline = (self._colour(), None) if self.random.random() < 0.6 else (None, self._colour())
        if self.random.random() < 0.6:
            self.draw.polygon(_points(corners), fill, outline, self._line_width())
        else:
            first, last = _points(np.stack((corners.min(0), corners.max(0))))
            self.draw.ellipse((first, last), fill, outline, self._line_width())

    def line(self) -> None:
        """A line through some places, straight or round the corner."""
        corners = self._corners(int(self.random.integers(2, 5)))
        self.draw.line(_points(corners), self._colour(), self._line_width(), "curve")

    def letters(self) -> None:
        """A line of letters, turned somehow."""
        font = ImageFont.load_default(OVERSAMPLING * self._log_uniform(7, 90))
        text = "".join(self.random.choice(list(string.printable[:95]), self.random.integers(2, 16)))
        box = font.getbbox(text)
        mask = Image.new("L", (max(1, round(box[2])), max(1, round(box[3]))))
        ImageDraw.Draw(mask).text((0, 0), text, 255, font)
        turned = 0.0 if self.random.random() < 0.4 else self.random.uniform(0, 360)
        mask = mask.rotate(turned, Image.Resampling.BICUBIC, expand=True)
        place = self.random.integers(-100, SIDE_PX * OVERSAMPLING, 2).tolist()
        self.image.paste(self._colour(), (place[0], place[1]), mask)

    def grid(self) -> None:
        """Lines, a grid or a chequerboard, seen at an angle: tiles, fences, windows, keys."""
        corners = self._corners(4)
        columns, rows = self.random.integers(1, 24, 2).tolist()
        kind = self.random.integers(3)
        # the homography from the unit square to the corners
        a, b, c, d = corners
        plane = np.stack((b - c, d - c), 1)
        if abs(np.linalg.det(plane)) < 1:
            return
        g, h = np.linalg.solve(plane, a - b + c - d)
        across, down = b * (1 + g) - a, d * (1 + h) - a

        def place(x: Points, y: Points) -> Points:
            far = np.maximum(0.1, 1 + g * x + h * y)[..., None]
            seen: Points = (a + across * x[..., None] + down * y[..., None]) / far
            return seen

        colour, pen = self._colour(), self._line_width()
        if kind == 2:
            for row in range(rows):
                for column in range(row % 2, columns, 2):
                    x = np.array([column, column + 1, column + 1, column]) / columns
                    self.draw.polygon(_points(place(x, np.array([row, row, row + 1, row + 1]) / rows)), colour)
            return
        for count, upright in ((columns, True), (rows, False))[: kind + 1]:
            for ratio in np.linspace(0, 1, count + 1):
                one, other = np.full(2, ratio), np.array([0.0, 1.0])
                self.draw.line(_points(place(one, other) if upright else place(other, one)), colour, pen)

    def finish(self) -> Tensor:
        """The drawing at its own size, (3, SIDE_PX, SIDE_PX) uint8."""
        image = self.image.reduce(OVERSAMPLING)
        treatment = self.random.random()
        if treatment < 0.3:
            image = image.filter(ImageFilter.GaussianBlur(self.random.uniform(0.2, 0.8)))
        elif treatment < 0.6:
            percent = round(self.random.uniform(30, 150))
            image = image.filter(ImageFilter.UnsharpMask(self.random.uniform(0.7, 2), percent, threshold=0))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


class Drawings(Dataset[Tensor]):
    """Drawings (3, SIDE_PX, SIDE_PX) uint8, some of them upon photographs; each from its number alone."""

    def __init__(self, count: int, backgrounds: list[Tensor], seed: int) -> None:
        self.count, self.backgrounds, self.seed = count, backgrounds, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        random = np.random.default_rng((self.seed, number))
        drawing = Drawing(random, self.backgrounds[int(random.integers(len(self.backgrounds)))])
        elements = (drawing.figure, drawing.line, drawing.letters, drawing.grid)
        chances = random.dirichlet(np.ones(len(elements)))
        for _ in range(int(random.integers(60, 400))):
            elements[int(random.choice(len(elements), p=chances))]()
        return drawing.finish()


def draw(count: int, backgrounds: list[Tensor], seed: int, workers: int = 0) -> list[Tensor]:
    """`count` of those drawings; by so many processes, or by this one if that is 0."""
    context = "spawn" if workers else None
    drawings = Drawings(count, backgrounds, seed)
    return list(DataLoader(drawings, batch_size=None, num_workers=workers, multiprocessing_context=context))
