"""Captioned images from data sets and tables: what is read, what is drawn in an epoch, and what is refused."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from iec_hub.affect.caption_data import build_caption_data
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError
from iec_hub.finetuning.captioned_images import (
    CaptionedImage,
    CaptionPairs,
    caption_pairs,
    read_caption_data,
    read_caption_table,
)
from iec_hub.images import open_image
from tests.finetuning.conftest import write_csv


def test_wordings_change_with_the_epoch_and_can_be_repeated(pictures: list[Path]) -> None:
    items = [CaptionedImage(path, tuple(f"wording {i}" for i in range(6))) for path in pictures[:6]]

    def epochs(seed: int) -> list[list[tuple[str, bytes]]]:
        data, seen = CaptionPairs(items, seed=seed), []
        for epoch in (0, 1):
            data.set_epoch(epoch)
            seen.append([(item["caption"], item["image"].tobytes()) for item in map(data.__getitem__, range(6))])
        return seen

    assert epochs(3) == epochs(3) and epochs(3) != epochs(4)
    first, second = epochs(3)
    assert [caption for caption, _ in first] != [caption for caption, _ in second]
    plain = CaptionPairs(items, augment=False)
    assert all(plain[i]["caption"] == "wording 0" for i in range(6))
    originals = [open_image(path, max_side=512) for path in pictures[:6]]
    assert all(plain[i]["image"].tobytes() == original.tobytes() for i, original in enumerate(originals))
    mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes() for image in originals]
    shown = [pixels for epoch in (first, second) for _, pixels in epoch]
    assert all(pixels in (originals[i % 6].tobytes(), mirrored[i % 6]) for i, pixels in enumerate(shown))
    assert any(pixels == mirrored[i % 6] for i, pixels in enumerate(shown))
    sided = CaptionPairs([CaptionedImage(path, ("A dog on the Left.",)) for path in pictures[:6]])
    assert all(sided[i]["image"].tobytes() == originals[i].tobytes() for i in range(6))


@pytest.fixture(scope="module")
def labelled(pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures with emotions, two of them to validate on, one caption each by people."""
    folder = tmp_path_factory.mktemp("images") / "small"
    (folder / "images").mkdir(parents=True)
    rows = []
    for i, path in enumerate(pictures[:6]):
        shutil.copyfile(path, folder / "images" / f"{i}.jpg")
        emotion = EMOTION_MODELS["mikels8"].labels[i]
        rows.append({"file_name": f"images/{i}.jpg", "split": "train" if i < 4 else "validation", "emotion": emotion})
        rows[-1]["caption"] = f"by people {i}"
    write_csv(folder / "metadata.csv", rows)
    return folder


def test_caption_data_sets_are_read_by_path(labelled: Path, tmp_path: Path) -> None:
    build_caption_data([labelled], tmp_path / "captions", variants=3)
    train = read_caption_data(tmp_path / "captions", "train", labelled)
    assert [item.image for item in train] == [labelled / "images" / f"{i}.jpg" for i in range(4)]
    assert all(len(item.captions) > 1 for item in train)
    assert read_caption_data(tmp_path / "captions", "train", labelled.parent) == train
    assert read_caption_data(tmp_path / "captions", "train", {"small": labelled}) == train
    assert read_caption_data(tmp_path / "captions", "test", labelled) == []
    people = read_caption_data(tmp_path / "captions", "train", labelled, human_captions=True)
    assert [item.captions for item in people] == [(*item.captions, f"by people {i}") for i, item in enumerate(train)]
    told = read_caption_data(tmp_path / "captions", "validation", labelled, emotion_words=True)
    words = EMOTION_MODELS["mikels8"].labels[4:6]
    assert all(word in item.captions[0] for word, item in zip(words, told, strict=True))
    assert not {c for item in told for c in item.captions} & {c for item in train for c in item.captions}
    pairs, held_out = caption_pairs([tmp_path / "captions"], [labelled], seed=5)
    assert list(pairs.items) == train and (pairs.seed, pairs.augment) == (5, True)
    assert len(held_out) == 2 and not held_out.augment
    with pytest.raises(DataError, match=r'the pictures of "small" are not inside; give the folder of its images\.$'):
        read_caption_data(tmp_path / "captions")
    with pytest.raises(DataError, match=r'there is no image "images/0\.jpg" in [^\n]*\.$'):
        read_caption_data(tmp_path / "captions", "train", tmp_path)


def test_caption_data_sets_with_the_pictures_inside(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    build_caption_data([labelled], tmp_path / "captions", images="bytes")
    pairs, held_out = caption_pairs([tmp_path / "captions"])
    assert len(pairs) == 4 and len(held_out) == 2
    expected = open_image(labelled / "images" / "4.jpg", max_side=512)
    assert held_out[0]["image"].tobytes() == expected.tobytes()


def test_what_is_no_caption_data_set_is_one_sentence(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'^"small" is no affective caption data set: [^\n]*\.$'):
        read_caption_data(labelled)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(DataError, match=r'^"train\.parquet" cannot be read as a parquet file; [^\n]*\.$'):
        read_caption_data(tmp_path)
    with pytest.raises(DataError, match=r"^2 caption data sets came with 1 image folders; give one each\.$"):
        caption_pairs([tmp_path, tmp_path], [tmp_path])
    assert caption_pairs() is None


def test_a_name_in_the_data_leads_nowhere_else(labelled: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    build_caption_data([labelled], tmp_path / "captions")
    path = tmp_path / "captions" / "data" / "train.parquet"
    rows = parquet.read_table(path).to_pylist()
    rows[0]["file_name"] = "../small/images/0.jpg"
    rows[1]["dataset"] = ".."
    parquet.write_table(pa.Table.from_pylist(rows), path)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "small").symlink_to(labelled)
    (tmp_path / "images").symlink_to(labelled / "images")
    found = read_caption_data(tmp_path / "captions", "train", tmp_path / "root")
    assert [item.image.name for item in found] == ["2.jpg", "3.jpg"]


def test_tables_give_each_caption_by_itself(
    pictures: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copyfile(pictures[0], tmp_path / "a.jpg")
    rows = [
        {"file_name": "a.jpg", "split": "train", "caption": "One\nline.", "caption_2": "Two."},
        {"file_name": "a.jpg", "split": "validation", "caption": "Three.", "caption_2": ""},
        {"file_name": "a.jpg", "split": "train", "caption": " ", "caption_2": ""},
        {"file_name": "gone.jpg", "split": "train", "caption": "Four.", "caption_2": ""},
    ]
    path = write_csv(tmp_path / "captions.csv", rows)
    (item,) = read_caption_table(path)
    assert item == CaptionedImage(tmp_path / "a.jpg", ("One line.", "Two."), "captions.csv:2")
    assert "captions.csv: 2 rows are left out; the first: captions.csv:4" in caplog.text
    train, validation = caption_pairs(captions=[path])
    assert len(train) == 1 and validation[0]["caption"] == "Three."
    path.write_bytes("file_name,caption\na.jpg,é".encode("latin-1"))
    with pytest.raises(DataError, match=r"^captions\.csv is not a CSV file in UTF-8; convert it\.$"):
        read_caption_table(path)
