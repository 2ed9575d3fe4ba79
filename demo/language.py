"""Language: agreement, tense, pronouns, opposites, likenesses, words of a kind and word order.

Knows the wordings; the words come from the lexicon. What a starter task asks is held out as a
combination of words: a subject with its neighbour, a verb with its subject, a set of four words.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

from demo.item import SEED, Item, ask, choose, collect, held_out
from demo.lexicon import (
    CATEGORIES,
    FEMALE,
    MALE,
    MOODS,
    NAMES,
    NEAR,
    OPPOSITES,
    PEOPLE,
    PREPOSITIONS,
    STATES,
    SYNONYMS,
    THINGS,
    VERBS,
)

# The wordings of each kind: the training's, the starter tasks', and one that no training text has.
COMPLETE = (
    "Complete the sentence: {}",
    "How does this sentence go on? {}",
    "Finish what somebody has begun to say: {}",
)
TRAINED, TESTED, UNSEEN = 0, 1, 2

_NOUNS = PEOPLE | THINGS
_EVERY_NOUN, _PEOPLE, _THINGS = sorted(_NOUNS), sorted(PEOPLE), sorted(THINGS)
_CATEGORIES = sorted(CATEGORIES)


def _complete(
    rng: random.Random, kind: str, wording: int, start: str, answer: str, choices: tuple[str, ...]
) -> Item:
    # The training sees both forms for its own combinations; only the combination is held out.
    form = rng.choice(COMPLETE[: TESTED + 1]) if wording == TRAINED else COMPLETE[wording]
    return Item("language", kind, form.format(start), answer, choices)


def _agreement(rng: random.Random, wording: int, kept: bool) -> Item | None:
    """The verb follows the head of the subject, not the nouns between."""
    nouns, states = rng.choice(((PEOPLE, MOODS), (THINGS, STATES)))
    head, other = rng.choice(sorted(nouns)), rng.choice(_EVERY_NOUN)
    if head == other or held_out(5, "agreement", head, other) != kept:
        return None
    plural, other_plural = rng.random() < 0.5, rng.random() < 0.5
    subject = nouns[head] if plural else head
    neighbour = _NOUNS[other] if other_plural else other
    if rng.random() < 0.3 and other in PEOPLE:
        likes = "like" if other_plural else "likes"
        start = f"The {subject} that the {neighbour} {likes}"
    else:
        start = f"The {subject} {rng.choice(PREPOSITIONS)} the {neighbour}"
    end = rng.choice(states)
    right, wrong = ("are", "is") if plural else ("is", "are")
    choices = tuple(f"{verb} {end}." for verb in (right, wrong, "am", "be"))
    return _complete(rng, "agreement", wording, start, choices[0], choices)


TIMES = (
    "Yesterday",
    "Last week",
    "Every day",
    "Most of the time",
    "Tomorrow",
    "Next week",
    "Right now",
    "At this moment",
    "For years",
    "Many times",
)


def _tense(rng: random.Random, wording: int, kept: bool) -> Item | None:
    """The form of the verb follows the time and the number of the subject."""
    noun, other, time = rng.choice(_PEOPLE), rng.choice(_THINGS), rng.choice(TIMES)
    if held_out(5, "tense", noun, other, time) != kept:
        return None
    base, third, past, participle, going, rest = rng.choice(VERBS)
    plural = rng.random() < 0.5
    neighbour = THINGS[other] if rng.random() < 0.5 else other
    subject = f"{PEOPLE[noun] if plural else noun} {rng.choice(PREPOSITIONS)} the {neighbour}"
    present, wrong_present = (base, third) if plural else (third, base)
    be, wrong_be, have = ("are", "is", "have") if plural else ("is", "are", "has")
    start = f"{time} the {subject}"
    kind = TIMES.index(time) // 2
    # The right form comes first; the wrong ones are wrong in every reading, not only unusual.
    if kind == 0:
        forms = (past, present, f"will {base}", f"{be} {going}")
    elif kind == 1:
        forms = (present, wrong_present, going, f"{wrong_be} {going}")
    elif kind == 2:
        forms = (f"will {base}", past, going, f"{have} {participle}")
    elif kind == 3:
        forms = (f"{be} {going}", f"{wrong_be} {going}", going, past)
    else:
        start += f" {have}"
        forms = (participle, base, going, third if past == participle else past)
    if len(set(forms)) < 4:
        return None
    choices = tuple(f"{form} {rest}." for form in forms)
    return _complete(rng, "tense", wording, start, choices[0], choices)


def _pronoun(rng: random.Random, wording: int, kept: bool) -> Item | None:
    """The pronoun points back to the subject over whatever stands between."""
    gender = rng.choice(("she", "he", "they"))
    if gender == "they":
        noun = rng.choice(_PEOPLE)
        subject = f"The {PEOPLE[noun]}"
    elif rng.random() < 0.5:
        noun = rng.choice(FEMALE if gender == "she" else MALE)
        subject = f"The {noun}"
    else:
        noun = rng.choice([name for name, pronoun in NAMES.items() if pronoun == gender])
        subject = noun
    other = rng.choice([*NAMES, *(f"the {x}" for x in (*FEMALE, *MALE))])
    if other.removeprefix("the ") == noun or held_out(5, "pronoun", noun, other) != kept:
        return None
    start, forms = rng.choice(
        (
            (
                f"{subject} did not ask {other} for help but did all the work",
                {"she": "herself.", "he": "himself.", "they": "themselves.", "": "itself."},
            ),
            (
                f"{subject} waved to {other} and then closed",
                {
                    "she": "her own door.",
                    "he": "his own door.",
                    "they": "their own doors.",
                    "": "its own door.",
                },
            ),
            (
                f"{subject} looked into the mirror beside {other} and saw",
                {"she": "herself.", "he": "himself.", "they": "themselves.", "": "itself."},
            ),
        )
    )
    choices = (forms[gender], *(form for key, form in forms.items() if key != gender))
    return _complete(rng, "pronoun", wording, start, choices[0], choices)


PAIRS = {"opposite": OPPOSITES, "synonym": SYNONYMS}
PAIR_WORDINGS = {
    "opposite": (
        ("What is the opposite of {}?", "Which word means the contrary of {}?"),
        "Which word has the reverse meaning of {}?",
        "If something is not {} at all, which word fits?",
    ),
    "synonym": (
        ("What is another word for {}?", "Which word means nearly the same as {}?"),
        "Which word could replace {} in a sentence?",
        "Name a word that is close in meaning to {}.",
    ),
}
TOLD = {"opposite": "The opposite of {} is", "synonym": "Another word for {} is"}
VOCABULARY = sorted({word for pairs in PAIRS.values() for pair in pairs for word in pair})
# A word may have several partners (question: reply, statement); none of them is a wrong choice.
PARTNERS: dict[str, set[str]] = {}
for _pair in (*OPPOSITES, *SYNONYMS):
    for _word in _pair:
        PARTNERS.setdefault(_word, set()).update(_pair)


@cache
def _unrelated(kind: str, word: str, answer: str) -> list[str]:
    """The words that are plainly no answer."""
    taken = PARTNERS[word] | PARTNERS[answer]
    # For an opposite, words near the question's own word are fair and good wrong choices.
    centres = (answer,) if kind == "opposite" else (word, answer)
    for group in NEAR:
        if not group.isdisjoint(centres):
            taken |= group
    return [w for w in VOCABULARY if w not in taken]


def _meaning(rng: random.Random, kind: str, wording: int, kept: bool) -> Item | None:
    """Opposites and likenesses, told and asked in both directions.

    The starter tasks ask half of the words in a wording that the training uses for the others.
    """
    pair = rng.choice(PAIRS[kind])
    word, answer = pair if rng.random() < 0.5 else pair[::-1]
    if sum(word in other for other in PAIRS[kind]) > 1:
        return None
    half = held_out(2, "meaning", kind, word)
    if wording == TRAINED:
        forms = [*map(ask, PAIR_WORDINGS[kind][0]), TOLD[kind]]
        if not half:
            forms.append(ask(PAIR_WORDINGS[kind][1]))
        form = rng.choice(forms)
    elif half != kept:
        return None
    else:
        form = ask(str(PAIR_WORDINGS[kind][wording]))
    choices = choose(rng, answer, _unrelated(kind, word, answer))
    if wording != TRAINED:
        # One of the wrong choices has the other relation to the word, where there is such a word.
        other_kind = "synonym" if kind == "opposite" else "opposite"
        near = sorted(
            w for p in PAIRS[other_kind] if word in p for w in p if w != word and w not in choices
        )
        if near:
            choices = (*choices[:3], near[0])
    return Item("language", kind, form.format(word), answer, choices)


# The same three words may be shown with several answers, so the starter tasks have words of their
# own here; what is held out besides is the three words together with the answer.
KIND = (
    (
        "Which word belongs with {}?",
        "Name one more of the same kind: {}.",
        "Which word would fit in a list with {}?",
    ),
    "Which word would go well in a list with {}?",
    "Somebody collects {}. What comes next?",
)


def _same_kind(rng: random.Random, wording: int, kept: bool) -> Item | None:
    """Three words of one category; the answer is of that category, the other choices are not."""
    inner, *outer = rng.sample(_CATEGORIES, 4)
    answer, *shown = rng.sample(CATEGORIES[inner], 4)
    if held_out(4, "kind", *sorted(shown), answer) != kept:
        return None
    form = rng.choice(KIND[0]) if wording == TRAINED else str(KIND[wording])
    others = [rng.choice(CATEGORIES[name]) for name in outer]
    listing = f"{shown[0]}, {shown[1]} and {shown[2]}"
    return Item("language", "same kind", ask(form.format(listing)), answer, (answer, *others))


ORDER = (
    ("Put these words in order: {}.", "Make a sentence of these words: {}."),
    "What sentence can be made of these words: {}?",
    "The words were shaken up: {}. How did the sentence read?",
)


def _order(rng: random.Random, wording: int, kept: bool) -> Item | None:
    """A sentence from its shuffled words; the wrong choices have the same words."""
    noun, verb = rng.choice(_PEOPLE), rng.choice(VERBS)
    if held_out(4, "order", noun, verb[0]) != kept:
        return None
    extra = rng.choice(("always", "often", "never", "sometimes"))
    words = ["the", noun, extra, verb[1], *verb[5].split()]
    sentence = " ".join(words)
    shuffled = words[:]
    rng.shuffle(shuffled)
    wrong: list[str] = []
    for _ in range(50):
        other = words[:]
        i, j = rng.sample(range(len(words)), 2)
        other[i], other[j] = other[j], other[i]
        # Adverbs may move in English; only swaps that leave the adverb alone are plainly wrong.
        if other.index(extra) == 2 and " ".join(other) not in (sentence, *wrong):
            wrong.append(" ".join(other))
    if len(wrong) < 3:
        return None
    form = rng.choice((*ORDER[0], ORDER[1])) if wording == TRAINED else str(ORDER[wording])
    choices = tuple(text[0].upper() + text[1:] + "." for text in (sentence, *wrong[:3]))
    return Item(
        "language", "word order", ask(form.format(" / ".join(shuffled))), choices[0], choices
    )


KINDS: dict[str, Callable[[random.Random, int, bool], Item | None]] = {
    "agreement": _agreement,
    "tense": _tense,
    "pronoun": _pronoun,
    "opposite": lambda rng, wording, kept: _meaning(rng, "opposite", wording, kept),
    "synonym": lambda rng, wording, kept: _meaning(rng, "synonym", wording, kept),
    "same kind": _same_kind,
    "word order": _order,
}
# Word order is long and easy: it needs fewer examples than its share of the tasks.
TRAIN_SHARES = (
    "agreement",
    "agreement",
    "tense",
    "tense",
    "tense",
    "pronoun",
    "opposite",
    "synonym",
    "same kind",
    "same kind",
    "word order",
)
STARTER_SHARES = (
    "agreement",
    "agreement",
    "tense",
    "tense",
    "pronoun",
    "opposite",
    "opposite",
    "synonym",
    "synonym",
    "same kind",
    "same kind",
    "word order",
)


def train_item(rng: random.Random) -> Item:
    """An item whose combination the starter tasks don't use."""
    while True:
        item = KINDS[rng.choice(TRAIN_SHARES)](rng, TRAINED, False)
        if item is not None:
            return item


def _draw(count: int, wording: int, rng: random.Random) -> list[Item]:
    found: dict[str, Item] = {}

    def make(rng: random.Random) -> Item | None:
        kind = STARTER_SHARES[len(found) % len(STARTER_SHARES)]
        item = KINDS[kind](rng, wording, True)
        if item is not None:
            found.setdefault(item.prompt, item)
        return item

    return collect(make, count, rng)


def starter_items(count: int) -> dict[str, list[Item]]:
    """`count` items by choice."""
    rng = random.Random(f"{SEED}/starter/language")
    return {"starter_language": _draw(count, TESTED, rng)}


def unseen_wording_items(count: int) -> list[Item]:
    """Items by choice in words that the training does not hold."""
    return _draw(count, UNSEEN, random.Random(f"{SEED}/unseen/language"))
