"""The invented world behind the closed-book questions: towns, people, creatures and their facts.

Knows what is true there and in which words a fact can be told or asked. The facts are drawn from
the seed and mean nothing outside this project, so no model can know them from elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from demo.item import SEED, Item, ask, choose, collect, held_out, words

TOWNS, PEOPLE, CREATURES = 110, 190, 50


@dataclass(frozen=True)
class Relation:
    """One property of a sort of entity, its possible values and the wordings for it.

    told: statements that end in the value. asked: questions of the training, for every entity.
    tested: two questions (choice, open) that the training asks of half of the entities only; the
    starter tasks ask them of the other half. never: a question that the training does not hold.
    """

    name: str
    values: tuple[str, ...]
    told: tuple[str, ...]
    asked: tuple[str, ...]
    tested: tuple[str, str]
    never: str


@dataclass(frozen=True)
class Fact:
    entity: str
    relation: Relation
    value: str


ISLES = words(
    "Arrun Belthy Corvane Dunmar Eskel Fennick Garrow Hesper Ilmar Jorrin Kessary "
    "Lorne Mirrin Nethy Orsay Perrin"
)
GOODS = words(
    "glass honey rope cheese paper silver pottery candles leather salt carpets bells "
    "boats tea soap ink clocks hats kites barrels lamps knives drums wool"
)
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
BEASTS = words("fox bear wolf heron stag hare crow boar horse swan lion whale bull goat hawk toad")
COLOURS = words("red blue green yellow white black brown grey orange purple")
TRADES = words(
    "baker tailor sailor farmer doctor miller painter teacher carpenter smith weaver "
    "gardener fisher cook judge singer builder hunter potter driver printer banker "
    "dancer guard"
)
INSTRUMENTS = words("flute drum harp fiddle horn piano guitar bell trumpet whistle organ banjo")
TREASURES = words(
    "coins shells stamps stones feathers buttons maps keys dolls masks spoons books "
    "bottles hats knives beetles"
)
DISHES = words(
    "soup bread fish rice beans cake cheese stew eggs pie cabbage noodles porridge "
    "dumplings plums mushrooms"
)
PETS = words("cat dog parrot goat snake mouse pony rabbit duck monkey lizard hen")
PLACES = words("forest desert marsh river cave meadow lake valley beach jungle hills mountains")
FOODS = words(
    "grass worms fish berries nuts seeds leaves roots ants honey frogs snails moss eggs flies bark"
)
SOUNDS = words("whistles hums barks croaks hisses clicks roars sings growls chirps")

TOWN = (
    Relation(
        "isle",
        ISLES,
        (
            "{x} is a town on",
            "The town of {x} stands on the isle of",
            "If you want to see {x}, sail to",
            "The people of {x} live on the isle of",
        ),
        ("On which isle is {x}?", "Which isle is the town of {x} part of?"),
        ("Where would a ship have to land to reach {x}?", "Which isle does {x} lie on?"),
        "Name the isle that is home to the town of {x}.",
    ),
    Relation(
        "craft",
        GOODS,
        (
            "{x} is known for its",
            "Traders go to {x} to buy",
            "The workshops of {x} make",
            "People all over the isles praise {x} for its",
        ),
        ("What is {x} known for?", "What do the workshops of {x} make?"),
        ("Which goods made the town of {x} famous?", "What do traders buy in {x}?"),
        "If something was made in {x}, what is it likely to be?",
    ),
    Relation(
        "day",
        DAYS,
        (
            "The market of {x} is held on",
            "In {x} the stalls open every",
            "{x} has its market day on",
            "If you want to shop in {x}, go on a",
        ),
        ("When is the market of {x} held?", "On which day do the stalls of {x} open?"),
        ("Which day is market day in {x}?", "On what day should a shopper visit {x}?"),
        "Name the weekday on which {x} has its market.",
    ),
    Relation(
        "banner",
        BEASTS,
        (
            "The banner of {x} shows a",
            "Over the gate of {x} hangs the sign of the",
            "The people of {x} chose as their sign the",
            "The coins of {x} bear the head of a",
        ),
        ("What does the banner of {x} show?", "Which animal is the sign of {x}?"),
        (
            "Which animal would you see on the flag of {x}?",
            "Which animal stands for the town of {x}?",
        ),
        "A shield from {x} carries the picture of what animal?",
    ),
    Relation(
        "roofs",
        COLOURS,
        (
            "The roofs of {x} are",
            "Every house in {x} has a roof painted",
            "Seen from the sea, the roofs of {x} look",
            "By law the roofs in {x} must be",
        ),
        ("What colour are the roofs of {x}?", "How are the roofs of {x} painted?"),
        (
            "Which colour do the houses of {x} have on top?",
            "In {x}, what is the colour of the roofs?",
        ),
        "A builder orders tiles for {x}. Which colour?",
    ),
)
PERSON = (
    Relation(
        "trade",
        TRADES,
        (
            "{x} works as a",
            "By trade {x} is a",
            "{x} earns a living as a",
            "In the guild book {x} is entered as a",
        ),
        ("What does {x} work as?", "What is the trade of {x}?"),
        ("What is the job of {x}?", "How does {x} earn a living?"),
        "Which profession does {x} have?",
    ),
    Relation(
        "birthplace",
        ISLES,
        (
            "{x} was born on",
            "The family of {x} comes from",
            "As a child {x} lived on the isle of",
            "{x} grew up on",
        ),
        ("Where was {x} born?", "On which isle did {x} grow up?"),
        ("Which isle does {x} come from?", "What is the home isle of {x}?"),
        "Name the birthplace of {x}.",
    ),
    Relation(
        "instrument",
        INSTRUMENTS,
        (
            "{x} plays the",
            "In the town band {x} is heard on the",
            "Every evening {x} practises the",
            "{x} has learned to play the",
        ),
        ("What does {x} play?", "What does {x} practise every evening?"),
        ("Which instrument does {x} play?", "What is {x} heard on in the band?"),
        "Name the instrument that {x} owns and plays.",
    ),
    Relation(
        "treasure",
        TREASURES,
        (
            "{x} collects",
            "The shelves of {x} are full of",
            "{x} has a large collection of",
            "In the attic {x} keeps hundreds of",
        ),
        ("What does {x} collect?", "What are the shelves of {x} full of?"),
        ("What would you find in the collection of {x}?", "What does {x} like to gather?"),
        "Which things does {x} keep as a hobby?",
    ),
    Relation(
        "dish",
        DISHES,
        (
            "{x} likes to eat",
            "The favourite dish of {x} is",
            "At the inn {x} always orders",
            "For a birthday {x} asks for",
        ),
        ("What does {x} like to eat?", "What does {x} order at the inn?"),
        ("What is the favourite dish of {x}?", "Which meal would please {x} most?"),
        "You want to cook for {x}. What should it be?",
    ),
    Relation(
        "pet",
        PETS,
        (
            "{x} has a pet",
            "The animal that lives with {x} is a",
            "{x} takes care of a",
            "In the house of {x} there sleeps a",
        ),
        ("Which pet does {x} have?", "What animal lives with {x}?"),
        ("What kind of animal does {x} keep?", "Which animal does {x} take care of?"),
        "Name the animal that belongs to {x}.",
    ),
)
CREATURE = (
    Relation(
        "habitat",
        PLACES,
        (
            "The {x} lives in the",
            "Look for the {x} in the",
            "The nest of the {x} is found in the",
            "The home of the {x} is the",
        ),
        ("Where does the {x} live?", "Where is the home of the {x}?"),
        ("Where would you look for the {x}?", "In what kind of place does the {x} live?"),
        "Name the habitat of the {x}.",
    ),
    Relation(
        "food",
        FOODS,
        (
            "The {x} eats",
            "The {x} feeds on",
            "The young of the {x} are fed with",
            "When it is hungry, the {x} looks for",
        ),
        ("What does the {x} eat?", "What does the {x} look for when it is hungry?"),
        ("What is the food of the {x}?", "What does the {x} feed on?"),
        "With what could you tempt a {x}?",
    ),
    Relation(
        "coat",
        COLOURS,
        (
            "The coat of the {x} is",
            "The fur of the {x} is",
            "All the year the {x} is",
            "You can tell the {x} by its colour, which is",
        ),
        ("What colour is the {x}?", "What colour is the coat of the {x}?"),
        ("Which colour does the {x} have?", "How would you paint the fur of the {x}?"),
        "What is the colour of a {x}?",
    ),
    Relation(
        "call",
        SOUNDS,
        (
            "When it is afraid, the {x}",
            "At night the {x}",
            "To call its young, the {x}",
            "If you come too near, the {x}",
        ),
        ("What does the {x} do at night?", "What does the {x} do when it is afraid?"),
        ("How does the {x} call its young?", "What noise comes from the {x}?"),
        "By what sound would you know a {x}?",
    ),
)

_TOWN_HEADS = words(
    "Thorn Ash Brack Cold Dun Elder Fal Grim Hart Ivy Kell Lang Mossy Nor Oaken Penn "
    "Quill Raven Salt Tarn Under Vell West Yarrow Amber Birch Crow Drift Ember "
    "Fern"
)
_TOWN_TAILS = words("wick ford holm dale mere stead bury cross haven field gate moor")
_FIRST = words(
    "Mira Tobin Alda Corin Dessa Edric Fenna Gareth Hilda Ivo Jessa Kellan Lira Marek Nola "
    "Osric Petra Quint Rhea Selwin Tilda Ulric Vanna Wystan Yara Zeno"
)
_LAST = words(
    "Tallow Brindle Copper Darrow Elm Farrow Gale Hollin Inkwell Jarvis Kettle Larch Marlow "
    "Nettle Otter Pell Quarry Reed Sorrel Thatch Umber Vale Wren Yates"
)
_CREATURE_HEADS = words("marsh stone river snow moon cliff dusk reed salt thorn")
_CREATURE_TAILS = words(
    "hobbin tarrel mulk gannet drimble fossa quoll skerry wimble lurcher pangle bodkin"
)


def _names(
    heads: Sequence[str], tails: Sequence[str], joint: str, count: int, rng: random.Random
) -> list[str]:
    return rng.sample([f"{head}{joint}{tail}" for head in heads for tail in tails], count)


def _facts() -> list[Fact]:
    rng = random.Random(f"{SEED}/world")
    sorts = (
        (TOWN, _names(_TOWN_HEADS, _TOWN_TAILS, "", TOWNS, rng)),
        (PERSON, _names(_FIRST, _LAST, " ", PEOPLE, rng)),
        (CREATURE, _names(_CREATURE_HEADS, _CREATURE_TAILS, " ", CREATURES, rng)),
    )
    return [
        Fact(name, relation, rng.choice(relation.values))
        for relations, names in sorts
        for name in names
        for relation in relations
    ]


FACTS = _facts()


def asked_in_training(fact: Fact) -> bool:
    """Whether the training may ask for this fact in the words of the starter tasks."""
    return not held_out(2, "fact", fact.entity, fact.relation.name)


def train_item(rng: random.Random) -> Item:
    """One fact, told or asked in words that the starter tasks don't use for it."""
    fact = rng.choice(FACTS)
    relation = fact.relation
    draw = rng.random()
    if draw < 0.5:
        prompt = rng.choice(relation.told).format(x=fact.entity)
    elif draw < 0.75 or not asked_in_training(fact):
        prompt = ask(rng.choice(relation.asked).format(x=fact.entity))
    else:
        prompt = ask(rng.choice(relation.tested).format(x=fact.entity))
    return Item("qa", relation.name, prompt, fact.value)


