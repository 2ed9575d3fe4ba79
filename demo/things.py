"""Everyday things and what everybody knows of them: material, place, use, weight, size, speed,
heat.

Plain tables, written for this project; knows nothing of questions.
"""

from __future__ import annotations

from dataclasses import dataclass


def phrases(text: str) -> frozenset[str]:
    """A set of names from a text with semicolons between them."""
    return frozenset(" ".join(text.split()).split("; "))


@dataclass(frozen=True, slots=True)
class Thing:
    """grams and cm are typical values; 0 where the question makes no sense (some butter)."""

    name: str
    material: str
    place: str
    use: str
    grams: int
    cm: int


# name, material, where it is kept or found, what one does with it, grams, longest side in cm.
_ROWS = """
knife; metal; kitchen; cut bread; 120; 22
spoon; metal; kitchen; stir soup; 40; 18
fork; metal; kitchen; pick up noodles; 35; 19
pot; metal; kitchen; boil potatoes; 1500; 30
pan; metal; kitchen; fry an egg; 1100; 45
kettle; metal; kitchen; heat water for tea; 900; 25
plate; porcelain; kitchen; serve a meal; 500; 26
cup; porcelain; kitchen; drink hot tea; 250; 10
bowl; porcelain; kitchen; hold cereal; 400; 16
vase; porcelain; living room; hold fresh flowers; 1200; 28
jar; glass; kitchen; store jam; 350; 14
bottle; glass; kitchen; keep juice; 450; 30
wine glass; glass; kitchen; drink wine; 150; 20
mirror; glass; bathroom; see your own face; 4000; 70
window pane; glass; workshop; keep the wind out of a frame; 9000; 100
light bulb; glass; living room; light up a dark room; 50; 11
sponge; foam; kitchen; wash the dishes; 10; 12
towel; cloth; bathroom; dry wet hands; 400; 120
toothbrush; plastic; bathroom; clean your teeth; 18; 19
comb; plastic; bathroom; tidy your hair; 20; 17
bath duck; plastic; bathroom; amuse a child in the tub; 45; 9
bucket; plastic; garden; carry water; 700; 32
lunch box; plastic; school; take sandwiches along; 200; 19
ruler; plastic; school; measure a short line; 25; 31
pencil; wood; school; draw a picture; 6; 19
notebook; paper; school; write down homework; 210; 24
exam sheet; paper; school; answer a test; 5; 29
newspaper; paper; living room; read the news; 190; 41
envelope; paper; office; send a letter; 7; 23
paper bag; paper; shop; wrap up bread rolls; 9; 33
ticket; paper; station; board a train; 2; 8
stapler; metal; office; fasten pages together; 260; 15
key; metal; office; unlock a door; 15; 6
coin; metal; shop; pay for sweets; 8; 2
cash box; metal; shop; keep the day's takings; 1700; 27
hammer; metal; workshop; drive in a nail; 650; 33
nail; metal; workshop; hang a picture; 4; 7
saw; metal; workshop; cut a board; 550; 52
screwdriver; metal; workshop; turn a screw; 110; 21
ladder; wood; workshop; reach a high shelf; 8000; 250
plank; wood; workshop; build a shelf; 3000; 180
workbench; wood; workshop; hold a board while sawing; 45000; 155
chair; wood; living room; sit at a table; 5200; 92
table; wood; living room; eat dinner with the family; 25000; 165
bookshelf; wood; living room; keep novels in order; 38000; 205
broom; wood; kitchen; sweep the floor; 620; 135
rolling pin; wood; kitchen; flatten dough; 480; 43
match; wood; kitchen; light a candle; 1; 5
rake; wood; garden; gather fallen leaves; 1300; 160
wheelbarrow; metal; garden; move a heap of soil; 14000; 145
spade; metal; garden; dig a hole; 1900; 105
watering can; metal; garden; water the roses; 800; 38
flower pot; clay; garden; grow a small plant; 1600; 22
brick; clay; building site; build a wall; 2800; 24
roof tile; clay; building site; keep the rain off a house; 3300; 40
paving stone; stone; building site; lay a path; 12000; 47
millstone; stone; museum; grind grain; 900000; 125
statue; stone; museum; honour a hero; 300000; 195
oil painting; cloth; museum; decorate a wall; 2600; 85
pebble; stone; beach; skip over the water; 30; 4
shell; stone; beach; start a seaside collection; 12; 5
beach ball; rubber; beach; play catch in the sand; 90; 36
parasol; cloth; beach; get shade from the sun; 2400; 210
tent; cloth; camp site; sleep outdoors; 2900; 220
sleeping bag; cloth; camp site; stay warm at night outdoors; 1450; 200
hammock; cloth; camp site; rest between two trees; 750; 270
blanket; cloth; bedroom; keep warm in bed; 1350; 190
pillow; cloth; bedroom; rest your head; 600; 68
nightshirt; cloth; bedroom; dress for sleep; 330; 75
sock; cloth; bedroom; keep a foot warm; 38; 26
curtain; cloth; bedroom; keep out the morning light; 1250; 235
feather; feather; farm; tickle somebody; 1; 13
rubber band; rubber; office; hold a bundle of cards; 1; 9
eraser; rubber; school; remove pencil marks; 17; 4
tennis ball; rubber; sports field; play with a racket; 58; 7
football; rubber; sports field; score a goal; 430; 23
basketball; rubber; sports field; throw into a hoop; 610; 24
tyre; rubber; garage; replace a flat wheel; 9500; 64
garden hose; rubber; garage; spray water over the car; 3600; 320
car; metal; garage; drive to another town; 1300000; 430
bicycle; metal; garage; pedal to school; 13500; 175
truck; metal; building site; carry tons of gravel; 9000000; 850
crane; metal; building site; lift steel beams; 40000000; 4000
tractor; metal; farm; pull a plough; 4500000; 420
hay bale; straw; farm; feed the cows in winter; 16000; 95
straw hat; straw; farm; shade your head in the field; 85; 34
scarecrow; straw; farm; frighten birds away; 5500; 175
candle; wax; church; give a soft light in prayer; 130; 22
church bell; metal; church; call people to service; 700000; 110
organ; wood; church; play hymns; 3000000; 600
ice cube; ice; freezer; cool a drink; 21; 3
frozen pizza; food; freezer; make a quick dinner; 400; 29
stick of butter; butter; fridge; grease a tin; 250; 11
chocolate bar; chocolate; shop; melt into hot cocoa; 100; 16
egg; egg; fridge; bake a cake; 60; 6
tomato; soft food; fridge; make a red sauce; 115; 7
cream cake; soft food; fridge; celebrate a birthday; 1800; 27
anchor; metal; harbour; hold a ship in place; 250000; 170
rowing boat; wood; harbour; cross a lake; 90000; 380
ferry; metal; harbour; bring cars over the sea; 900000000; 9000
fishing net; cloth; harbour; catch herring; 7000; 1500
suitcase; plastic; station; pack for a journey; 3500; 72
train; metal; station; travel on rails; 300000000; 20000
"""

