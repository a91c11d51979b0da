"""Small pictures that the generator knows all about: what is in them, in which colour, and where."""

import random
from dataclasses import dataclass
from math import cos, pi, sin
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont

Source: TypeAlias = Literal["shapes", "scenes", "signs"]
RGB: TypeAlias = tuple[int, int, int]

SOURCES: tuple[Source, ...] = ("shapes", "scenes", "signs")
COLOURS: dict[str, RGB] = {
    "red": (205, 40, 40),
    "orange": (245, 140, 25),
    "yellow": (250, 220, 50),
    "green": (35, 140, 60),
    "blue": (40, 90, 210),
    "purple": (125, 50, 160),
    "pink": (245, 145, 185),
    "brown": (120, 75, 40),
    "black": (15, 15, 15),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "star")
OBJECTS = ("house", "tree", "car", "flower", "boat")
WORDS = ("EXIT", "STOP", "OPEN", "PARK", "BUS", "TAXI", "CAFE", "NORTH", "SOUTH", "BANK", "ZOO", "PIER")
_DAY, _NIGHT = (165, 210, 240), (35, 35, 75)


@dataclass(frozen=True)
class Place:
    """A background, and the colours that would not show on it.

    `ground` is None where the background has one colour, `sky`.
    """

    name: str
    sky: RGB
    ground: RGB | None
    hidden: tuple[str, ...]


PLACES: dict[Source, tuple[Place, ...]] = {
    "shapes": (
        Place("on a cream background", (250, 238, 205), None, ("white", "yellow")),
        Place("on a navy background", (20, 28, 80), None, ("black", "blue", "purple")),
        Place("on a grey background", (150, 150, 150), None, ()),
        Place("on a turquoise background", (110, 205, 200), None, ("blue", "green")),
    ),
    "scenes": (
        Place("in a meadow by day", _DAY, (140, 195, 95), ("green", "white")),
        Place("in a meadow at night", _NIGHT, (55, 90, 55), ("green", "black", "blue", "purple")),
        Place("in the desert by day", _DAY, (230, 200, 140), ("yellow", "orange", "white")),
        Place("in the snow by day", _DAY, (238, 242, 248), ("white",)),
        Place("in the snow at night", _NIGHT, (190, 200, 215), ("white", "black", "blue", "purple")),
    ),
    "signs": (
        Place("in front of a brick wall", (175, 95, 75), None, ("red", "brown", "orange")),
        Place("in front of a grey wall", (165, 165, 160), None, ()),
        Place("in front of a hedge", (75, 110, 60), None, ("green", "brown")),
    ),
}


@dataclass(frozen=True)
class Thing:
    """Something in a picture. `box` is left, top, right, bottom in pixels."""

    kind: str
    colour: str
    box: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Scene:
    """A picture before it is drawn. No two things have the same kind and colour; `word` stands on the sign."""

    source: Source
    width: int
    height: int
    place: Place
    things: tuple[Thing, ...]
    word: str | None

    def centre(self, thing: Thing) -> tuple[float, float]:
        """Horizontal and vertical position of its middle, each from 0 to 1."""
        left, top, right, bottom = thing.box
        return (left + right) / 2 / self.width, (top + bottom) / 2 / self.height


