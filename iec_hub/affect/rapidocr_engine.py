"""RapidOCR's packaged PP-OCRv6 models: finding lines of text in pixels and reading them, blanks included.

Beside what RapidOCR does itself: shrinking averages pixels, so that small letters survive; sessions do not spin while
they wait, so that other work on the same processor goes on; each line is read at its own length; and each gap between
letters comes with the recognition's trust that there is a blank, which it often gives without writing one.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iec_hub.errors import DataError

INSTALL = "pip install 'iec-hub[ocr]'"
_PACKAGES = ("rapidocr", "onnxruntime", "wordsegment")
_DETECTION, _RECOGNITION = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
# The detection takes sides that are multiples of this.
_STEP = 32
# The height that the recognition reads at, and the width per height that it takes at most and at least.
_LINE_HEIGHT, _LONGEST_SHAPE, _SHORTEST_SHAPE = 48, 80.0, 1.0
# A crop this much higher than wide holds text that stands sideways: RapidOCR turns it.
_SIDEWAYS = 1.5
_BLANK_LABEL = 0


@dataclass(frozen=True)
class ReadLine:
    """What stands in one crop.

    Attributes:
        text: as the engine wrote it.
        confidence: mean of its characters' probabilities, 0 where there are none.
        blanks: per character the greatest probability of a blank since the character before it.
    """

    text: str
    confidence: float
    blanks: tuple[float, ...]


def missing_packages() -> list[str]:
    """The packages of the extra `ocr` that are not installed."""
    return [package for package in _PACKAGES if importlib.util.find_spec(package) is None]


class _Settings(dict):
    """What RapidOCR's parts take as their settings: a mapping whose entries are attributes too."""

    __getattr__ = dict.__getitem__


class RapidEngine:
    """The two models, loaded once; its methods change nothing, so any number of threads may call them.

    Args:
        threads: processor threads of each call.

    Raises:
        DataError: if a package is missing or does not carry the models.
    """

    def __init__(self, threads: int) -> None:
        missing = missing_packages()
        if missing:
            raise DataError(f"Reading text in images needs {', '.join(missing)}, not installed here; run: {INSTALL}")
        # RapidOCR announces each model on the console, from a logger that hands nothing on.
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        from rapidocr.ch_ppocr_det import TextDetector
        from rapidocr.ch_ppocr_rec import TextRecognizer
        from rapidocr.utils.process_img import get_rotate_crop_image
        from rapidocr.utils.typings import EngineType, LangRec

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        shared = {"engine_type": EngineType.ONNXRUNTIME, "mean": [0.5] * 3, "std": [0.5] * 3}
        # What config.yaml sets for these models; copies come in the size that is to be looked at.
        finding = {"limit_side_len": _STEP, "limit_type": "min", "box_thresh": 0.5, "unclip_ratio": 1.6}
        reading = {"lang_type": LangRec.CH, "rec_batch_num": 1, "rec_img_shape": [3, _LINE_HEIGHT, 320]}
        self._detector = TextDetector(_Settings(shared | finding, session=_session(_DETECTION, threads)))
        self._recognizer = TextRecognizer(_Settings(shared | reading, session=_session(_RECOGNITION, threads)))
        self._crop = get_rotate_crop_image
        self._letters: list[str] = self._recognizer.postprocess_op.character
        self._blanks = [number for number, letter in enumerate(self._letters) if letter in (" ", "\u3000")]

    def find_lines(self, pixels: np.ndarray, scale: float) -> np.ndarray:
        """Boxes `(n, 4, 2)` of lines, float32 corners `(x, y)` in the given pixels, clockwise from the top left.

        Args:
            pixels: `(height, width, 3)` uint8 in the order blue, green, red.
            scale: of the copy that is looked at; each side is rounded to a multiple of 32, 32 at least.
        """
        import cv2

        height, width = pixels.shape[:2]
        size = [max(_STEP, round(side * scale / _STEP) * _STEP) for side in (width, height)]
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled = pixels if size == [width, height] else cv2.resize(pixels, size, interpolation=method)
        probabilities = self._detector.session(self._detector.get_preprocess()(scaled))
        boxes, _ = self._detector.postprocess_op(probabilities, (height, width))
        return np.asarray(boxes, dtype=np.float32).reshape(-1, 4, 2)

    def crop_line(self, pixels: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of one line and its box, which begins at the top left of the crop: text that runs downwards in
        the picture comes turned, and so do its corners."""
        crop = self._crop(pixels, box.copy())
        lying = max(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[2] - box[3]))
        standing = max(np.linalg.norm(box[0] - box[3]), np.linalg.norm(box[1] - box[2]))
        sideways = int(standing) / max(int(lying), 1) >= _SIDEWAYS
        return crop, np.roll(box, -1, axis=0) if sideways else box

    def read_line(self, crop: np.ndarray) -> ReadLine:
        """The text of a crop `(height, width, 3)` uint8 (blue, green, red) that holds one line."""
        shape = crop.shape[1] / max(crop.shape[0], 1)
        shape = min(max(shape, _SHORTEST_SHAPE), _LONGEST_SHAPE)
        batch = self._recognizer.resize_norm_img(crop, shape)[np.newaxis].astype(np.float32)
        return self._decoded(self._recognizer.session(batch)[0])

    def _decoded(self, probabilities: np.ndarray) -> ReadLine:
        """Greedy decoding of CTC: `(steps, labels)` to text; equal neighbours are one letter, label 0 is none."""
        labels = probabilities.argmax(axis=1)
        fresh = np.flatnonzero((labels != _BLANK_LABEL) & (labels != np.concatenate([[-1], labels[:-1]])))
        trust = probabilities[:, self._blanks].max(axis=1)
        texts, blanks, end = [], [], 0
        for start in fresh.tolist():
            letter = self._letters[labels[start]]
            between = float(trust[end : start + 1].max()) if texts and letter.strip() else 0.0
            texts.append(letter)
            blanks += [between] + [0.0] * (len(letter) - 1)
            end = start
            while end + 1 < len(labels) and labels[end + 1] == labels[start]:
                end += 1
            end += 1
        confidence = float(probabilities[fresh, labels[fresh]].mean()) if len(fresh) else 0.0
        return ReadLine("".join(texts), min(max(confidence, 0.0), 1.0), tuple(blanks))


def _session(model: str, threads: int) -> Any:
    """An ONNX Runtime session over a model file that the installed package carries."""
    import onnxruntime

    # Looked up and not left to RapidOCR, which would download what it lacks.
    package = importlib.util.find_spec("rapidocr")
    path = Path(package.submodule_search_locations[0]) / "models" / model
    if not path.is_file():
        raise DataError(f"The installed rapidocr does not carry {model}; run: pip install rapidocr==3.10.0")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