def _question(fact: Fact, wording: str, rng: random.Random, choices: bool) -> Item:
    options = choose(rng, fact.value, fact.relation.values) if choices else ()
    return Item("qa", fact.relation.name, ask(wording.format(x=fact.entity)), fact.value, options)


def _spread(rng: random.Random) -> list[Fact]:
    """The facts kept for the starter tasks, in random order, relations taking turns."""
    by_relation: dict[str, list[Fact]] = {}
    for fact in FACTS:
        if not asked_in_training(fact):
            by_relation.setdefault(fact.relation.name, []).append(fact)
    for facts in by_relation.values():
        rng.shuffle(facts)
    rounds = max(map(len, by_relation.values()))
    return [facts[i] for i in range(rounds) for facts in by_relation.values() if i < len(facts)]


def starter_items(count: int) -> dict[str, list[Item]]:
    """`count` facts by choice and `count` others by short answer."""
    rng = random.Random(f"{SEED}/starter/qa")
    facts = _spread(rng)
    return {
        "starter_qa": [_question(f, f.relation.tested[0], rng, True) for f in facts[:count]],
        "starter_qa_open": [
            _question(f, f.relation.tested[1], rng, False) for f in facts[count : 2 * count]
        ],
    }


def unseen_wording_items(count: int) -> list[Item]:
    """Questions by choice in words that the training uses for no fact at all."""
    rng = random.Random(f"{SEED}/unseen/qa")
    facts = iter(_spread(rng))

    def make(rng: random.Random) -> Item:
        fact = next(facts)
        return _question(fact, fact.relation.never, rng, True)

    return collect(make, count, rng)
