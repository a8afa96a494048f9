import csv
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from datasets import Image, List, load_dataset
from pyarrow import parquet

from iec_hub.affect import caption_data
from iec_hub.affect.attributes import ImageAttributes
from iec_hub.affect.caption_data import build_caption_data
from iec_hub.affect.caption_sources import read_caption_source
from iec_hub.affect.captions import compose_caption
from iec_hub.data import load_emotion_dataset
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError
from iec_hub.prediction import Tag

SCRIPT = Path(__file__).parents[2] / "training" / "build_affective_captions.py"


@pytest.fixture
def folder(tmp_path, pictures):
    """Makes a data set folder of photographs and text files."""

    def make(name, table=None, count=8, **files):
        root = tmp_path / name
        for number in range(count):
            path = root / "images" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pictures[number], path)
        for file, content in ({"metadata.csv": table} if table else {} | files).items():
            (root / file).write_text(content)
        return root

    return make


@pytest.fixture
def rated(folder):
    """As OASIS: ratings and a human caption, no emotions."""
    rows = [f"images/{n}.jpg,{'train' if n < 6 else 'test'},{n / 2},4,Animal,A picture of {n}" for n in range(8)]
    return folder("rated", "\n".join(["file_name,split,valence,arousal,category,caption", *rows]))


@pytest.fixture
def voted(folder):
    """As Emotion6 with two human captions, one of them missing."""
    header = "file_name,split,anger,disgust,fear,joy,sadness,surprise,neutral,caption1,caption2"
    rows = [f"images/{n}.jpg,train,0,0,0.25,0.75,0,0,0,First {n},{'' if n else 'Second'}" for n in range(8)]
    return folder("voted", "\n".join([header, *rows]))


@pytest.fixture
def emoset(tmp_path, pictures):
    """EmoSet as published, two splits, one picture without an annotation file."""
    root = tmp_path / "EmoSet"
    splits = {"train": [], "test": []}
    for number, emotion in enumerate(["amusement", "fear", "sadness", "awe"]):
        name = f"{emotion}_{number}"
        image, annotation = f"image/{emotion}/{name}.jpg", f"annotation/{emotion}/{name}.json"
        for path in (root / image, root / annotation):
            path.parent.mkdir(parents=True)
        shutil.copyfile(pictures[number], root / image)
        content = {"image_id": name, "emotion": emotion, "brightness": 0.9, "colorfulness": 0.1}
        if number:
            content |= {"scene": "forest_path", "object": ["Lantern", "Owl"], "human_action": "riding a bike"}
        if number < 3:
            (root / annotation).write_text(json.dumps(content))
        splits["train" if number else "test"].append([emotion, name, image, annotation])
    for split, entries in splits.items():
        (root / f"{split}.json").write_text(json.dumps(entries))
    return root


def rows(output, split="train"):
    return parquet.read_table(output / "data" / f"{split}.parquet").to_pylist()


class ColourTagger:
    """Names the strongest colour as the scene, from pixels, so that it depends on the picture alone."""

    name = "colour"
    attributes = frozenset(("scene",))

    def __init__(self):
        self.asked = 0

    def tag(self, images):
        self.asked += len(images)
        means = [image.resize((1, 1)).getpixel((0, 0)) for image in images]
        names = [("red field", "forest", "ocean")[mean.index(max(mean))] for mean in means]
        return [(Tag("scene", name, 0.75, self.name),) for name in names]


def test_emoset_annotations_make_the_captions(emoset, tmp_path):
    report = build_caption_data([emoset], tmp_path / "out")
    train, test = rows(tmp_path / "out"), rows(tmp_path / "out", "test")
    assert report.rows == {"train": 3, "test": 1} and not report.skipped
    fear = train[0]
    assert (
        fear["caption"] == "A bright, dull photo of someone riding a bike on a forest path, with a lantern and an owl."
    )
    assert fear["caption_with_emotion"] == fear["caption"][:-1] + ", which makes people feel fear."
    assert (fear["scene"], fear["scene_source"], fear["scene_confidence"]) == ("forest_path", "annotation", 1.0)
    assert fear["object"] == ["Lantern", "Owl"] and fear["object_source"] == ["annotation"] * 2
    assert (fear["brightness"], fear["brightness_source"]) == (0.9, "annotation")
    assert fear["facial_expression"] is None and fear["human_captions"] == []
    assert fear["file_name"] == "image/fear/fear_1.jpg" and fear["id"] == "fear_1"
    assert test[0]["caption"] == "A bright, dull photo."
    assert train[2]["brightness_source"] == "computed" and train[2]["scene"] is None
    assert report.sources["brightness"] == {"annotation": 3, "computed": 1}
    assert report.emotions == {"mikels8": {"amusement": 1, "awe": 1, "fear": 1, "sadness": 1}}