THINGS = tuple(
    Thing(name, material, place, use, int(grams), int(cm))
    for name, material, place, use, grams, cm in (
        row.split("; ") for row in _ROWS.strip().splitlines()
    )
)

MATERIALS = (
    "metal",
    "wood",
    "glass",
    "porcelain",
    "cloth",
    "paper",
    "plastic",
    "rubber",
    "clay",
    "stone",
    "wax",
    "straw",
    "ice",
)

# Things that several places keep, or that come in several materials: not asked about there.
MANY_PLACES = phrases(
    """bottle; mirror; window pane; light bulb; chair; table; key; coin; broom; match; newspaper;
    sponge; bucket; rubber band; brick; suitcase; curtain; football; chocolate bar; paper bag;
    ladder; ruler; pencil; eraser; notebook; blanket; organ; knife; statue; jar; spade"""
)
ONE_MATERIAL = phrases(
    """nail; key; coin; hammer; saw; anchor; church bell; screwdriver; car; bicycle; train; pot;
    pan; ferry; crane; truck; mirror; window pane; light bulb; jar; toothbrush; lunch box; pencil;
    plank;
    match; bookshelf; rolling pin; workbench; notebook; exam sheet; newspaper; envelope;
    towel; ticket; blanket; sock; curtain; nightshirt; hammock; tent; sleeping bag; pillow; brick;
    roof tile; pebble; paving stone; millstone; statue; eraser; tyre; garden hose; hay bale;
    scarecrow; candle"""
)
# Groups in which one thing could do for another: none is a wrong answer where the other is right.
SUBSTITUTES = tuple(
    phrases(row)
    for row in (
        "blanket; sleeping bag; sock; nightshirt; curtain; towel",
        "light bulb; candle; match",
        "lunch box; paper bag; suitcase; bucket; jar",
        "car; truck; tractor; train; bicycle; ferry; wheelbarrow; rowing boat; crane",
        "parasol; straw hat; tent",
        "beach ball; football; basketball; tennis ball; bath duck",
        "saw; knife",
        "brick; paving stone; plank; roof tile; ladder; pebble",
        "bottle; bucket; jar; watering can; bowl; cup; kettle; pot; vase; wine glass; flower pot",
        "garden hose; watering can; bucket; sponge",
        "mirror; oil painting; curtain; vase; statue",
        "table; workbench; chair; bookshelf; plate",
        "newspaper; notebook; envelope; exam sheet; ticket; pencil",
        "hammock; pillow; sleeping bag; tent; nightshirt",
        "rubber band; stapler; envelope",
        "chocolate bar; cream cake; frozen pizza; egg; tomato; stick of butter",
        "key; coin; cash box",
    )
)
# Long and thin or flat when spread out: their length is no measure of how big they are.
NO_SIZE = phrases(
    """garden hose; hammock; fishing net; ladder; curtain; towel; blanket; sleeping bag; broom;
    rake; parasol; tent; plank; rubber band; feather; newspaper; ticket; nail; match; pencil"""
)

