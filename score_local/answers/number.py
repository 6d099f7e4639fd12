"""Kind "number": one exact value, with whatever words and units stand around it.

Values are `fractions.Fraction`. What the words say is trusted only as far as it leaves the number alone: "5 apples" is
5, "5 dozen", "at least 5" and "not 5" are unknown, and so are two different numbers, times, ranges, variables and
expressions that nobody evaluated. A comma is a thousands separator or the answer is unknown.

A percent sign is a unit like any other: "50%" is the number 50, and so not 0.5. A gold answer is asked for in one unit
and written without it; were 50% both 50 and 0.5, equality would not be transitive and votes could not be counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from score_local.answers.plain import plain

MAX_LENGTH = 500  # characters of an answer; what is longer is no number
_LIMIT = 10**200  # and no value is beyond it
_MAX_DECIMALS = 60

_SPACES = "\u00a0\u2007\u2009\u202f"  # that separate thousands; an ordinary space does not
_DIGITS = rf"(?:[1-9]\d{{0,2}}(?:(?:,\d{{3}})+|(?:[{_SPACES}]\d{{3}})+)(?!\d)|\d+)"
_NUMERAL = rf"(?:{_DIGITS}(?:\.\d+)?|\.\d+)"
_NUMBER = re.compile(
    rf"""
    (?: (?<![\w)\].]) (?P<sign>[-−–+]) )?
    (?<!\w) (?<!\d[.,:/])
    (?: (?P<whole>{_DIGITS}) [ \u2009]+ (?P<part>\d+)/(?P<parts>[1-9]\d*)
      | (?P<above>{_NUMERAL}) \s*[/⁄]\s* (?P<below>[-−]?{_NUMERAL})
      | (?P<plain>{_NUMERAL})
        (?: [eE](?P<exponent>[-+−]?\d{{1,3}})(?!\w) | \s*[×*·xX]\s*10\s*\^\s*\(?(?P<power>[-+−]?\d{{1,3}})\)? )?
    )
    (?:\s*-?(?P<magnitude>hundred|thousand|million|billion|trillion)\b)?
    (?! \d | [.,]\d | \s*[:/⁄]\s*[\d.] | \.\. | … )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MAGNITUDES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}

# What may stand around a number: words, punctuation, a hyphen or a slash before a word ("5-year", "km/h").
# A raised or lowered digit is a letter to Python, and changes the number: 5², 101₂.
_AROUND = re.compile(r"""(?:[^\W\d_²³¹⁰⁴-⁹₀-₉]|[\s.,;:'"’“”()\[\]%°¢£€¥₹—]|-(?=[^\W\d_])|/(?=\s*[^\W\d_]))*""")
_WORD = re.compile(r"[^\W\d_]+")
_VARIABLE = re.compile(r"(?![gmlLshcptCFWVJ])[A-Za-z](?![^\W\d_])")  # glued to the number, and no unit
# Chinese writes no spaces: ten thousand, half, not, or, times, at least.
_CHANGING_CHINESE = re.compile(r"[万萬亿億半不或倍]|[十百千](?![克米瓦卡])|分之|至少|至多|最多|最少")
# Words (and variables) that make it another number than the one written.
_CHANGING = frozenset(
    """
    not or between than least most twice double triple half halves dozen dozens plus minus squared cubed factorial
    thirds fourths fifths sixths sevenths eighths ninths tenths hundredth hundredths thousandth thousandths
    hundred hundreds thousand thousands million millions billion billions trillion trillions
    sqrt root log ln sin cos tan abs gcd lcm negative
    x y z n k i e pi π
    """.split()  # noqa: SIM905 (a table of words, not a list of 50 lines)
)

_NAMED = re.compile(
    r"""\d|[½¼¾⅓⅔]|(?i:\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty
    |hundred|thousand|million|half|dozen|unknown|none)\b)""",
    re.VERBOSE,
)
_EQUALS = re.compile(r"[=≈]")
_SEVERAL = re.compile(r"=[^=]*(?:,\s|;|\band\b|\bor\b)[^=]*=")  # "x = 1, y = 2", not "3 + 4 = 5 + 2 = 7"
# What shows how it was found: "18 (16 - 3 - 4 = 9; 9 * 2 = 18)".
_WORKING = re.compile(r"(?<=[\w%°])\s+\(\s*[£€¥₹$]?\s?\d[^()=]*[-−–+*×·/÷x][^()=]*=[^()]*\)")
_REMARK = re.compile(r"\(([^()]*)\)")
_PRODUCT = re.compile(r"\d\(\s*[-−+]?[\d.]|\)\s*[\d(]")

# The sign of a bracket that holds the number, -(5); behind an operand or a word it may be a difference or a dash.
_SIGNED = re.compile(r"(?:^([-−–+])\s*|(?<![\w)\].])([-−–+]))\(\s*([-−–+]?)[\s£€¥₹]*([\d.][^()]*)\)")
_APPLIED = re.compile(r"[^\W\d_]['’]?\([^()]*\d")  # a function of the number: sqrt(16), f(5)

