"""English for EmoSet's names: the tables behind :mod:`iec_hub.affect.phrases`.

They hold what its rules get wrong among EmoSet's names (254 scenes of Places365, 409 objects of Open Images, 264
actions of Kinetics, 6 expressions) and a few of the other common ones.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(","))


# Written with a capital wherever they stand; every other word is not, unless it is an abbreviation.
PROPER = {
    word.casefold(): word
    for word in _names(
        "Afghan,African,American,Appenzeller,Arabian,Asian,Australian,Bengal,Bernese,Boston,Brazilian,British,Chinese,"
        "Christmas,Dutch,Easter,Egyptian,English,European,Ferris,French,German,Halloween,Indian,Irish,Italian,"
        "Japanese,Komodo,Korean,Labrador,Lego,Mexican,Norwegian,Persian,Roman,Russian,Scottish,Segway,Shetland,"
        "Siamese,Siberian,Spanish,Staffordshire,Thai,Tibetan,Victorian,Welsh,Yorkshire"
    )
}

PLURAL_WITHOUT_S = _names("people,men,women,children,police,cattle,dice,mice,geese,skis,teeth,feet,oxen")
SINGULAR_WITH_S = _names(
    "atlas,bias,billiards,canvas,chaos,christmas,cosmos,gas,iris,lens,pancreas,rhinoceros,series,species,"
    "tennis,triceratops"
)
MASS = _names(
    "alcohol,art,asparagus,bacon,beef,beer,bread,broccoli,butter,candy,cheese,clothing,coffee,corn,cream,dirt,"
    "equipment,fabric,fire,fog,food,footwear,fruit,furniture,fur,garlic,gold,grass,ground,hair,hay,honey,ice,ivy,"
    "jewellery,jewelry,juice,lavender,lettuce,lightning,linen,luggage,machinery,makeup,meat,milk,mist,moss,mud,music,"
    "paper,pasta,pollution,popcorn,pottery,rain,rice,rubbish,salt,sand,seafood,seaweed,shellfish,silverware,smoke,"
    "snow,soil,steam,sunlight,sushi,swimwear,tableware,tea,traffic,trash,underwear,vegetation,water,weather,wheat,"
    "wine,wood,wool"
)

# Open Images' names that do not read as words.
OBJECTS = {
    "garden asparagus": "asparagus",
    "kitchen & dining room table": "dining table",
    "luggage and bags": "luggage",
    "ski": "skis",
    "vehicle registration plate": "registration plate",
    "personal flotation device": "life jacket",
    "human face": "face",
    "human hair": "hair",
    "human body": "person",
    "human hand": "hand",
    "human head": "head",
}
# Classes above classes: what is named more exactly goes first.
GENERAL_OBJECTS = _names(
    "animal,auto part,bathroom accessory,carnivore,clothing,dairy product,dessert,drink,fashion accessory,"
    "food,furniture,home appliance,insect,invertebrate,kitchen appliance,land vehicle,mammal,"
    "marine invertebrates,marine mammal,medical equipment,musical instrument,office supplies,plant,"
    "plumbing fixture,reptile,sports equipment,tableware,tool,toy,vegetable,vehicle,weapon"
)
PERSONS = _names(
    "actor,actress,adult,athlete,audience,baby,ballplayer,bather,boy,boys,bride,bridegroom,child,"
    "children,climber,couple,cowboy,crowd,cyclist,dancer,diver,family,farmer,father,female,firefighter,"
    "fisherman,girl,girls,groom,guitarist,gymnast,human,kid,kids,lady,male,man,men,mother,musician,"
    "nurse,parent,pedestrian,people,person,persons,player,police,policeman,rider,runner,sailor,"
    "scientist,singer,skater,skier,soldier,student,surfer,swimmer,teacher,teenager,toddler,woman,women,"
    "worker"
)
MANY_PERSONS = _names("audience,couple,crowd,family,people,police,men,women,children,boys,girls,kids,persons")

# There is only one, unless it is told apart ("a stormy sky").
ONLY_ONES = _names("sky,sun,moon,sea,ocean,horizon,ground,universe")

# Where something is, in each of EmoSet's scenes; "in" is left to the rule.
_PLACES: dict[str, str] = {
    "on": "airfield,athletic field,balcony,baseball field,basketball court,beach,boardwalk,boat deck,"
    "bridge,campus,cliff,crosswalk,desert road,driveway,escalator,farm,field road,"
    "football field,forest path,forest road,glacier,golf course,highway,ice floe,ice shelf,"
    "ice skating rink,iceberg,islet,lawn,mountain path,patio,pier,playground,porch,promenade,"
    "raft,railroad track,rope bridge,runway,ski slope,stage,staircase,street,tree farm,viaduct,"
    "volcano,volleyball court,butte,rooftop,road,hill,island,platform,breakwater,coral reef,"
    "deck,roof,sidewalk,track,soccer field,path,trail,tennis court,boat,ship,bus,mountain top,"
    "shore,train platform",
    "at": "airport,airport terminal,amusement park,arcade,army base,art school,bar,bazaar,beach house,"
    "bus station,campsite,castle,church,coffee shop,conference center,construction site,dam,"
    "excavation,gas station,gift shop,heliport,hospital,hotel,lighthouse,market,mausoleum,"
    "mosque,museum,nursing home,office building,pagoda,palace,picnic area,rice paddy,ruin,"
    "school,shopping mall,ski resort,skyscraper,swimming hole,swimming pool,subway station,"
    "synagogue,temple,tower,train station,university,water park,watering hole,wind farm,windmill,"
    "zoo,house,home,manufactured home,tree house,racecourse,apartment building,bullring,"
    "carrousel,party,concert,wedding,bus stop,harbor,harbour,stadium,food court,station,dock,"
    "megalith,monastery,monument,obelisk,place of worship,sawmill,shipwreck,stupa",
    "by": "geyser,bow window,canal,creek,fishpond,fountain,hot spring,lagoon,lake,moat,phone booth,"
    "pond,river,waterfall,window,fireplace,pool,stream,lakeside",
    "under": "arch,rock arch",
    "in front of": "building facade,shopfront,building,wall,facade",
    "in the": "badlands,desert,mountains,rainforest,sky,tundra,jungle,wild,woods,snow,water,sea,rain,"
    "dark,city,countryside,clouds,savanna,savannah",
    "on the": "coast,ocean,moon,ground,floor",
}
# Scene -> its name in words, where it differs.
SCENE_WORDS = {
    "butchers shop": "butcher's shop",
    "carrousel": "carousel",
    "childs room": "child's room",
    "fastfood restaurant": "fast-food restaurant",
    "kindergarden classroom": "kindergarten classroom",
    "office cubicles": "office with cubicles",
    "physics laboratory": "laboratory",
    "railroad track": "railway track",
    "ruin": "ruined building",
    "toyshop": "toy shop",
}
# Scene -> (as the subject of a picture, as a place).
SCENE_PHRASES = {
    "underwater": ("an underwater scene", "underwater"),
    "mountain": ("mountains", "in the mountains"),
    "mountain snowy": ("snowy mountains", "in snowy mountains"),
    "wave": ("a wave", "in the waves"),
    "downtown": ("a downtown area", "in a downtown area"),
    "indoors": ("an indoor scene", "indoors"),
    "outdoors": ("an outdoor scene", "outdoors"),
    "indoor": ("an indoor scene", "indoors"),
    "outdoor": ("an outdoor scene", "outdoors"),
    "home": ("a home", "at home"),
}
PREPOSITIONS = {name: preposition for preposition, names in _PLACES.items() for name in names.split(",")}

# What someone is doing, where the name is no such phrase; "who|what" where it names the person too.
ACTIONS = {
    "archery": "practising archery",
    "baby waking up": "a baby|waking up",
    "balloon blowing": "blowing up a balloon",
    "barbequing": "barbecuing",
    "bending back": "bending backwards",
    "blowing nose": "blowing their nose",
    "bouncing on trampoline": "bouncing on a trampoline",
    "brushing teeth": "brushing their teeth",
    "carrying baby": "carrying a baby",
    "carving pumpkin": "carving a pumpkin",
    "catching or throwing baseball": "catching or throwing a baseball",
    "catching or throwing frisbee": "catching or throwing a frisbee",
    "changing wheel": "changing a wheel",
    "clay pottery making": "making clay pottery",
    "cleaning toilet": "cleaning a toilet",
    "climbing ladder": "climbing a ladder",
    "climbing tree": "climbing a tree",
    "contact juggling": "juggling",
    "cooking egg": "cooking an egg",
    "cooking on campfire": "cooking on a campfire",
    "crawling baby": "a baby|crawling",
    "crossing river": "crossing a river",
    "cutting pineapple": "cutting a pineapple",
    "cutting watermelon": "cutting a watermelon",
    "decorating the christmas tree": "decorating a Christmas tree",
    "diving cliff": "diving off a cliff",
    "dribbling basketball": "dribbling a basketball",
    "driving car": "driving a car",
    "driving tractor": "driving a tractor",
    "dunking basketball": "dunking a basketball",
    "eating burger": "eating a burger",
    "eating hotdog": "eating a hot dog",
    "exercising arm": "exercising an arm",
    "extinguishing fire": "putting out a fire",
    "finger snapping": "snapping their fingers",
    "flying kite": "flying a kite",
    "garbage collecting": "collecting garbage",
    "giving or receiving award": "giving or receiving an award",
    "gymnastics tumbling": "tumbling in gymnastics",
    "high kick": "doing a high kick",
    "hitting baseball": "hitting a baseball",
    "holding snake": "holding a snake",
    "hula hooping": "hula-hooping",
    "juggling soccer ball": "juggling a soccer ball",
    "jumping into pool": "jumping into a pool",
    "jumpstyle dancing": "dancing jumpstyle",
    "kicking field goal": "kicking a field goal",
    "kicking soccer ball": "kicking a soccer ball",
    "lunge": "doing a lunge",
    "making bed": "making a bed",
    "making snowman": "making a snowman",
    "massaging back": "massaging someone's back",
    "massaging feet": "massaging someone's feet",
    "massaging person's head": "massaging someone's head",
    "opening bottle": "opening a bottle",
    "opening present": "opening a present",
    "petting animal": "petting an animal",
    "petting cat": "petting a cat",
    "playing keyboard": "playing the keyboard",
    "pull ups": "doing pull-ups",
    "pumping fist": "pumping a fist",
    "punching bag": "hitting a punching bag",
    "push up": "doing push-ups",
    "pushing car": "pushing a car",
    "pushing cart": "pushing a cart",
    "pushing wheelchair": "pushing a wheelchair",
    "reading book": "reading a book",
    "reading newspaper": "reading a newspaper",
    "riding camel": "riding a camel",
    "riding elephant": "riding an elephant",
    "riding mechanical bull": "riding a mechanical bull",
    "riding mountain bike": "riding a mountain bike",
    "riding mule": "riding a mule",
    "riding or walking with horse": "riding or walking with a horse",
    "riding scooter": "riding a scooter",
    "riding unicycle": "riding a unicycle",
    "rock scissors paper": "playing rock, paper, scissors",
    "shaking head": "shaking their head",
    "shooting basketball": "shooting a basketball",
    "shooting goal": "shooting a goal",
    "shoveling snow": "shovelling snow",
    "side kick": "doing a side kick",
    "situp": "doing sit-ups",
    "sled dog racing": "racing with sled dogs",
    "smoking hookah": "smoking a hookah",
    "squat": "doing squats",
    "sticking tongue out": "sticking their tongue out",
    "stretching arm": "stretching an arm",
    "stretching leg": "stretching a leg",
    "strumming guitar": "strumming a guitar",
    "surfing crowd": "crowd surfing",
    "surfing water": "surfing",
    "sweeping floor": "sweeping the floor",
    "swimming breast stroke": "swimming breaststroke",
    "swimming butterfly stroke": "swimming butterfly stroke",
    "swinging legs": "swinging their legs",
    "tai chi": "doing tai chi",
    "tapping guitar": "tapping a guitar",
    "throwing axe": "throwing an axe",
    "throwing ball": "throwing a ball",
    "tossing salad": "tossing a salad",
    "training dog": "training a dog",
    "trimming or shaving beard": "trimming or shaving a beard",
    "tying bow tie": "tying a bow tie",
    "tying tie": "tying a tie",
    "unloading truck": "unloading a truck",
    "using computer": "using a computer",
    "using remote controller": "using a remote control",
    "using segway": "using a Segway",
    "water sliding": "going down a water slide",
    "wrapping present": "wrapping a present",
    "yoga": "doing yoga",
}
EXPRESSIONS = {
    "anger": "angry",
    "angriness": "angry",
    "contempt": "contemptuous",
    "disgust": "disgusted",
    "fear": "fearful",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprise": "surprised",
}
