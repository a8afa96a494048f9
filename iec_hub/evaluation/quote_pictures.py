"""Quote pictures: sentences of known emotion drawn over photographs, to measure how well text in pictures is read.

What such a picture makes people feel is mostly what its sentence says, so a method that reads text should find it and
one that does not cannot. The sentences are meant to be those of GoEmotions (Demszky et al., ACL 2020), the photographs
such as nobody finds pleasant or unpleasant.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iec_hub.errors import DataError

if TYPE_CHECKING:
    from PIL import Image, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow looks these names up in the system's font folders; most desktops have some of them.
SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansCondensed-Bold.ttf", "DejaVuSerif.ttf"),
    *("DejaVuSansMono.ttf", "LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf", "LiberationSansNarrow-Bold.ttf"),
    *("LiberationSerif-Regular.ttf", "LiberationSerif-BoldItalic.ttf", "LiberationMono-Regular.ttf", "Impact.ttf"),
)
PILLOW_FONT = ""
SMALLEST_FONT = 14
FEWEST_WORDS, MOST_WORDS = 5, 20
_HEAVY = re.compile(r"bold|black|heavy|impact|anton|bebas|fjalla|oswald", re.IGNORECASE)
_THIN = re.compile(r"thin|light|hairline", re.IGNORECASE)
# Read as HTML, a link or a name that GoEmotions masked: nobody would print those.
_UNQUOTABLE = re.compile(r"\[|\]|https?:|www\.|&\w+;|\br/|\bu/|[*_^~\\|<>]")
_BRIGHT = (
    *((255, 221, 51), (255, 120, 190), (120, 255, 140), (90, 220, 255)),
    *((255, 150, 60), (190, 20, 40), (30, 40, 150)),
)
_MARGIN = 0.04


@dataclass(frozen=True)
class Quote:
    """A sentence and its one emotion."""

    text: str
    label: str


@dataclass(frozen=True)
class QuoteStyle:
    """How a sentence stands in a picture; what is a range or a choice is drawn by the seed.

    Attributes:
        name: shown in tables.
        place: "top and bottom" (a meme's two blocks), "centre", "bottom", "anywhere" or "panel" (a bar above, below or
            beside the photograph).
        sizes: least and greatest height of the font as a share of the photograph's shorter side, before it shrinks
            until the sentence fits.
        colours: "white", "contrast" (black or white, whichever stands out) or "bright" (a colour with an outline).
        outline: width of the outline as a share of the font's height.
        behind: opacity of the box behind the text, 0 for none.
        dim: how much of its light the photograph keeps.
        rotation: most degrees that the text is turned either way.
        upper: upper case.
        heavy: heavy or narrow fonts only, where there are any.
    """

    name: str
    place: str
    sizes: tuple[float, float]
    colours: str = "contrast"
    outline: float = 0.0
    behind: float = 0.0
    dim: float = 1.0
    rotation: float = 0.0
    upper: bool = False
    heavy: bool = False


STYLES = (
    QuoteStyle("meme", "top and bottom", (0.09, 0.13), "white", outline=0.07, upper=True, heavy=True),
    QuoteStyle("subtitle", "bottom", (0.05, 0.08), "white", outline=0.06),
    QuoteStyle("boxed", "anywhere", (0.05, 0.09), behind=0.85),
    QuoteStyle("dimmed", "centre", (0.06, 0.1), "white", dim=0.45),
    QuoteStyle("panel", "panel", (0.06, 0.1)),
    QuoteStyle("bright", "centre", (0.07, 0.11), "bright", outline=0.08),
    QuoteStyle("turned", "centre", (0.06, 0.09), "white", outline=0.07, rotation=12),
    QuoteStyle("small", "anywhere", (0.035, 0.045), behind=0.7),
)


@dataclass(frozen=True)
class QuotePicture:
    """A photograph with a quote in it.

    Attributes:
        image: RGB.
        quote: what stands in it (in upper case where the style says so).
        style: name of the style.
        font: name of the font's file, "Pillow's own" for the one that Pillow carries.
        size: height of the font in pixels.
        rotation: degrees, counter-clockwise.
        background: index of the photograph.
        boxes: the blocks of text as `(left, top, right, bottom)` in pixels, around the turned text.
    """

    image: Image.Image
    quote: Quote
    style: str
    font: str
    size: int
    rotation: float
    background: int
    boxes: tuple[tuple[int, int, int, int], ...]


def read_quotes(texts: str | Path, labels: str | Path) -> list[Quote]:
    """The comments of GoEmotions that can be quoted: one label, 5 to 20 words, plain ASCII, no link, no masked name.

    Args:
        texts: lines of text, comma-separated label numbers and id, with tabs between them.
        labels: one label per line, numbered from 0.

    Raises:
        DataError: if a file cannot be read or no line can be used.
    """
    try:
        names = Path(labels).read_text(encoding="utf-8").split()
        lines = Path(texts).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        kind = type(error).__name__
        raise DataError(f"The sentences cannot be read ({kind}); give GoEmotions' two files.") from error
    quotes = []
    for line in lines:
        text, _, rest = line.partition("\t")
        number = rest.partition("\t")[0]
        if number.isdecimal() and int(number) < len(names) and is_quotable(text):
            quotes.append(Quote(" ".join(text.split()), names[int(number)]))
    if not quotes:
        raise DataError("No line of the sentences has a text and one label number; give GoEmotions' two files.")
    return quotes


def is_quotable(text: str) -> bool:
    """Whether a sentence can be drawn with any font and read back without doubt about what its words are."""
    words = FEWEST_WORDS <= len(text.split()) <= MOST_WORDS
    return words and text.isascii() and text.isprintable() and not _UNQUOTABLE.search(text)


def balanced_quotes(quotes: Sequence[Quote], per_label: int, seed: int = 0) -> list[Quote]:
    """`per_label` different quotes of each label in turn, shuffled by the seed.

    Raises:
        DataError: if a label has fewer.
    """
    chosen: list[list[Quote]] = []
    for label in sorted({quote.label for quote in quotes}):
        own = sorted({quote.text: quote for quote in quotes if quote.label == label}.values(), key=lambda q: q.text)
        if len(own) < per_label:
            raise DataError(f"There are {len(own)} quotes of {label!r} and {per_label} were asked for; ask for fewer.")
        chosen.append(random.Random(f"{seed} {label}").sample(own, per_label))
    return [quote for group in zip(*chosen, strict=True) for quote in group]


def quote_pictures(
    quotes: Sequence[Quote],
    photographs: Sequence[Image.Image],
    seed: int = 0,
    fonts: Sequence[str | Path] | None = None,
    styles: Sequence[QuoteStyle] = STYLES,
    short_sides: Sequence[int] = (400, 480, 640, 800),
) -> Iterator[QuotePicture]:
    """One picture per quote; the styles take turns, everything else is drawn by the seed.

    Args:
        quotes: what to draw.
        photographs: RGB; scaled so that the shorter side has one of `short_sides` pixels.
        seed: the same seed and fonts give the same pictures.
        fonts: files; by default :func:`find_fonts`.
        styles: those to use.
        short_sides: choices, in pixels.

    Raises:
        DataError: if there is no photograph or a font cannot be read.
    """
    if not photographs or not styles:
        raise DataError("Quote pictures need at least one photograph and one style; give them.")
    faces = [str(font) for font in (find_fonts() if fonts is None else fonts)] or [PILLOW_FONT]
    for font in faces:
        load_font(font, SMALLEST_FONT)
    names = {font: Path(font).name for font in faces}
    heavy = [font for font in faces if _HEAVY.search(names[font])] or faces
    # Nobody draws hair lines with an outline: nothing would be left of them.
    firm = [font for font in faces if not _THIN.search(names[font])] or faces
    for index, quote in enumerate(quotes):
        draw = random.Random(f"{seed} {index}")
        style = styles[index % len(styles)]
        background = draw.randrange(len(photographs))
        photograph = _scaled(photographs[background], draw.choice(list(short_sides)))
        font = draw.choice(heavy if style.heavy else firm if style.outline else faces)
        yield _draw_quote(quote, photograph, background, style, font, draw)


def find_fonts(folders: Sequence[str | Path] = ()) -> list[str]:
    """Every font file in the folders and those of :data:`SYSTEM_FONTS` that are installed, then Pillow's own ("")."""
    files = {path for folder in folders for path in Path(folder).rglob("*") if path.suffix.lower() in (".ttf", ".otf")}
    installed = []
    for name in SYSTEM_FONTS:
        try:
            load_font(name, SMALLEST_FONT)
            installed.append(name)
        except DataError:
            continue
    return [*map(str, sorted(files)), *installed, PILLOW_FONT]