_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_VULGAR = {"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8"}
_TIDY: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"(?<=[A-Za-zÅµ])\s*(?:\^\s*[1-4](?!\d)|[²³])"), ""),  # cm^2, m³
    (re.compile(r"\b(?:negative|minus)\s+(?=[(£€¥₹\d.])", re.IGNORECASE), "-"),
    (re.compile(r"(?<=[-−–+])\s*[£€¥₹]"), ""),
    (re.compile(r"^[-−]\s+(?=[\d.])"), "-"),
    (re.compile(r"(?<=10)[⁻⁰¹²³⁴-⁹]+"), lambda match: "^" + match[0].translate(_SUPERSCRIPTS)),
    (re.compile(rf"(?<=\d)([{''.join(_VULGAR)}])"), r" \1"),
    (re.compile(rf"[{''.join(_VULGAR)}]"), lambda match: _VULGAR[match[0]]),
]


def parse_number(text: str) -> Fraction | None:
    """The one number that an answer states; None where it states none, several, or something else."""
    if len(text) > MAX_LENGTH:
        return None
    stated = _without_working(plain(text))
    if _SEVERAL.search(stated):
        return None
    stated = _EQUALS.split(stated)[-1].strip()
    for pattern, replacement in _TIDY:
        stated = pattern.sub(replacement, stated)
    return None if _PRODUCT.search(stated) else _one_value(stated)


def offered(text: str) -> bool:
    """Whether a statement names a number, be it one that is not read."""
    return _NAMED.search(text) is not None


def canonical(text: str) -> str | None:
    """One spelling for each value: an integer, a decimal where it terminates ("0.75"), else a fraction ("-1/3")."""
    value = parse_number(text)
    return None if value is None else spell(value)


def equal(left: str, right: str) -> bool | None:
    """Exact equality of two numbers; None where either cannot be read."""
    values = parse_number(left), parse_number(right)
    return None if None in values else values[0] == values[1]


def spell(value: Fraction) -> str:
    """The canonical spelling of a value; `parse_number` reads it back."""
    decimals = _decimals(value.denominator)
    if decimals is None:
        return str(value)
    sign = "-" if value < 0 else ""
    digits = str(abs(value.numerator) * 10**decimals // value.denominator).rjust(decimals + 1, "0")
    return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


def _decimals(denominator: int) -> int | None:
    """How many decimals spell the fraction exactly; None where none do, or too many."""
    return next((places for places in range(_MAX_DECIMALS + 1) if 10**places % denominator == 0), None)


def _one_value(stated: str) -> Fraction | None:
    """The value outside of brackets; a remark in them may repeat it ("5 (5.0)") but not change it ("5 (or 6)")."""
    stated = _SIGNED.sub(_unbracketed, stated)
    outside, remarks = _REMARK.sub(" ", stated), " ".join(_REMARK.findall(stated))
    if not re.search(r"\d", outside):
        return _only(remarks) if _leaves_alone(outside) and not _APPLIED.search(stated) else None
    value = _only(outside)
    return value if not re.search(r"\d", remarks) or value == _only(remarks) else None


def _unbracketed(match: re.Match[str]) -> str:
    """-(5) as "-5 ": what follows stays apart."""
    first, glued, second, number = match.groups("")
    minuses = [sign for sign in (first, glued, second) if sign in {"-", "−", "–"}]
    return f"{'-' if len(minuses) == 1 else ''}{number} "


def _without_working(stated: str) -> str:
    working = _WORKING.search(stated)
    return _WORKING.sub("", stated) if working and re.search(r"\d", stated[: working.start()]) else stated


def _only(stated: str) -> Fraction | None:
    matches = list(_NUMBER.finditer(stated))
    if len(matches) != 1 or _VARIABLE.match(stated, matches[0].end()):
        return None
    if not all(_leaves_alone(piece) for piece in _around(stated, matches[0])):
        return None
    value = _value(matches[0])
    return value if value is not None and _in_range(value) else None


def _around(stated: str, match: re.Match[str]) -> Iterator[str]:
    yield stated[: match.start()]
    yield stated[match.end() :]


def _leaves_alone(piece: str) -> bool:
    words = _WORD.findall(piece)
    known = not _CHANGING.intersection(word.lower() for word in words) and "M" not in words
    return known and not _CHANGING_CHINESE.search(piece) and _AROUND.fullmatch(piece) is not None


def _value(match: re.Match[str]) -> Fraction | None:
    groups = match.groupdict()
    if groups["whole"]:
        value = _decimal(groups["whole"]) + Fraction(int(groups["part"]), int(groups["parts"]))
        if int(groups["part"]) >= int(groups["parts"]):  # "5 6/3" is no mixed number
            return None
    elif groups["above"]:
        below = _decimal(groups["below"])
        if below == 0:
            return None
        value = _decimal(groups["above"]) / below
    else:
        exponent = (groups["exponent"] or groups["power"] or "0").replace("−", "-")
        value = _decimal(groups["plain"]) * Fraction(10) ** int(exponent)
    value *= _MAGNITUDES[groups["magnitude"].lower()] if groups["magnitude"] else 1
    return -value if groups["sign"] in {"-", "−", "–"} else value


def _decimal(numeral: str) -> Fraction:
    return Fraction(re.sub(rf"[,{_SPACES}]", "", numeral).replace("−", "-"))


def _in_range(value: Fraction) -> bool:
    return abs(value.numerator) < _LIMIT and value.denominator < _LIMIT