def imagine_scene(rng: random.Random, source: Source) -> Scene:
    """A random scene of one source; pictures are 64 to 160 pixels wide and high, half of them square."""
    width = rng.randrange(64, 161, 4)
    height = width if rng.random() < 0.5 else rng.randrange(64, 161, 4)
    place = rng.choice(PLACES[source])
    colours = [colour for colour in COLOURS if colour not in place.hidden]
    things = []
    # Nothing floats high above the ground.
    free = (0, height // 8 if source == "scenes" else 0, width, height)
    word = None
    if source == "signs":
        word = rng.choice(WORDS)
        board = (width // 16, height // 12, width - width // 16, height * 11 // 20)
        things.append(Thing("sign", rng.choice(colours), board))
        free = (0, board[3] + 2, width, height)
    cells = _cells(free, 3 if source == "signs" else 6)
    count = rng.randint(1, 3) if source == "signs" else rng.randint(2, 5)
    # Few kinds, so that things of one kind in different colours occur and can be counted.
    kinds = rng.sample(OBJECTS if source == "scenes" else SHAPES, 3)
    names = [(kind, colour) for kind in kinds for colour in colours]
    for (kind, colour), cell in zip(rng.sample(names, count), rng.sample(cells, count), strict=True):
        things.append(Thing(kind, colour, _inside(rng, cell)))
    return Scene(source, width, height, place, tuple(things), word)


def draw_scene(scene: Scene) -> Image.Image:
    """The picture of a scene, in RGB."""
    image = Image.new("RGB", (scene.width, scene.height), scene.place.sky)
    canvas = ImageDraw.Draw(image)
    if scene.place.ground is not None:
        canvas.rectangle((0, scene.height // 4, scene.width, scene.height), fill=scene.place.ground)
    for thing in scene.things:
        draw_thing(canvas, thing)
        if thing.kind == "sign" and scene.word is not None:
            dark = sum(COLOURS[thing.colour]) < 380
            _write(image, scene.word, thing.box, (255, 255, 255) if dark else (0, 0, 0))
    return image


def _cells(area: tuple[int, int, int, int], count: int) -> list[tuple[int, int, int, int]]:
    """The area cut into `count` cells, three in a row or, where it is taller than wide, three in a column."""
    left, top, right, bottom = area
    wide = right - left >= bottom - top
    columns, rows = (3, count // 3) if wide else (count // 3, 3)
    width, height = (right - left) // columns, (bottom - top) // rows
    return [
        (left + column * width, top + row * height, left + (column + 1) * width, top + (row + 1) * height)
        for row in range(rows)
        for column in range(columns)
    ]


def _inside(rng: random.Random, cell: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """A random square within a cell."""
    left, top, right, bottom = cell
    room = min(right - left, bottom - top) - 2
    size = max(round(room * rng.uniform(0.7, 1.0)), 8)
    x = left + rng.randint(1, max(right - left - size - 1, 1))
    y = top + rng.randint(1, max(bottom - top - size - 1, 1))
    return x, y, x + size, y + size


def draw_thing(canvas: ImageDraw.ImageDraw, thing: Thing) -> None:
    left, top, right, bottom = thing.box
    width, height = right - left, bottom - top
    fill = COLOURS[thing.colour]
    dark: RGB = (30, 30, 30) if thing.colour != "black" else (110, 110, 110)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(left + x * width, top + y * height) for x, y in points]

    match thing.kind:
        case "circle":
            canvas.ellipse(thing.box, fill=fill)
        case "square" | "sign":
            canvas.rectangle(thing.box, fill=fill)
        case "triangle":
            canvas.polygon(at((0.5, 0), (1, 1), (0, 1)), fill=fill)
        case "diamond":
            canvas.polygon(at((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)), fill=fill)
        case "cross":
            canvas.rectangle(at((0.35, 0), (0.65, 1)), fill=fill)
            canvas.rectangle(at((0, 0.35), (1, 0.65)), fill=fill)
        case "star":
            radii = [(0.5, 0.2)[index % 2] for index in range(10)]
            points = [(0.5 + r * sin(i * pi / 5), 0.5 - r * cos(i * pi / 5)) for i, r in enumerate(radii)]
            canvas.polygon(at(*points), fill=fill)
        case "house":
            canvas.rectangle(at((0.1, 0.45), (0.9, 1)), fill=fill)
            canvas.polygon(at((0.5, 0), (1, 0.45), (0, 0.45)), fill=fill, outline=dark)
            canvas.rectangle(at((0.42, 0.65), (0.58, 1)), fill=dark)
        case "tree":
            canvas.rectangle(at((0.42, 0.55), (0.58, 1)), fill=dark)
            canvas.ellipse(at((0.1, 0), (0.9, 0.7)), fill=fill)
        case "car":
            canvas.polygon(at((0.25, 0.25), (0.7, 0.25), (0.85, 0.5), (0.15, 0.5)), fill=fill, outline=dark)
            canvas.rectangle(at((0, 0.5), (1, 0.8)), fill=fill)
            canvas.ellipse(at((0.1, 0.65), (0.4, 1)), fill=dark)
            canvas.ellipse(at((0.6, 0.65), (0.9, 1)), fill=dark)
        case "flower":
            canvas.rectangle(at((0.46, 0.5), (0.54, 1)), fill=dark)
            for x, y in ((0.3, 0.0), (0.3, 0.4), (0.1, 0.2), (0.5, 0.2)):
                canvas.ellipse(at((x, y), (x + 0.4, y + 0.4)), fill=fill)
            canvas.ellipse(at((0.4, 0.3), (0.6, 0.5)), fill=dark)
        case "boat":
            canvas.polygon(at((0, 0.7), (1, 0.7), (0.8, 1), (0.2, 1)), fill=fill)
            canvas.polygon(at((0.5, 0), (0.9, 0.6), (0.5, 0.6)), fill=fill, outline=dark)
            canvas.rectangle(at((0.47, 0), (0.51, 0.7)), fill=dark)


def _write(image: Image.Image, word: str, box: tuple[int, int, int, int], fill: RGB) -> None:
    """Write a word into a box, as large as fits."""
    # The bitmap font is part of Pillow; a scalable one depends on how Pillow was built.
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = (round(edge) for edge in font.getbbox(word))
    letters = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(letters).text((-left, -top), word, fill=255, font=font)
    letters = letters.crop(letters.getbbox())
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(width * 0.9 / letters.width, height * 0.7 / letters.height)
    size = max(round(letters.width * scale), 1), max(round(letters.height * scale), 1)
    letters = letters.resize(size, Image.Resampling.BILINEAR)
    corner = box[0] + (width - size[0]) // 2, box[1] + (height - size[1]) // 2
    image.paste(Image.new("RGB", size, fill), corner, letters)