def load_font(font: str | Path, size: int) -> Font:
    """A font file, or the font that Pillow carries for "", at a height in pixels.

    Raises:
        DataError: if it cannot be read.
    """
    from PIL import ImageFont

    try:
        return ImageFont.truetype(str(font), size) if str(font) else ImageFont.load_default(size)
    except (OSError, ImportError) as error:
        raise DataError(
            f"{Path(font).name!r} is no font that can be read; give a TrueType or OpenType one."
        ) from error


def quote_words(text: str) -> Counter[str]:
    """The words of a text in lower case with their numbers, without punctuation: "Don't!" is "dont"."""
    return Counter(word for part in text.lower().split() if (word := re.sub(r"[^\w]|_", "", part)))


def word_recall(text: str, read: str) -> tuple[int, int]:
    """How many of the text's words were read, each as often as it stands there, and how many there are."""
    wanted, found = quote_words(text), quote_words(read)
    return (wanted & found).total(), wanted.total()


def _scaled(photograph: Image.Image, short_side: int) -> Image.Image:
    from PIL import Image

    scale = short_side / min(photograph.size)
    size = [max(1, round(side * scale)) for side in photograph.size]
    return photograph.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _draw_quote(
    quote: Quote, picture: Image.Image, background: int, style: QuoteStyle, font: str, draw: random.Random
) -> QuotePicture:
    height = max(SMALLEST_FONT, round(min(picture.size) * draw.uniform(*style.sizes)))
    rotation = draw.uniform(-style.rotation, style.rotation)
    text = quote.text.upper() if style.upper else quote.text
    if style.dim < 1:
        picture = picture.point(lambda value: round(value * style.dim))
    areas = [_margins((0, 0, *picture.size))]
    if style.place == "panel":
        picture, panel = _with_panel(picture, draw)
        areas = [_margins(panel)]
    words, texts = text.split(), [text]
    if style.place == "top and bottom":
        left, top, right, bottom = areas[0]
        third = (bottom - top) // 3
        areas = [(left, top, right, top + third), (left, bottom - third, right, bottom)]
        half = (len(words) + 1) // 2
        texts = [" ".join(words[:half]), " ".join(words[half:])]
    # Both blocks of a meme have one size of letters.
    height = min(_fitting(part, font, height, area, rotation) for part, area in zip(texts, areas, strict=True))
    boxes = []
    for number, (part, area) in enumerate(zip(texts, areas, strict=True)):
        place = ("top", "bottom")[number] if len(areas) > 1 else style.place
        boxes.append(_paste_block(picture, part, area, style, place, font, height, rotation, draw))
    name = Path(font).name or "Pillow's own"
    return QuotePicture(picture, quote, style.name, name, height, rotation, background, tuple(boxes))