def test_variants_differ_and_match_the_attributes(emoset, tmp_path):
    build_caption_data([emoset], tmp_path / "out", variants=6)
    row = rows(tmp_path / "out")[0]
    for plain, varied in (("caption", "variants"), ("caption_with_emotion", "variants_with_emotion")):
        assert len(set(row[varied]) | {row[plain]}) == 7
    assert all("fear" in caption and "owl" in caption for caption in row["variants_with_emotion"])
    assert not any("fear" in caption for caption in row["variants"])
    build_caption_data([emoset], tmp_path / "other", variants=6, seed=1)
    assert rows(tmp_path / "other")[0]["variants"] != row["variants"]


def test_columns_load_with_datasets(rated, voted, tmp_path):
    build_caption_data([rated, voted], tmp_path / "out", variants=2)
    loaded = load_dataset("parquet", data_dir=str(tmp_path / "out" / "data"), cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == {"train": 14, "test": 2}
    features = loaded["train"].features
    assert isinstance(features["variants"], List) and "image" not in features
    types = {
        name: features[name].dtype for name in ("caption", "valence", "emotion", "brightness", "scene_confidence")
    }
    assert set(types.items()) == {
        *(("caption", "string"), ("valence", "float64"), ("emotion", "string")),
        *(("brightness", "float64"), ("scene_confidence", "float64")),
    }
    first, last = loaded["train"][0], loaded["train"][-1]
    assert first["valence"] == 0.0 and first["human_captions"] == ["A picture of 0"]
    assert {first[name] for name in ("emotion", "emotion_model", "caption_with_emotion", "emotion_labels")} == {None}
    assert first["variants_with_emotion"] is None and first["dataset"] == "rated"
    assert last["emotion"] == "joy" and last["emotion_labels"] == list(EMOTION_MODELS["ekman7"].labels)
    assert last["emotion_distribution"] == [0, 0, 0.25, 0.75, 0, 0, 0] and last["valence"] is None
    assert last["human_captions"] == ["First 7"]
    assert loaded["train"][6]["human_captions"] == ["First 0", "Second"]
    by_card = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert by_card.num_rows == loaded.num_rows
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| train | 14 |" in card and "ekman7: " in card and "joy 8" in card and "terms" in card


def test_machine_made_concepts_are_no_human_captions(folder):
    table = "file_name,emotion,concepts,tags\nimages/0.jpg,awe,happy dog,dog grass\nimages/1.jpg,fear,,"
    assert [item.human_captions for item in read_caption_source(folder("fi", table)).items] == [(), ()]


def test_embedded_pictures_are_the_files(rated, tmp_path):
    build_caption_data([rated], tmp_path / "out", images="bytes")
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["test"]
    assert isinstance(loaded.features["image"], Image) and loaded[0]["image"].mode == "RGB"
    stored = loaded.cast_column("image", Image(decode=False))[0]["image"]
    assert stored == {"bytes": (rated / "images" / "6.jpg").read_bytes(), "path": "6.jpg"}


def test_what_was_built_is_a_data_set_again(emoset, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    build_caption_data([emoset], tmp_path / "out", images="bytes")
    again = load_emotion_dataset(tmp_path / "out")
    assert [(example.label, example.split) for example in again][0] == ("fear", "train")
    assert again[0].attributes["scene"] == "forest_path" and again[0].attributes["object"] == ["Lantern", "Owl"]
    assert again[0].text == rows(tmp_path / "out")[0]["caption"] and again[0].open().mode == "RGB"


@pytest.mark.parametrize("tagged", [False, True])
def test_workers_do_not_matter(rated, tmp_path, tagged):
    for workers in (1, 3):
        taggers = [ColourTagger()] if tagged else []
        build_caption_data([rated], tmp_path / str(workers), workers=workers, shard_size=3, taggers=taggers)
    for file in ("data/train.parquet", "data/test.parquet", "README.md", "skipped.csv"):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "3" / file).read_bytes()


def test_the_wording_does_not_depend_on_the_other_pictures(rated, tmp_path):
    build_caption_data([rated], tmp_path / "all")
    table = (rated / "metadata.csv").read_text().splitlines()
    (rated / "metadata.csv").write_text("\n".join([table[0], table[5], table[3]]))
    build_caption_data([rated], tmp_path / "some", shard_size=1)
    every = {row["id"]: row for row in rows(tmp_path / "all")}
    assert [every[row["id"]] for row in rows(tmp_path / "some")] == rows(tmp_path / "some")


@pytest.mark.parametrize(("killed", "redone"), [("_opened_item", 10), ("_join", 0), ("card_text", 0)])
def test_a_killed_build_goes_on(rated, voted, tmp_path, monkeypatch, killed, redone):
    whole, output = tmp_path / "whole", tmp_path / "out"
    build_caption_data([rated, voted], whole, shard_size=3)
    calls, opened = [], caption_data._opened_item

    def kill(*arguments):
        calls.append(arguments)
        # In the third of the shards of three, or at once.
        if killed != "_opened_item" or len(calls) == 8:
            raise KeyboardInterrupt
        return opened(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(caption_data, killed, kill)
        with pytest.raises(KeyboardInterrupt):
            build_caption_data([rated, voted], output, shard_size=3, workers=1)
    assert not (output / "README.md").exists()
    calls.clear()
    monkeypatch.setattr(caption_data, "_opened_item", lambda *arguments: calls.append(arguments) or opened(*arguments))
    build_caption_data([rated, voted], output, shard_size=3, workers=1)
    # Of 16 pictures, those in the two shards that were written are not opened again.
    assert len(calls) == redone
    for file in ("data/train.parquet", "data/test.parquet", "README.md", "skipped.csv"):
        assert (output / file).read_bytes() == (whole / file).read_bytes()
    assert not list((output / ".build").glob("*.parquet")) and not list(output.rglob("*.part"))


def test_a_finished_build_stays_and_another_one_is_refused(rated, tmp_path):
    output = tmp_path / "out"
    report = build_caption_data([rated], output)
    changed = (output / "data" / "train.parquet").stat().st_mtime_ns
    assert build_caption_data([rated], output) == report
    assert (output / "data" / "train.parquet").stat().st_mtime_ns == changed
    with pytest.raises(DataError, match="other data or other settings"):
        build_caption_data([rated], output, seed=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="not empty"):
        build_caption_data([rated], tmp_path / "full")


def test_bad_pictures_and_rows_are_reported_and_skipped(rated, tmp_path):
    cut = rated / "images" / "2.jpg"
    cut.write_bytes(cut.read_bytes()[:500])
    (rated / "images" / "3.jpg").write_bytes(b"")
    with (rated / "metadata.csv").open("a") as file:
        file.write("\n../secret.jpg,train,1,1,,x\nimages/gone.jpg,train,1,1,,x\nimages/0.jpg,train,high,1,,x")
    report = build_caption_data([rated], tmp_path / "out")
    assert report.rows == {"train": 4, "test": 2} and report.skipped == 5
    with (tmp_path / "out" / "skipped.csv").open(newline="") as file:
        reasons = {row["row"]: row["reason"] for row in csv.DictReader(file)}
    assert sorted(reasons) == sorted(f"metadata.csv:{line}" for line in (4, 5, 10, 11, 12))
    assert "damaged" in reasons["metadata.csv:4"] and "empty" in reasons["metadata.csv:5"]
    assert "leaves" in reasons["metadata.csv:10"] and "not a number" in reasons["metadata.csv:12"]
    assert [row["file_name"] for row in rows(tmp_path / "out")] == [f"images/{n}.jpg" for n in (0, 1, 4, 5)]


def test_nothing_usable_is_an_error(folder, tmp_path):
    source = folder("broken", "file_name\nimages/0.jpg", count=1)
    (source / "images" / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="No picture could be used"):
        build_caption_data([source], tmp_path / "out")
    with pytest.raises(DataError, match="told apart"):
        build_caption_data([source, source], tmp_path / "out")
    with pytest.raises(DataError, match="no row that can be used"):
        read_caption_source(folder("rows", "file_name\nimages/9.jpg"))


def test_taggers_fill_what_annotations_leave_open(emoset, tmp_path):
    tagger = ColourTagger()
    report = build_caption_data([emoset], tmp_path / "out", taggers=[tagger])
    # Two pictures have an annotated scene, and are not shown to it.
    assert tagger.asked == 2 and report.sources["scene"] == {"annotation": 2, "colour": 2}
    row = rows(tmp_path / "out", "test")[0]
    assert row["scene_source"] == "colour" and row["scene_confidence"] == 0.75
    known = ImageAttributes.from_annotations({"brightness": 0.9, "colorfulness": 0.1, "scene": row["scene"]})
    assert row["caption"] == compose_caption(known)
    assert "colour" in (tmp_path / "out" / "README.md").read_text()


def test_the_command_builds_a_data_set(rated, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("build_affective_captions", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    arguments = ["--data", str(rated), "--output", str(tmp_path / "out"), "--variants", "1", "--workers", "1"]
    script.main(arguments)
    assert "train 6, test 2; 0 rows left out" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        script.main([*arguments[:-2], "--data", str(tmp_path / "nothing")])
    assert "no folder" in capsys.readouterr().err
