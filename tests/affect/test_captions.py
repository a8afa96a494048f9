import itertools
import json
import re
from importlib.resources import files

import pytest

from iec_hub.affect.attributes import ImageAttributes
from iec_hub.affect.captions import compose_caption
from iec_hub.affect.phrases import action_phrase, object_phrase, scene_phrases
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.prediction import Tag

FULL = {
    "brightness": 0.1,
    "colorfulness": 0.1,
    "scene": "church",
    "object": ["Lamp", "Alarm clock"],
    "facial_expression": "surprise",
    "human_action": "playing guitar",
}
SCENES = ("beach", "bakery/shop", "mountain_snowy", "ocean", "airport_terminal", "underwater", "car_interior", "wave")
OBJECTS = ("Bicycle", "French fries", "Elephant", "Man", "Tree", "People", "Unicycle", "Chest of drawers", "Scissors")
ACTIONS = ("riding a bike", "yoga", "petting animal (not cat)", "crawling baby", "reading book", "push up")
FACES = ("angry", "disgust", "fear", "happy", "sad", "surprise")
EMOTIONS = sorted({label for model in EMOTION_MODELS.values() for label in model.labels})
# All that a sentence may say of its own accord.
FIXED = frozenset(
    re.findall(
        r"\w+",
        "a an and along with in on at by the of that this which it view shows taken very rather someone their one "
        "dark dim dimly lit bright luminous brightly dull muted drab vivid colourful vibrant photo picture image shot "
        "people viewers makes make feel feelings feeling fills evokes leaves gives sight face expression",
    )
)


def attributes(**annotations):
    return ImageAttributes.from_annotations(annotations)


def words(text):
    return set(re.findall(r"[\w'-]+", text.casefold()))


def test_the_plain_sentence():
    assert compose_caption(attributes(brightness=0.1, colorfulness=0.1, scene="beach", object=["Cat"]), "fear") == (
        "A dark, dull photo of a cat on a beach, which makes people feel fear."
    )
    assert compose_caption(attributes(**FULL)) == (
        "A dark, dull photo of someone with a surprised face playing guitar at a church, "
        "along with a lamp and an alarm clock."
    )
    assert compose_caption(attributes(object=["Lamp", "Man"], human_action="riding a bike", scene="park")) == (
        "A photo of a man riding a bike in a park, with a lamp."
    )
    assert compose_caption(attributes(object=["Sky", "Bird"], scene="lake")) == (
        "A photo of the sky and a bird by a lake."
    )
    assert compose_caption(attributes(object=["Stormy sky"])) == "A photo of a stormy sky."
    assert compose_caption(attributes()) == "A photo."
    assert compose_caption(attributes(), "sadness") == "A photo that makes people feel sadness."
    assert compose_caption(attributes(scene="airport_terminal")) == "A photo of an airport terminal."
    assert compose_caption(attributes(object=["Dog"], human_action="crawling baby", scene="lawn")) == (
        "A photo of a baby crawling on a lawn, with a dog."
    )


@pytest.mark.parametrize("size", range(len(FULL)))
@pytest.mark.parametrize("seed", [None, *range(12)])
def test_an_absent_slot_leaves_no_trace(size, seed):
    said = {
        "brightness": words("dark dim dimly"),
        "colorfulness": words("dull muted drab"),
        "scene": {"church"},
        "object": words("lamp alarm clock"),
        "facial_expression": words("surprised expression face"),
        "human_action": words("playing guitar"),
    }
    for kept in itertools.combinations(FULL, size):
        caption = compose_caption(attributes(**{name: FULL[name] for name in kept}), "awe", seed)
        for name, traces in said.items():
            assert bool(traces & words(caption)) == (name in kept), (name, caption)


