"""Commonsense: uses, places, materials, which is heavier or faster, and what happens when ….

Knows how to ask about the table of things. What is asked in a starter task is held out as a
combination: a thing in that wording, the two leading things of a comparison, a thing in an event.
"""

from __future__ import annotations

import random
from functools import cache

from demo.item import SEED, Item, article, ask, choose, collect, held_out, listed, words
from demo.things import (
    ABSURD,
    EFFECTS,
    HEATS,
    LIGHT_ENOUGH_TO_HANDLE,
    MANY_PLACES,
    MATERIALS,
    NO_SIZE,
    ONE_MATERIAL,
    SPEEDS,
    SUBSTITUTES,
    THINGS,
    UNCLEAR,
    Thing,
)

NAMES = words("Anna Ben Carla David Emma Felix Grace Henry Iris Jack Kate Leo Mia Noah")

# Wordings: the first ones are the training's, the last but one is the starter tasks' (the training
# uses it for other things only), the last one is in no training text.
USE = (
    "Which thing is used to {use}?",
    "What do people need to {use}?",
    "{name} wants to {use}. What should {name} take?",
    "To {use}, what would help you best?",
)
PLACE = (
    "Where is {thing} usually found?",
    "In which place would you see {thing}?",
    "{name} is looking for {thing}. Where should {name} go first?",
    "What is the usual spot for {thing}?",
)
MATERIAL = (
    "What is {thing} made of?",
    "Which material is used to make {thing}?",
    "If you touch {thing}, what do you feel under your fingers?",
    "{name} makes {thing}. Out of what?",
)
EVENTS = {
    "fall": (
        "{thing} falls onto a stone floor. What happens to it?",
        "{name} drops {thing} on hard ground. What follows?",
        "By accident {name} lets go of {thing} above the pavement. What happens?",
        "From a table {thing} tumbles onto concrete. What is the result?",
    ),
    "water": (
        "{thing} falls into a lake. What happens to it?",
        "{name} throws {thing} into deep water. What follows?",
        "From a bridge {name} drops {thing} into the river. What happens?",
        "A wave carries off {thing}. What becomes of it at sea?",
    ),
    "fire": (
        "{thing} falls into a fire. What happens to it?",
        "{name} holds {thing} in the flames. What follows?",
        "By mistake {name} leaves {thing} in a burning stove. What happens?",
        "A house is on fire and {thing} is inside. What is the result?",
    ),
    "bend": (
        "{name} tries to bend {thing}. What happens to it?",
        "{name} pushes hard on both ends of {thing}. What follows?",
        "With both hands {name} tries to fold {thing}. What happens?",
        "Somebody strong wants to roll up {thing}. What is the result?",
    ),
}
COMPARISONS: dict[str, tuple[dict[str, float], tuple[str, ...], str]] = {
    "weight": (
        {t.name: float(t.grams) for t in THINGS},
        (
            "Which is the heaviest: {list}?",
            "Which of these weighs the most: {list}?",
            "{name} has to lift one of these. Which is the hardest to lift: {list}?",
            "On a pair of scales, what would outweigh the rest: {list}?",
        ),
        "Which is heavier, {pair}?",
    ),
    "size": (
        {t.name: float(t.cm) for t in THINGS if t.name not in NO_SIZE},
        (
            "Which is the biggest: {list}?",
            "Which of these is the largest: {list}?",
            "{name} needs the most room for one of these. Which one: {list}?",
            "What would take up the most space: {list}?",
        ),
        "Which is bigger, {pair}?",
    ),
    "speed": (
        SPEEDS,
        (
            "Which is the fastest: {list}?",
            "Which of these moves the quickest: {list}?",
            "{name} watches a race between these. Which one wins: {list}?",
            "What would leave the rest behind: {list}?",
        ),
        "Which is faster, {pair}?",
    ),
    "heat": (
        HEATS,
        (
            "Which is the hottest: {list}?",
            "Which of these is the warmest: {list}?",
            "{name} measures the temperature of these. Which is the highest: {list}?",
            "What would warm you up the most: {list}?",
        ),
        "Which is hotter, {pair}?",
    ),
}
TRAINED, TESTED, UNSEEN = (0, 1), 2, 3


def _say(wording: str, thing: Thing, rng: random.Random) -> str:
    text = wording.format(thing=article(thing.name), use=thing.use, name=rng.choice(NAMES))
    return text[0].upper() + text[1:]


def _about(
    relation: str, wordings: tuple[str, ...], wording: int, thing: Thing, rng: random.Random
) -> Item:
    """A question about a thing's use, place or material."""
    if relation == "use":
        answer = article(thing.name)
        others = _useless(thing)
    elif relation == "place":
        answer, others = thing.place, [t.place for t in THINGS]
    else:
        answer, others = thing.material, list(MATERIALS)
    return Item(
        "commonsense",
        relation,
        ask(_say(wordings[wording], thing, rng)),
        answer,
        choose(rng, answer, others),
    )


@cache
def _useless(thing: Thing) -> list[str]:
    """The things that nobody would take for the purpose of this one."""
    alike = {name for group in SUBSTITUTES if thing.name in group for name in group}
    return [article(t.name) for t in THINGS if t.place != thing.place and t.name not in alike]


def _effect(event: str, wording: int, thing: Thing, rng: random.Random) -> Item:
    answer = EFFECTS[event][thing.material]
    prompt = ask(_say(EVENTS[event][wording], thing, rng))
    return Item(
        "commonsense",
        f"effect: {event}",
        prompt,
        answer,
        choose(rng, answer, [*EFFECTS[event].values(), ABSURD[event]]),
    )


