from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError
from iec_hub.finetuning.teaching import (
    SentenceEncoder,
    distil_alignment,
    fit_alignment,
    place_images,
    read_emotion_texts,
    text_source,
    whole_words,
)
from iec_hub.finetuning.training_sets import read_captions

MIKELS = EMOTION_MODELS["mikels8"]


def linear_world(count: int = 20000, width: int = 8, size: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Features, and unit vectors that are a linear function of them."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, width, generator=generator)
    return features, normalize(features @ torch.randn(width, size, generator=generator), dim=-1)


def test_the_placement_recovers_a_linear_relation() -> None:
    features, texts = linear_world()
    weight, bias, ridge = fit_alignment(features[:15000], features[:15000], texts[:15000], None)
    places = place_images(features[15000:], features[15000:], weight, bias, None)
    assert cosine_similarity(places, texts[15000:]).mean() > 0.99
    assert ridge == 3e3  # nothing to smooth: the weakest
    torch.testing.assert_close(places.norm(dim=-1), torch.ones(5000))


def test_noise_asks_for_more_ridge() -> None:
    features, texts = linear_world(count=400)
    shuffled = texts[torch.randperm(400, generator=torch.Generator().manual_seed(1))] + torch.tensor([3.0, 0, 0, 0, 0])
    assert fit_alignment(features, features, normalize(shuffled, dim=-1), None)[2] > 3e3


def test_what_the_lexicon_says_need_not_be_learned() -> None:
    features, texts = linear_world(count=2000)

    def lexicon(pooled: torch.Tensor) -> torch.Tensor:
        return texts[: len(pooled)]

    weight, bias, _ = fit_alignment(features[:1], features[:1], texts[:1], lexicon)  # one pair teaches nothing
    assert weight.abs().max() < 1e-3
    assert cosine_similarity(place_images(features, features, weight, bias, lexicon), texts).mean() > 0.9


def test_the_models_map_learns_the_places(build_tiny_ugrie: Callable[..., tuple[Any, Any]]) -> None:
    model, _ = build_tiny_ugrie(semantic_size=5, semantic_hidden_size=128, initializer_range=0.05)
    features, places = linear_world(count=2000, width=32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert distil_alignment(model, features, places) > 0.9
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.rpartition(".")[0] for name in changed} == {"semantic_mapping.input", "semantic_mapping.hidden"}
    with torch.no_grad():
        assert cosine_similarity(model.semantic_mapping.embed(features), places).mean() > 0.9


class TestTexts:
    def read(self, folder: Path, content: str) -> tuple[list[list[str]], torch.Tensor]:
        (folder / "texts.csv").write_text(content, encoding="utf-8")
        return read_emotion_texts(folder / "texts.csv", MIKELS)

    def test_broken_rows_are_counted(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        table = '\ufeffid,emotion,one,two\n1,Awe,"a, b",c\n2,aww,d,e\n3,sad,,f\n4,fear,,\n'
        versions, distributions = self.read(tmp_path, table)
        assert versions == [["a, b", ""], ["c", "f"]]
        assert distributions.argmax(1).tolist() == [MIKELS.index("awe"), MIKELS.index("sadness")]
        assert "1 rows skipped: no text" in caplog.text and "aww" in caplog.text

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "is empty"),
            ("emotion\nawe\n", "needs a column 'emotion' and one with text"),
            ("text\nhello\n", "needs a column 'emotion' and one with text"),
            ("emotion,text\n", "no row with a text"),
            ("emotion,text\nnostalgia,a\n", "no row with a text"),
        ],
    )
    def test_unusable_files(self, tmp_path: Path, content: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            self.read(tmp_path, content)

    def test_another_encoding(self, tmp_path: Path) -> None:
        (tmp_path / "texts.csv").write_bytes("emotion,text\nawe,é\n".encode("latin-1"))
        with pytest.raises(DataError, match="UTF-8"):
            read_emotion_texts(tmp_path / "texts.csv", MIKELS)

    def test_a_missing_version_is_replaced(self, tmp_path: Path, backbones: Path) -> None:
        (tmp_path / "texts.csv").write_text("emotion,one,two\nawe,,high\nfear,dark,night\n", encoding="utf-8")
        source = text_source(tmp_path / "texts.csv", MIKELS, SentenceEncoder(backbones / "encoder"))
        assert torch.equal(source.embeddings[0, 0], source.embeddings[0, 1])
        assert not torch.equal(source.embeddings[1, 0], source.embeddings[1, 1])
        torch.testing.assert_close(source.embeddings.norm(dim=-1), torch.ones(2, 2))


def test_embeddings_do_not_depend_on_their_batch(backbones: Path) -> None:
    encoder = SentenceEncoder(backbones / "encoder")
    texts = ["a much longer text than the others", "dark", "", "bright day"]
    alone = torch.cat([encoder.encode([text]) for text in texts])
    torch.testing.assert_close(encoder.encode(texts), alone, atol=1e-5, rtol=0)
    assert (alone[2] == 0).all()


def test_whole_words_of_any_vocabulary() -> None:
    assert whole_words(["[CLS]", "fear", "Fear", "##ful", "joy", "on", "état"]) == ["fear", "joy"]
    assert whole_words(["Ġfear", "ful", "ĠFear", "Ġjoy", "<s>"]) == ["fear", "joy"]
    assert whole_words(["▁fear", "ful"]) == ["fear"]


def test_captions_of_training_images(tmp_path: Path, pictures: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "metadata.csv"
    rows = [f"{pictures[0]},train,a,b", f"{pictures[1]},test,c,", "gone.jpg,train,d,", f"{pictures[2]},,e,"]
    table.write_text("\n".join(["file_name,split,caption_1,caption_2", *rows]), encoding="utf-8")
    examples, captions = read_captions(table)
    assert captions == ["a b", "e"] and [e.origin for e in examples] == ["metadata.csv:2", "metadata.csv:5"]
    assert "1 rows skipped" in caplog.text
    table.write_text("file_name,split\nx,train\n", encoding="utf-8")
    with pytest.raises(DataError, match="no training image with a caption"):
        read_captions(table)
