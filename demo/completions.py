"""Code: functions to complete by choice, from what their docstring says.

Knows the functions' purposes as templates; nothing is executed here. A completion is either the
training's or the starter tasks', decided by the combination of purpose and names.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from demo.item import Item, held_out, words


@dataclass(frozen=True)
class Intent:
    """A function to complete: its arguments, three descriptions and bodies, the right one first.

    The third description is used only by the check on unseen phrasing. {x} {y} are arguments,
    {v} is a list, {w} a text, {k} a number.
    """

    arguments: str
    descriptions: tuple[str, str, str]
    bodies: tuple[str, ...]


INTENTS = (
    Intent(
        "{x}, {y}",
        (
            "Return the larger of {x} and {y}.",
            "Give back whichever of {x} and {y} is greater.",
            "Answer with the bigger one of {x} and {y}.",
        ),
        ("max({x}, {y})", "min({x}, {y})", "{x} + {y}", "{x} > {y}"),
    ),
    Intent(
        "{x}, {y}",
        (
            "Return the smaller of {x} and {y}.",
            "Give back whichever of {x} and {y} is less.",
            "Answer with the lesser one of {x} and {y}.",
        ),
        ("min({x}, {y})", "max({x}, {y})", "{x} - {y}", "{x} < {y}"),
    ),
    Intent(
        "{x}, {y}",
        (
            "Return the distance between {x} and {y}.",
            "Give back how far {x} is from {y}.",
            "Answer with the gap that separates {x} from {y}.",
        ),
        ("abs({x} - {y})", "abs({x} + {y})", "{x} - {y}", "abs({x}) - {y}"),
    ),
    Intent(
        "{x}, {y}",
        ("Return {x} without {y}.", "Subtract {y} from {x}.", "Take {y} away from {x}."),
        ("{x} - {y}", "{y} - {x}", "{x} + {y}", "-{x}"),
    ),
    Intent(
        "{x}, {y}",
        ("Return {x} divided by {y}.", "Divide {x} by {y}.", "Split {x} into {y} equal parts."),
        ("{x} / {y}", "{y} / {x}", "{x} * {y}", "{x} - {y}"),
    ),
    Intent(
        "{x}, {y}",
        (
            "Return the average of {x} and {y}.",
            "Compute the mean of {x} and {y}.",
            "Find the number halfway from {x} to {y}.",
        ),
        ("({x} + {y}) / 2", "({x} - {y}) / 2", "{x} + {y} / 2", "({x} + {y}) * 2"),
    ),
    Intent(
        "{x}, {y}",
        (
            "Check whether {x} and {y} are equal.",
            "Tell if {x} is the same as {y}.",
            "Do {x} and {y} have one value?",
        ),
        ("{x} == {y}", "{x} != {y}", "{x} = {y}", "{x} >= {y}"),
    ),
    Intent(
        "{x}, {y}",
        (
            "Check whether {x} is greater than {y}.",
            "Tell if {x} exceeds {y}.",
            "Does {x} lie above {y}?",
        ),
        ("{x} > {y}", "{x} < {y}", "{y} > {x}", "{x} == {y}"),
    ),
    Intent(
        "{x}, {y}",
        (
            "Return the area of a rectangle with sides {x} and {y}.",
            "Compute how much surface {x} by {y} covers.",
            "How large is a field of {x} times {y}?",
        ),
        ("{x} * {y}", "{x} + {y}", "2 * ({x} + {y})", "{x} ** {y}"),
    ),
    Intent(
        "{x}, {y}",
        (
            "Return the perimeter of a rectangle with sides {x} and {y}.",
            "Compute the way around a field of {x} by {y}.",
            "How long is the fence about {x} times {y}?",
        ),
        ("2 * ({x} + {y})", "{x} * {y}", "2 * {x} + {y}", "{x} + {y}"),
    ),
    Intent(
        "{x}, {y}",
        ("Return the pair with {y} first.", "Swap {x} and {y}.", "Exchange {x} and {y}."),
        ("{y}, {x}", "{x}, {y}", "{x} + {y}", "{x}, {x}"),
    ),
    Intent(
        "{x}",
        ("Return the square of {x}.", "Multiply {x} by itself.", "Raise {x} to the second power."),
        ("{x} ** 2", "{x} * 2", "{x} ** 3", "2 ** {x}"),
    ),
    Intent(
        "{x}",
        ("Return half of {x}.", "Split {x} in two equal parts.", "Give fifty percent of {x}."),
        ("{x} / 2", "{x} * 2", "2 / {x}", "{x} - 2"),
    ),
    Intent(
        "{x}",
        (
            "Check whether {x} is even.",
            "Tell if {x} can be halved without a remainder.",
            "Is {x} a multiple of two?",
        ),
        ("{x} % 2 == 0", "{x} % 2 == 1", "{x} / 2 == 0", "{x} == 2"),
    ),
    Intent(
        "{x}",
        (
            "Check whether {x} is odd.",
            "Tell if halving {x} leaves a remainder.",
            "Is {x} no multiple of two?",
        ),
        ("{x} % 2 == 1", "{x} % 2 == 0", "{x} / 2 == 1", "{x} != 2"),
    ),
    Intent(
        "{x}",
        (
            "Check whether {x} is negative.",
            "Tell if {x} is below zero.",
            "Does {x} have a minus sign?",
        ),
        ("{x} < 0", "{x} > 0", "{x} == 0", "-{x} < 0"),
    ),
    Intent(
        "{x}",
        (
            "Return the last digit of {x}.",
            "Give back the ones place of {x}.",
            "Which digit does {x} end with?",
        ),
        ("{x} % 10", "{x} // 10", "{x} / 10", "{x} - 10"),
    ),
    Intent(
        "{x}",
        (
            "Return {x} without its last digit.",
            "Drop the ones place of {x}.",
            "Cut the final digit off {x}.",
        ),
        ("{x} // 10", "{x} % 10", "{x} - 10", "{x} * 10"),
    ),
    Intent(
        "{x}",
        (
            "Check whether {x} is divisible by {k}.",
            "Tell if {k} divides {x} evenly.",
            "Is {x} a multiple of {k}?",
        ),
        ("{x} % {k} == 0", "{x} // {k} == 0", "{x} % {k} == 1", "{k} % {x} == 0"),
    ),
    Intent(
        "{x}",
        ("Return {k} more than {x}.", "Increase {x} by {k}.", "Raise {x} by {k}."),
        ("{x} + {k}", "{x} - {k}", "{x} * {k}", "{k} - {x}"),
    ),
    Intent(
        "{v}",
        ("Return the sum of {v}.", "Add up everything in {v}.", "Find the total of {v}."),
        ("sum({v})", "len({v})", "max({v})", "{v} + {v}"),
    ),
    Intent(
        "{v}",
        ("Return the number of elements in {v}.", "Count what is in {v}.", "How long is {v}?"),
        ("len({v})", "sum({v})", "max({v})", "{v}[0]"),
    ),
    Intent(
        "{v}",
        (
            "Return the largest element of {v}.",
            "Find the greatest value in {v}.",
            "Pick the biggest of {v}.",
        ),
        ("max({v})", "min({v})", "len({v})", "{v}[-1]"),
    ),
    Intent(
        "{v}",
        ("Return the average of {v}.", "Compute the mean of all {v}.", "What is {v} on average?"),
        ("sum({v}) / len({v})", "len({v}) / sum({v})", "sum({v}) / 2", "max({v}) / len({v})"),
    ),
    Intent(
        "{v}",
        (
            "Return the first element of {v}.",
            "Give back what {v} begins with.",
            "Pick the head of {v}.",
        ),
        ("{v}[0]", "{v}[1]", "{v}[-1]", "{v}[:1]"),
    ),
    Intent(
        "{v}",
        (
            "Return the last element of {v}.",
            "Give back what {v} ends with.",
            "Pick the tail of {v}.",
        ),
        ("{v}[-1]", "{v}[0]", "{v}[1]", "{v}[:-1]"),
    ),
    Intent(
        "{v}",
        (
            "Return the first {k} elements of {v}.",
            "Keep {k} elements from the start of {v}.",
            "Take {k} from the front of {v}.",
        ),
        ("{v}[:{k}]", "{v}[{k}:]", "{v}[{k}]", "{v}[-{k}:]"),
    ),
    Intent(
        "{v}",
        (
            "Return the last {k} elements of {v}.",
            "Keep {k} elements from the end of {v}.",
            "Take {k} from the back of {v}.",
        ),
        ("{v}[-{k}:]", "{v}[:{k}]", "{v}[-{k}]", "{v}[:-{k}]"),
    ),
    Intent(
        "{v}",
        (
            "Return {v} without the first {k} elements.",
            "Drop {k} elements from the start of {v}.",
            "Skip {k} at the front of {v}.",
        ),
        ("{v}[{k}:]", "{v}[:{k}]", "{v}[{k}]", "{v}[:-{k}]"),
    ),
    Intent(
        "{v}",
        ("Return {v} from back to front.", "Reverse the order of {v}.", "Turn {v} around."),
        ("{v}[::-1]", "sorted({v})", "{v}[-1]", "{v}[1:]"),
    ),
    Intent(
        "{v}",
        (
            "Return {v} in rising order.",
            "Sort {v} from small to large.",
            "Arrange {v} so that the least comes first.",
        ),
        ("sorted({v})", "sorted({v}, reverse=True)", "{v}[::-1]", "min({v})"),
    ),
    Intent(
        "{v}",
        (
            "Return {v} in falling order.",
            "Sort {v} from large to small.",
            "Arrange {v} so that the greatest comes first.",
        ),
        ("sorted({v}, reverse=True)", "sorted({v})", "{v}[::-1]", "max({v})"),
    ),
    Intent(
        "{v}",
        (
            "Return {v} without repeated elements.",
            "Keep each element of {v} once.",
            "Remove duplicates from {v}.",
        ),
        ("set({v})", "sorted({v})", "len({v})", "sum({v})"),
    ),
    Intent(
        "{v}",
        (
            "Check whether {v} is empty.",
            "Tell if there is nothing in {v}.",
            "Does {v} lack elements?",
        ),
        ("len({v}) == 0", "len({v}) > 0", "{v}[0] == 0", "sum({v}) == 0"),
    ),
    Intent(
        "{v}, {x}",
        ("Check whether {x} occurs in {v}.", "Tell if {v} contains {x}.", "Is {x} among {v}?"),
        ("{x} in {v}", "{v} in {x}", "{x} not in {v}", "{x} == {v}"),
    ),
    Intent(
        "{v}, {x}",
        (
            "Return how often {x} occurs in {v}.",
            "Count the {x} in {v}.",
            "How many times is {x} in {v}?",
        ),
        ("{v}.count({x})", "{v}.index({x})", "len({v})", "{x} in {v}"),
    ),
    Intent(
        "{v}, {x}",
        (
            "Return the elements of {v} above {x}.",
            "Keep what is greater than {x} in {v}.",
            "Filter {v} for values over {x}.",
        ),
        (
            "[e for e in {v} if e > {x}]",
            "[e for e in {v} if e < {x}]",
            "[e > {x} for e in {v}]",
            "{v}[{x}:]",
        ),
    ),
    Intent(
        "{v}",
        (
            "Return each element of {v} doubled.",
            "Multiply everything in {v} by two.",
            "Make all of {v} twice as large.",
        ),
        ("[e * 2 for e in {v}]", "{v} * 2", "[e for e in {v}]", "sum({v}) * 2"),
    ),
    Intent(
        "{w}",
        ("Return {w} in capital letters.", "Write {w} in upper case.", "Make {w} shout."),
        ("{w}.upper()", "{w}.lower()", "{w}.title()", "{w}.strip()"),
    ),
    Intent(
        "{w}",
        (
            "Return {w} in small letters.",
            "Write {w} in lower case.",
            "Take the capitals out of {w}.",
        ),
        ("{w}.lower()", "{w}.upper()", "{w}.title()", "{w}.strip()"),
    ),
    Intent(
        "{w}",
        ("Return the words of {w}.", "Cut {w} at the spaces.", "Break {w} into words."),
        ("{w}.split()", "{w}.strip()", "' '.join({w})", "list({w})"),
    ),
    Intent(
        "{w}",
        (
            "Return {w} without spaces around it.",
            "Trim both ends of {w}.",
            "Clean the edges of {w}.",
        ),
        ("{w}.strip()", "{w}.split()", "{w}.lower()", "{w}[1:]"),
    ),
    Intent(
        "{w}",
        (
            "Check whether {w} reads the same backwards.",
            "Tell if {w} is a palindrome.",
            "Is {w} equal to its mirror image?",
        ),
        ("{w} == {w}[::-1]", "{w} != {w}[::-1]", "{w}[::-1]", "{w}[0] == {w}[-1]"),
    ),
    Intent(
        "{w}, {x}",
        (
            "Check whether {w} begins with {x}.",
            "Tell if {x} stands at the start of {w}.",
            "Does {w} open with {x}?",
        ),
        ("{w}.startswith({x})", "{w}.endswith({x})", "{x}.startswith({w})", "{w}[0]"),
    ),
    Intent(
        "{w}, {x}",
        (
            "Check whether {w} ends with {x}.",
            "Tell if {x} stands at the end of {w}.",
            "Does {w} close with {x}?",
        ),
        ("{w}.endswith({x})", "{w}.startswith({x})", "{x}.endswith({w})", "{w}[-1]"),
    ),
    Intent(
        "{w}, {x}, {y}",
        (
            "Return {w} with {y} in place of {x}.",
            "Replace {x} by {y} in {w}.",
            "Put {y} wherever {w} has {x}.",
        ),
        ("{w}.replace({x}, {y})", "{w}.replace({y}, {x})", "{x}.replace({w}, {y})", "{w} + {y}"),
    ),
)
LISTS = words("values items numbers data scores row")
ARGUMENTS = words("a b m n p q left right first second old new part other")
TEXTS = words("text word line name title label")
FUNCTIONS = words("solve compute helper answer work run check result")


def completion(rng: random.Random, descriptions: tuple[int, ...], kept: bool) -> Item | None:
    """A function to complete; None when its names are on the other side of the split."""
    index = rng.randrange(len(INTENTS))
    intent = INTENTS[index]
    x, y = rng.sample(ARGUMENTS, 2)
    names = {
        "x": x,
        "y": y,
        "v": rng.choice(LISTS),
        "w": rng.choice(TEXTS),
        "k": str(rng.randint(2, 9)),
    }
    arguments = intent.arguments.format(**names)
    bodies = tuple(body.format(**names) for body in intent.bodies)
    if held_out(5, "completion", index, arguments, bodies[0]) != kept:
        return None
    description = intent.descriptions[rng.choice(descriptions)].format(**names)
    prompt = f'def {rng.choice(FUNCTIONS)}({arguments}):\n    """{description}"""\n    return'
    return Item("code", "completion", prompt, bodies[0], bodies)
