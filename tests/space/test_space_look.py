"""The colours of the emotions: told apart by colour-blind people too, and seen on their ground."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import iec_hub.space
from iec_hub.emotions import EMOTION_MODELS

STYLE = (Path(iec_hub.space.__file__).parent / "style.css").read_text("utf-8")
# What is seen in linear RGB without one kind of cone: Machado, Oliveira and Fernandes (IEEE TVCG 2009), severity 1.
BLIND = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = XYZ.sum(axis=1)
# CIE76 units: about 2.3 is just noticeable side by side; bars stand rows apart, so more is asked for.
LEAST_DISTANCE = 8.0


def colours(theme: str) -> dict[str, np.ndarray]:
    """Each emotion's colour in a theme as RGB from 0 to 1."""
    blocks = re.findall(r"^(\.dark )?\S[^{}]*\{([^}]*--iec-joy[^}]*|[^}]*--iec-disgust[^}]*)\}", STYLE, re.MULTILINE)
    found: dict[str, str] = {}
    for dark, block in blocks:
        if not dark or theme == "dark":
            found |= dict(re.findall(r"--iec-([a-z]+): (#[0-9a-f]{6});", block))
    return {name: np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255 for name, code in found.items()}


def linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """Linear RGB as CIELAB."""
    x = np.clip(light, 0, 1) @ XYZ.T / WHITE
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_measure_knows_colours_that_colour_blind_people_mix_up() -> None:
    red, green = np.array([0.75, 0.25, 0.1]), np.array([0.45, 0.42, 0.1])
    seen = {
        kind: np.linalg.norm(lab(matrix @ linear(red)) - lab(matrix @ linear(green))) for kind, matrix in BLIND.items()
    }
    assert seen["deuteranopia"] < seen["none"] / 2 and seen["none"] > 40


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", BLIND)
def test_emotions_have_colours_that_everybody_can_tell_apart(theme: str, kind: str) -> None:
    seen = {name: lab(BLIND[kind] @ linear(rgb)) for name, rgb in colours(theme).items()}
    assert len(seen) == 9
    distances = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a, b in itertools.combinations(seen, 2)}
    nearest = min(distances, key=distances.get)
    assert distances[nearest] >= LEAST_DISTANCE, (nearest, distances[nearest])


def test_every_emotion_of_a_model_has_a_colour_of_its_own() -> None:
    from iec_hub.space.rendering import label_colours

    for model in EMOTION_MODELS.values():
        given = label_colours(list(model.labels))
        assert set(given) <= set(colours("light")) and len(set(given)) == len(given), model.name


def test_nothing_of_how_the_page_looks_is_loaded_from_another_site() -> None:
    pytest.importorskip("gradio")
    from iec_hub.space.theme import page_theme

    elsewhere = r"@import|url\((?!\s*['\"]?data:)"
    folder = Path(iec_hub.space.__file__).parent
    for file in (*folder.glob("*.css"), *folder.glob("*.js")):
        assert not re.search(f"{elsewhere}|https?:", file.read_text("utf-8")), file.name
    theme = page_theme()
    assert theme._stylesheets == theme._font_css == [] and not re.search(elsewhere, theme._get_theme_css())