def _kept_pair(relation: str, first: str, second: str) -> bool:
    return held_out(5, relation, min(first, second), max(first, second))


def _comparison(relation: str, wording: int, kept: bool, rng: random.Random) -> Item | None:
    """The greatest of four; the leading two are a held-out pair, or no pair of them is.

    The leading two differ enough for the answer to be beyond dispute.
    """
    table, wordings, _ = COMPARISONS[relation]
    names = sorted(rng.sample(sorted(table), 4), key=lambda name: -table[name])
    if not _clear(relation, table[names[0]], table[names[1]]):
        return None
    if kept != _kept_pair(relation, names[0], names[1]):
        return None
    if not kept and any(_kept_pair(relation, names[0], other) for other in names[2:]):
        return None
    answer = article(names[0])
    shown = [article(name) for name in names]
    rng.shuffle(shown)
    text = wordings[wording].format(list=listed(shown), name=rng.choice(NAMES))
    return Item(
        "commonsense", relation, ask(text), answer, (answer, *(x for x in shown if x != answer))
    )


def _clear(relation: str, high: float, low: float) -> bool:
    if relation == "heat":
        return high - low >= 10 and (low < 50 or high >= 1.3 * low)
    return high >= 1.5 * low


def _pair(relation: str, rng: random.Random) -> Item | None:
    """The greater of two, for the training: the order is learned from these."""
    table, _, wording = COMPARISONS[relation]
    names = rng.sample(sorted(table), 2)
    first, second = sorted(names, key=lambda name: -table[name])
    if not _clear(relation, table[first], table[second]) or _kept_pair(relation, first, second):
        return None
    pair = f"{article(names[0])} or {article(names[1])}"
    return Item("commonsense", relation, ask(wording.format(pair=pair)), article(first))


RELATIONS = {"use": USE, "place": PLACE, "material": MATERIAL}


def _askable(relation: str, thing: Thing) -> bool:
    if relation == "material":
        return thing.name in ONE_MATERIAL
    return relation == "use" or thing.name not in MANY_PLACES


def train_item(rng: random.Random) -> Item:
    """A question whose combination the starter tasks don't use."""
    while True:
        draw = rng.random()
        item: Item | None = None
        if draw < 0.35:
            relation = rng.choice(sorted(RELATIONS))
            thing = rng.choice(THINGS)
            kept = held_out(2, relation, thing.name)
            wording = rng.choice(TRAINED if kept else (*TRAINED, TESTED))
            if _askable(relation, thing):
                item = _about(relation, RELATIONS[relation], wording, thing, rng)
        elif draw < 0.55:
            event = rng.choice(sorted(EFFECTS))
            thing = rng.choice(THINGS)
            if _can_happen(event, thing) and not held_out(3, event, thing.name):
                item = _effect(event, rng.choice((*TRAINED, TESTED)), thing, rng)
        else:
            relation = rng.choice(sorted(COMPARISONS))
            if rng.random() < 0.5:
                item = _pair(relation, rng)
            else:
                item = _comparison(relation, rng.choice((*TRAINED, TESTED)), False, rng)
        if item is not None:
            return item


def _can_happen(event: str, thing: Thing) -> bool:
    return (
        thing.material in EFFECTS[event]
        and thing.name not in UNCLEAR[event]
        and thing.grams <= LIGHT_ENOUGH_TO_HANDLE
    )


def _held_out_item(kind: str, wording: int, rng: random.Random) -> Item | None:
    thing = rng.choice(THINGS)
    if kind in COMPARISONS:
        return _comparison(kind, wording, True, rng)
    if kind in EVENTS:
        if not _can_happen(kind, thing) or not held_out(3, kind, thing.name):
            return None
        return _effect(kind, wording, thing, rng)
    if not _askable(kind, thing) or not held_out(2, kind, thing.name):
        return None
    return _about(kind, RELATIONS[kind], wording, thing, rng)


KINDS = (*RELATIONS, *EVENTS, *COMPARISONS)
SHARES = {
    "use": 5,
    "place": 5,
    "material": 3,
    "fall": 2,
    "water": 2,
    "fire": 2,
    "bend": 1,
    "weight": 6,
    "size": 6,
    "speed": 4,
    "heat": 4,
}


def _draw(count: int, wording: int, rng: random.Random) -> list[Item]:
    """`count` items, the kinds by their shares, each combination once."""
    turns = [kind for kind, share in SHARES.items() for _ in range(share)]
    found: set[str] = set()

    def make(rng: random.Random) -> Item | None:
        item = _held_out_item(turns[len(found) % len(turns)], wording, rng)
        if item is None:
            return None
        # The same question about another person is no other question.
        key = " ".join("X" if word in NAMES else word for word in item.prompt.split())
        if key in found:
            return None
        found.add(key)
        return item

    return collect(make, count, rng)


def starter_items(count: int) -> dict[str, list[Item]]:
    """`count` questions by choice."""
    rng = random.Random(f"{SEED}/starter/commonsense")
    return {"starter_commonsense": _draw(count, TESTED, rng)}


def unseen_wording_items(count: int) -> list[Item]:
    """Questions by choice in words that the training does not hold."""
    return _draw(count, UNSEEN, random.Random(f"{SEED}/unseen/commonsense"))
