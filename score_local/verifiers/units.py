"""Words around numbers: units that convert into each other, words that count, words that mean nothing.

The lists are English and grade-school; an unknown word is taken for a plain unit ("clips").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

ABOUT = {"about", "approximately", "around", "roughly", "nearly", "almost", "approx"}
"""Words before a result that say it is not exact."""

_EMPTY = {"a", "an", "the", "total", "of", "only", "just", "exactly", "is", "to", "or", "$", *ABOUT}

# A line: the names of one unit. A block: units that convert into each other, and by what factors.
_FAMILIES = [
    (
        "second seconds sec secs; minute minutes min mins; hour hours hr hrs; day days; night nights; "
        "week weeks wk wks; month months mo mos; quarter quarters; year years yr yrs; decade decades; "
        "century centuries",
        (2, 3, 4, 7, 12, 24, 28, 30, 31, 52, 60, 90, 100, 120, 168, 360, 365, 1440, 3600),
    ),
    (
        "inch inches; foot feet ft; yard yards yd yds; mile miles mi; "
        "mm millimeter millimeters millimetre millimetres; cm centimeter centimeters centimetre centimetres; "
        "meter meters metre metres; km kilometer kilometers kilometre kilometres",
        (3, 10, 12, 36, 100, 144, 1000, 1760, 5280),
    ),
    (
        "mg milligram milligrams; gram grams; kg kgs kilo kilos kilogram kilograms; ounce ounces oz; "
        "pound pounds lb lbs; ton tons tonne tonnes",
        (16, 1000, 2000),
    ),
    (
        "ml milliliter milliliters millilitre millilitres; cl centiliter centiliters; liter liters litre litres; "
        "teaspoon teaspoons tsp tsps; tablespoon tablespoons tbsp tbsps; cup cups; pint pints pt pts; "
        "quart quarts qt qts; gallon gallons gal gals; ounce ounces oz",
        (2, 3, 4, 8, 16, 32, 48, 64, 128, 1000),
    ),
    (
        "cent cents ¢ penny pennies pence; nickel nickels; dime dimes; quarter quarters; "
        "dollar dollars $ pound pounds quid euro euros",
        (100,),
    ),
    (
        "byte bytes; kb kilobyte kilobytes; mb megabyte megabytes; gb gigabyte gigabytes; tb terabyte terabytes",
        (1000, 1024),
    ),
]
_SCALES = {
    "dozen": 12,
    "dozens": 12,
    "thousand": 1000,
    "million": 10**6,
    "millions": 10**6,
    "billion": 10**9,
    "k": 1000,
}
_COUNTING = {
    *("half", "halves", "third", "thirds", "fourth", "fourths", "fifth", "fifths", "quarter", "quarters"),
    *("double", "doubled", "triple", "tripled", "squared", "cubed", "couple", "pair", "pairs", "percentage"),
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "fifteen"),
    *("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "hundreds"),
    *("factorial", "remainder", "root", "mod", "modulo", "tens", "tenths", "hundredths", "thousands"),
}
_OPERATING = {
    *("twice", "thrice", "times", "square", "cube", "average", "mean", "less", "mod", "modulo"),
    *("sum", "product", "difference", "quotient"),
    *("sqrt", "log", "ln", "sin", "cos", "tan", "abs", "gcd", "lcm"),
}
_PARTS = {
    *("half", "third", "fourth", "quarter", "fifth", "sixth", "eighth", "tenth", "twice", "thrice", "times"),
    *("thirds", "fourths", "quarters", "fifths", "sixths", "eighths", "tenths", "double", "triple"),
}
_PART_OF = {"of", "as", "the", "that", "this", "what", "his", "her", "their", "its"}
_ORDINALS = {"first", "second", "other", "last"}  # the second half of the year
_ANEW = {
    *("is", "are", "was", "were", "be", "has", "had", "have", "means", "makes", "gives", "equals", "totals", "pay"),
    *("for", "and", "hence", "to", "which"),
}
_DENIALS, _AFFIRMATIONS = {"incorrect", "wrong", "false"}, {"correct", "right", "true"}
_RATE_WORDS = {"per", "a", "an", "each", "every"}


def _index() -> dict[str, list[tuple[int, str]]]:
    """Each word's units, as (family, name of the unit)."""
    index: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for family, (units, _) in enumerate(_FAMILIES):
        for names in units.split(";"):
            first, *others = names.split()
            for name in (first, *others):
                index[name].append((family, first))
    return dict(index)


_UNITS = _index()


def mixes_units(words: Sequence[str]) -> bool:
    """Whether two units of one kind occur, hours and minutes; what a rate is counted by ("per day") is left out."""
    seen: dict[int, set[str]] = defaultdict(set)
    for before, word in zip(["", *words], words, strict=False):
        for family, unit in _UNITS.get(word, ()):
            if before not in _RATE_WORDS:
                seen[family].add(unit)
    return any(len(units) > 1 for units in seen.values())


def measures_several(words: Iterable[str]) -> bool:
    """Whether two units of any kind occur, miles and hours; a name of several units ("pounds") is the one in common."""
    names = [{unit for _, unit in _UNITS[word]} for word in words if word in _UNITS]
    return bool(names) and not set.intersection(*names)


def conversion_factors(words: Sequence[str]) -> Iterator[Fraction]:
    """Factors by which an unwritten conversion of the units that occur would change a result.

    The small ones and ten are believed only where two units are written.
    """
    mixed = mixes_units(words)
    factors = [1000, 10**6, *(_SCALES[word] for word in words if word in _SCALES)]  # "in thousands", said elsewhere
    for family in sorted({family for word in words for family, _ in _UNITS.get(word, ())}):
        factors += [factor for factor in _FAMILIES[family][1] if mixed or (factor > 4 and factor != 10)]
    for factor in factors:
        yield Fraction(factor)
        yield Fraction(1, factor)


def scales(words: Iterable[str]) -> bool:
    """Whether a word multiplies the number before it: million, dozen."""
    return any(word in _SCALES for word in words)


def counts_in_words(word: str) -> bool:
    """Whether a word (or a part of "twenty-dollar") is itself a quantity."""
    return any(part in _COUNTING for part in word.split("-"))


def operates_in_words(word: str) -> bool:
    """Whether a word is an operation on the numbers beside it: twice, average."""
    return word in _OPERATING


def takes_part(words: Sequence[str]) -> bool:
    """Whether the words before an expression take a part or a multiple of it, or compare with it: half of the, twice as
    much as, two fewer than. Not where a verb begins anew: half of the total is."""
    if not words or words[-1] in _ANEW:
        return False
    near = ["", *words][-5:]
    parts = any(
        part in _PARTS and link in _PART_OF and before not in _ORDINALS
        for before, part, link in zip(near, near[1:], near[2:], strict=False)
    )
    return parts or ("than" in words[-3:] and any(map(counts_in_words, words)))


def leads_on(words: Sequence[str]) -> bool:
    """The same for words behind a number: (3) fewer than, (30%) of the total."""
    if not words or words[-1] in _ANEW:
        return False
    return takes_part(words) or "than" in words[-4:] or (words[0] == "of" and len(words) <= 4)


def denies(words: Sequence[str]) -> bool:
    """Whether the words around an equation say that it does not hold: is wrong, is not right."""
    return any(
        second in (_DENIALS if first in _ANEW else _AFFIRMATIONS if first == "not" else ())
        for first, second in pairwise(words)
    )


def explains_nothing(word: str) -> bool:
    """Whether a word between the equals sign and the result leaves its meaning alone."""
    return word in _EMPTY