# Events, and what they do to a thing of each material. A material that is missing is not asked.
SOFT, WHOLE = "It lands softly without a sound.", "It clatters but stays whole."
PIECES, SQUASHED = "It breaks into pieces.", "It is squashed and makes a mess."
SINKS, FLOATS = "It sinks to the bottom.", "It floats on the water."
ASHES, MELTS, HOT = "It burns to ashes.", "It melts.", "It becomes very hot but does not burn."
SPRINGS, FOLDS, CRACKS = "It bends and springs back.", "It folds easily.", "It cracks."
EFFECTS: dict[str, dict[str, str]] = {
    "fall": {
        "metal": WHOLE, "wood": WHOLE, "plastic": WHOLE, "glass": PIECES, "porcelain": PIECES,
        "clay": PIECES, "cloth": SOFT, "feather": SOFT, "foam": SOFT, "paper": SOFT,
        "rubber": "It bounces back up.", "egg": SQUASHED, "soft food": SQUASHED,
    },
    "water": {
        "metal": SINKS, "stone": SINKS, "clay": SINKS, "porcelain": SINKS, "wood": FLOATS,
        "wax": FLOATS, "feather": FLOATS, "paper": "It gets soaked and falls apart.",
        "rubber": FLOATS, "glass": SINKS,
    },
    "fire": {
        "wood": ASHES, "paper": ASHES, "cloth": ASHES, "straw": ASHES, "feather": ASHES,
        "wax": MELTS, "ice": MELTS, "butter": MELTS, "chocolate": MELTS,
        "metal": HOT, "stone": HOT, "clay": HOT,
    },
    "bend": {
        "rubber": SPRINGS, "foam": SPRINGS, "cloth": FOLDS, "paper": FOLDS, "glass": CRACKS,
        "porcelain": CRACKS, "clay": CRACKS, "chocolate": CRACKS, "wax": CRACKS,
        "stone": "It does not give way at all.",
    },
}  # fmt: skip
# What never happens, to fill the choices where an event has few outcomes.
ABSURD = {
    "fall": "It begins to grow.",
    "water": "It catches fire.",
    "fire": "It freezes solid.",
    "bend": "It turns into water.",
}
# Hollow things that may float, things that neither bounce nor land as their material does.
UNCLEAR: dict[str, frozenset[str]] = {
    "fall": frozenset(("garden hose", "tyre", "parasol", "tent", "oil painting", "rubber band")),
    "water": phrases(
        """pot; pan; kettle; watering can; cash box; jar; bottle; light bulb; wine glass; bowl;
        cup; tyre; garden hose; eraser; rubber band; vase; flower pot; shell; organ"""
    ),
    "fire": frozenset(("parasol", "watering can")),
    "bend": frozenset(("tyre", "parasol", "oil painting", "beach ball", "football", "basketball",
                       "tennis ball", "tent")),
}  # fmt: skip
LIGHT_ENOUGH_TO_HANDLE = 60_000  # grams: nobody drops a ferry

# Kilometres an hour.
SPEEDS: dict[str, float] = {
    "snail": 0.05,
    "tortoise": 0.4,
    "crawling baby": 1.2,
    "person out for a walk": 5,
    "jogger": 10,
    "rowing boat": 7,
    "cyclist": 20,
    "ferry": 35,
    "rabbit": 45,
    "galloping horse": 60,
    "city bus": 50,
    "racing pigeon": 90,
    "car on a motorway": 125,
    "cheetah": 105,
    "express train": 250,
    "racing car": 330,
    "passenger plane": 850,
    "jet fighter": 1900,
    "space rocket": 28000,
    "duck on a pond": 3,
    "ant": 0.8,
    "cable car": 25,
    "diving falcon": 300,
    "rifle bullet": 3000,
}
# Degrees Celsius.
HEATS: dict[str, float] = {
    "winter night at the pole": -55,
    "freezer": -18,
    "snowball": -1,
    "fridge": 5,
    "mountain stream": 9,
    "cellar": 13,
    "living room": 21,
    "swimming pool": 26,
    "summer day": 31,
    "human body": 37,
    "warm bath": 40,
    "sauna": 88,
    "fresh cup of tea": 75,
    "pot of boiling soup": 100,
    "baking oven": 200,
    "glowing iron bar": 900,
    "candle flame": 1100,
    "volcano": 1200,
    "star": 6000,
    "steaming plate of food": 62,
    "bonfire": 800,
    "desert at noon": 48,
}