def _margins(area: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = area
    margin = round(_MARGIN * min(right - left, bottom - top))
    return left + margin, top + margin, right - margin, bottom - margin


def _with_panel(picture: Image.Image, draw: random.Random) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The photograph beside a plain panel, and the panel's place."""
    from PIL import Image

    width, height = picture.size
    side = draw.choice(("above", "below", "left", "right"))
    beside = side in ("left", "right")
    extra = round((width if beside else height) * draw.uniform(0.5, 0.8))
    size = (width + extra, height) if beside else (width, height + extra)
    colour = draw.choice(((255, 255, 255), (0, 0, 0), (245, 235, 215), (40, 50, 70), (200, 225, 235)))
    canvas = Image.new("RGB", size, colour)
    first = side in ("left", "above")
    offset = ((extra if beside else 0), (0 if beside else extra)) if first else (0, 0)
    canvas.paste(picture, offset)
    start = (0, 0) if first else ((width, 0) if beside else (0, height))
    return canvas, (*start, start[0] + (extra if beside else width), start[1] + (height if beside else extra))


def _wrapped(text: str, font: Font, width: float) -> list[str]:
    """Lines no longer than the width, greedily; a longer word stands alone."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _block(text: str, font: str, height: int, width: float) -> tuple[list[str], Font, int, int]:
    """Lines of a block, its font, and its width and height in pixels with some room around it."""
    face = load_font(font, height)
    room = height // 2
    lines = _wrapped(text, face, width - 2 * room)
    longest = max((face.getlength(line) for line in lines), default=0)
    return lines, face, round(longest) + 2 * room, round(1.3 * height * len(lines)) + 2 * room


def _fitting(text: str, font: str, height: int, area: tuple[int, int, int, int], rotation: float) -> int:
    """The greatest height of letters, at most `height`, at which the text, turned, fits into the area."""
    # A turned block needs room at its corners; 3 % per degree of what a block of usual shape has is enough.
    share = 1 - abs(rotation) * 0.03
    width, tall = (area[2] - area[0]) * min(1.0, share + 0.25), (area[3] - area[1]) * share
    while height > SMALLEST_FONT:
        _, _, wide, high = _block(text, font, height, width)
        if wide <= width and high <= tall:
            break
        height -= 1
    return height


def _paste_block(
    picture: Image.Image,
    text: str,
    area: tuple[int, int, int, int],
    style: QuoteStyle,
    place: str,
    font: str,
    height: int,
    rotation: float,
    draw: random.Random,
) -> tuple[int, int, int, int]:
    """Draw one block of text into the picture; returns where it stands."""
    from PIL import Image, ImageDraw

    room = area[2] - area[0]
    if rotation:
        room *= min(1.0, 1.25 - abs(rotation) * 0.03)
    lines, face, width, tall = _block(text, font, height, room)
    x = (area[0] + area[2] - width) // 2
    y = (area[1] + area[3] - tall) // 2
    if place == "anywhere":
        x = draw.randint(area[0], max(area[0], area[2] - width))
        y = draw.randint(area[1], max(area[1], area[3] - tall))
    elif place in ("top", "bottom"):
        y = area[1] if place == "top" else area[3] - tall
    ink, around = _colours(style, picture, (x, y, x + width, y + tall), draw)
    layer = Image.new("RGBA", (width, tall), (*around, 0))
    pen = ImageDraw.Draw(layer)
    if style.behind:
        pen.rectangle((0, 0, width, tall), fill=(*around, round(255 * style.behind)))
    outline = max(1, round(style.outline * height)) if style.outline else 0
    for number, line in enumerate(lines):
        middle = (width / 2, height / 2 + 1.3 * height * (number + 0.5))
        pen.text(middle, line, ink, face, anchor="mm", stroke_width=outline, stroke_fill=around)
    turned = layer.rotate(rotation, Image.Resampling.BICUBIC, expand=True) if rotation else layer
    x, y = x - (turned.width - width) // 2, y - (turned.height - tall) // 2
    picture.paste(turned, (x, y), turned)
    return x, y, x + turned.width, y + turned.height


def _colours(
    style: QuoteStyle, picture: Image.Image, box: tuple[int, int, int, int], draw: random.Random
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The colour of the letters and the one of what is around them (outline or box)."""
    black, white = (0, 0, 0), (255, 255, 255)
    if style.colours == "white":
        return white, black
    if style.colours == "bright":
        ink = draw.choice(_BRIGHT)
        # Rec. 601's weights of red, green and blue in brightness.
        light = 0.299 * ink[0] + 0.587 * ink[1] + 0.114 * ink[2]
        return ink, black if light > 110 else white
    if style.behind:
        return draw.choice(((white, black), (black, white), (white, (140, 20, 50)), ((30, 50, 120), white)))
    light = picture.crop(box).convert("L").resize((1, 1), resample=4).getpixel((0, 0))
    return (black, white) if light > 127 else (white, black)