@pytest.mark.parametrize("emotion", [None, "contentment", "neutral", "positive"])
def test_it_says_nothing_of_its_own(emotion):
    for seed in range(300):
        annotation = {
            "brightness": seed % 11 / 10,
            "colorfulness": seed % 7 / 6,
            "scene": SCENES[seed % len(SCENES)],
            "object": [OBJECTS[seed % len(OBJECTS)], OBJECTS[(seed // 3) % len(OBJECTS)]],
            "facial_expression": FACES[seed % 6],
            "human_action": ACTIONS[(seed // 2) % len(ACTIONS)],
        }
        names = [*scene_phrases(annotation["scene"]), *action_phrase(annotation["human_action"])]
        names += [object_phrase(name) for name in annotation["object"]]
        names += ["angry disgusted fearful happy sad surprised", emotion or ""]
        caption = compose_caption(attributes(**annotation), emotion, seed)
        assert words(caption) <= FIXED | words(" ".join(names)), caption
        assert caption[0].isupper() and caption.endswith(".") and caption.count(".") == 1
        assert not re.search(r"\ba [aeio]|\ban [^aeiouh]|  | ,|,,|with with|\b(\w+) \1\b", caption, re.I), caption


def test_only_clearly_low_or_high_values_are_named():
    said = [compose_caption(attributes(brightness=b / 100, colorfulness=0.3)) for b in range(101)]
    assert said[25] == "A dark photo." and said[26:60] == ["A photo."] * 34 and said[60] == "A bright photo."
    said = [compose_caption(attributes(brightness=0.4, colorfulness=c / 100)) for c in range(101)]
    assert said[14] == "A dull photo." and said[15:54] == ["A photo."] * 39 and said[54] == "A vivid photo."
    stressed = [compose_caption(attributes(brightness=b), seed=seed) for b in (0.2, 0.05) for seed in range(40)]
    assert not any("very" in caption for caption in stressed[:40]) and any("very" in text for text in stressed[40:])


def test_at_most_three_objects_people_first_exact_names_before_classes():
    caption = compose_caption(attributes(object=["Animal", "Tree", "dog", "Dog", "Woman", "Bench"]))
    assert caption == "A photo of a woman, a tree and a dog."
    unsure = ImageAttributes(tags=(Tag("object", "hat", 0.2), Tag("object", "cat", 0.9), Tag("object", "mat", 0.5)))
    assert compose_caption(unsure) == "A photo of a cat, a mat and a hat."


def test_what_is_already_said_is_not_said_twice():
    assert compose_caption(attributes(object=["Bicycle", "Dog"], human_action="riding a bike")) == (
        "A photo of someone riding a bike, with a dog."
    )
    assert compose_caption(attributes(object=["Tower"], scene="tower")) == "A photo of a tower."
    assert compose_caption(attributes(object=["mountain", "CD player"], scene="mountain")) == (
        "A photo of a CD player in the mountains."
    )
    assert compose_caption(attributes(object=["Person", "Woman"])) == "A photo of a woman."
    # Of several people, it is not known whose face it is.
    assert compose_caption(attributes(object=["People"], facial_expression="happy", scene="beach")) == (
        "A photo of people on a beach, with a happy face."
    )


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_emotion_reads_well(emotion):
    cat = attributes(object=["cat"])
    ending = {
        "neutral": "which leaves people neutral.",
        "positive": "which evokes positive feelings.",
        "negative": "which evokes negative feelings.",
    }.get(emotion, f"which makes people feel {emotion}.")
    assert compose_caption(cat, emotion) == f"A photo of a cat, {ending}"
    varied = [compose_caption(cat, emotion, seed) for seed in range(60)]
    assert len(set(varied)) > 20 and all(emotion in caption for caption in varied)
    assert not any(re.search(r"(with|of|evokes|feeling of) (neutral|positive|negative)\b(?! feel)", c) for c in varied)


def test_own_emotion_labels():
    assert compose_caption(attributes(object=["cat"]), " Nostalgia \n") == "A photo of a cat, which evokes nostalgia."
    assert compose_caption(attributes(object=["cat"]), "<mask>") == "A photo of a cat, which evokes mask."
    assert compose_caption(attributes(object=["cat"]), "\x00") == "A photo of a cat."


def test_a_seed_always_gives_the_same_and_seeds_differ():
    assert compose_caption(attributes(**FULL), "fear", "img_17") == compose_caption(
        attributes(**FULL), "fear", "img_17"
    )
    # Fixed here, so that another machine or process that words it differently is found.
    assert compose_caption(attributes(**FULL), "fear", 3) == SEED_3
    assert len({compose_caption(attributes(**FULL), "fear", seed) for seed in range(100)}) > 50


SEED_3 = (
    "This very dim, muted photo of a lamp and an alarm clock at a church, along with someone wi"
    "th a surprised expression playing guitar, makes people feel fear."
)


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        *(("hour", "an hour"), ("unicorn", "a unicorn"), ("umbrella", "an umbrella"), ("Unicycle", "a unicycle")),
        *(("ukulele", "a ukulele"), ("utensil", "a utensil"), ("European bison", "a European bison")),
        *(("one-way sign", "a one-way sign"), ("heirloom", "an heirloom"), ("X-ray", "an x-ray"), ("urn", "an urn")),
        *(("ATM machine", "an ATM machine"), ("CD player", "a CD player"), ("TEDDY BEAR", "a teddy bear")),
        *(
            ("people", "people"),
            ("water", "water"),
            ("trees", "trees"),
            ("snow", "snow"),
            ("palm tree", "a palm tree"),
        ),
        *(("bus", "a bus"), ("glasses", "glasses"), ("wine glass", "a wine glass"), ("Rhinoceros", "a rhinoceros")),
        *(("Fast food", "fast food"), ("Baked goods", "baked goods"), ("Chest of drawers", "a chest of drawers")),
        *(
            ("Christmas tree", "a Christmas tree"),
            ("a dog", "a dog"),
            ("the sea", "the sea"),
            ("wolf_dog", "a wolf dog"),
        ),
        *(("Kitchen & dining room table", "a dining table"), ("ice cream", "ice cream"), ("grass", "grass")),
    ],
)
def test_articles_and_plurals_of_objects(name, phrase):
    assert object_phrase(name) == phrase


@pytest.mark.parametrize(
    ("name", "place"),
    [
        *(("beach", "on a beach"), ("forest", "in a forest"), ("airport_terminal", "at an airport terminal")),
        *(("mountain", "in the mountains"), ("bakery/shop", "in a bakery"), ("field/wild", "in a wild field")),
        *(("athletic_field", "on an athletic field"), ("underwater", "underwater"), ("ocean", "on the ocean")),
        *(("church/outdoor", "at a church"), ("train_interior", "inside a train"), ("desert", "in the desert")),
        *(("salt_desert", "in a salt desert"), ("outdoor swimming pool", "at an outdoor swimming pool")),
        *(("childs_room", "in a child's room"), ("river", "by a river"), ("nowhere land", "in a nowhere land")),
    ],
)
def test_places(name, place):
    assert scene_phrases(name)[1] == place


def test_every_name_of_emoset_makes_a_sentence():
    labels = json.loads((files("iec_hub.affect") / "emoset_labels.json").read_text(encoding="utf-8"))
    captions = [
        compose_caption(attributes(**{slot: name})) for slot in labels if slot != "licence" for name in labels[slot]
    ]
    assert len(captions) == 254 + 409 + 6 + 264
    for caption in captions:
        assert re.fullmatch(r"A photo of [A-Za-z][A-Za-z ,'-]+\.", caption), caption
        assert not re.search(r"\ba [aeio]|\ban [^aeiouh]|  |doing \w+ing\b|\ba (?!rhino)\w*[^su]s\.", caption), caption


def test_names_are_untrusted():
    long = "word " * 100
    nasty = [
        "cat\n\x1b[31m\u202e",
        "<script>alert(1)</script>",
        "[SEP] dog",
        long,
        "x" * 5000,
        "...",
        "",
        "=cmd|' /C'",
    ]
    for name in nasty:
        for slot in ("object", "scene", "human_action", "facial_expression"):
            caption = compose_caption(ImageAttributes(tags=(Tag(slot, name),)))
            assert caption.isprintable() and not set("<>[]|=") & set(caption) and len(caption) < 120, caption
    assert compose_caption(ImageAttributes(tags=(Tag("object", "..."), Tag("scene", " \n")))) == "A photo."
