"""What stands between two equals signs: runs of operands joined by operators, cleaned of words and units.

A run ends where two operands meet with no operator between them ("In 2020 he had 5 + 3"), and at punctuation. What the
words did to it is kept as flags, because a checker that drops words must know when it may be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from score_local.verifiers.runs import Run, is_quota, is_range, is_share, matches, operator, paren
from score_local.verifiers.tokens import Token
from score_local.verifiers.units import denies, leads_on, operates_in_words, takes_part

_DETERMINERS = {"the", "his", "her", "their", "those", "these", "its", "my", "our", "your"}
_CLAUSES = {"because", "since", "so", "therefore", "thus", "then"}
_ENDS = {")", "]", "|", "!", ".", "…"}  # of operands that are not read: a list, a factorial, the dots of "1+2+...+9"
_STAND_ALONE_LETTERS = {"a", "A", "I"}


def runs_of(tokens: Sequence[Token], last: bool) -> list[Run | None]:
    """The runs of a segment in order; None stands for a break between runs. `last`: no equals sign follows it."""
    return _Builder(tokens, last).build()


class _Builder:
    """One pass over a segment; `run` is the open run, `lead` the words since the last one closed."""

    def __init__(self, tokens: Sequence[Token], last: bool) -> None:
        self.tokens, self.last = tokens, last
        self.closing = matches(tokens)
        self.runs: list[Run | None] = []
        self.run: Run | None = None
        self.lead: list[str] = []
        self.heading: list[str] = []  # the words before a colon
        self.money: Token | None = None  # a currency sign just before
        self.joints: list[list[Token]] = []
        self.position = 0

    def build(self) -> list[Run | None]:
        handlers = {
            "num": self.number,
            "op": self.operator,
            "(": self.open,
            ")": self.close,
            "%": self.percent,
            "word": self.word,
            "of": self.of,
            "opaque": self.opaque,
            "subscript": self.subscript,
            "currency": self.currency,
        }
        while self.position < len(self.tokens):
            token = self.tokens[self.position]
            handlers.get(token.kind, self.stop)(token)
            self.position += 1
        self.finish()
        return self.runs

    def ahead(self, distance: int = 1) -> Token | None:
        index = self.position + distance
        return self.tokens[index] if index < len(self.tokens) else None

    def finish(self) -> None:
        if self.run:
            self.runs.append(self.run)
        self.run = None

    def begin(self, token: Token) -> Run:
        self.finish()
        units = ["$"] if self.money else []
        start = (self.money or token).start
        self.run = Run(self.lead, heading=self.heading, units=units, joints=self.joints, start=start)
        self.run.doubtful = takes_part(self.lead)
        self.lead, self.heading, self.joints, self.money = [], [], [], None
        return self.run

    def stop(self, token: Token) -> None:
        following = self.ahead()
        goes_on = following.kind == "op" if following else not self.last
        if self.run and token.text == "!" and goes_on:  # a factorial, and no exclamation
            self.run.doubtful = True
        if self.run and (token.text == "?" or (token.text == "," and denies(self.relative_clause()))):
            self.run.doubtful = True
        self.heading = [] if token.text != ":" else self.run.tail if self.run else self.lead
        self.finish()
        self.runs.append(None)
        # "- 5 + 3" may be a list item or begin with a minus.
        self.lead, self.money = [], None
        self.joints = [[operator("-", token)]] if token.text.strip(" \t>#_*").startswith(("-", "–")) else []

    def relative_clause(self) -> list[str]:
        """The first words of ", which is wrong"."""
        words = [token.text.lower() for token in self.tokens[self.position + 1 : self.position + 5]]
        return words if words[:1] == ["which"] else []

    def juxtaposed(self, token: Token) -> Run:
        """Two operands meet: a new run, unless the words between them were an operator in disguise."""
        old = self.run
        run = self.begin(token)
        if old and old.invalid and not old.tail:  # the argument of a function
            run.invalid = True
        if old and operates_in_words((old.tail or [""])[-1]):  # 2 sqrt 16
            run.doubtful = True
        if old and leads_on(old.tail):  # 3 fewer than 4 * 5
            run.doubtful = True
        if old and old.complete and not old.depth:
            run.joints = [[*old.tokens, operator(op, token)] for op in "*+"]
        return run

    def number(self, token: Token) -> None:
        run = self.run
        if run is None:
            run = self.begin(token)
        elif run.complete:
            if self.is_mixed(run, token):
                self.mix(run, token)
                return
            run.doubtful |= self.splits_thousands(token)
            run = self.juxtaposed(token)
        run.doubtful |= self.splits_thousands(token)
        run.tokens.append(token)
        run.tail = []

    def splits_thousands(self, token: Token) -> bool:
        """Whether this may be the end of a number written 14, 400 or 14 400."""
        before = [t for t in self.tokens[max(self.position - 2, 0) : self.position] if t.text != ","][-1:]
        return len(token.text) == 3 and bool(before) and before[0].kind == "num" and token.start - before[0].end <= 2

    def is_mixed(self, run: Run, token: Token) -> bool:
        """Whether the token begins the fraction of a mixed number: 2 1/2, 2½."""
        whole = run.tokens[-1]
        if run.tail or whole.kind != "num" or whole.decimals or whole.value.denominator != 1:
            return False
        if token.value.denominator != 1:
            return True
        slash, below = self.ahead(), self.ahead(2)
        tight = slash and below and slash.text == "/" and below.kind == "num" and token.end == slash.start
        return bool(tight and below and token.value < below.value)

    def mix(self, run: Run, token: Token) -> None:
        run.tokens.append(operator("&", token))
        if token.value.denominator != 1:
            run.tokens.append(token)
            return
        slash, below = self.tokens[self.position + 1], self.tokens[self.position + 2]
        group = [paren("(", token), token, slash, below, paren(")", below)]
        run.tokens.extend(group)
        self.position += 2

    def operator(self, token: Token) -> None:
        run = self.run
        following = self.ahead()
        if run is None:
            self.leading_operator(token, following)
        elif run.complete:
            run.invalid |= bool(run.tail) and (len(run.tail[-1]) == 1 or run.tail[-1][-1].isdigit())
            if token.text == "^" and run.tail:  # the square of a unit, cm^2
                self.skip_exponent()
            elif token.text == "/" and following and following.kind == "word":
                self.rate(run, token, following)
            else:
                run.doubtful |= is_range(run.tokens[-1], token, following) or is_quota(run, token)
                run.tokens.append(token)
        elif token.text == "-" or (token.text == "+" and run.tokens[-1].kind == "("):
            run.tokens.append(token)
        else:
            run.invalid = True

    def skip_exponent(self) -> None:
        following = self.ahead()
        if following and following.kind == "(":
            self.position = self.closing.get(self.position + 1, self.position)
        elif following and following.kind == "num":
            self.position += 1

    def rate(self, run: Run, token: Token, following: Token) -> None:
        """A slash before a word names a unit, $5/hour; with spaces it may divide by something."""
        run.doubtful |= token.start > run.tokens[-1].end and following.start > token.end
        run.invalid |= len(following.text) == 1
        self.position += 1

    def leading_operator(self, token: Token, following: Token | None) -> None:
        """A sign, or the operator behind an operand that could not be read: "total - 5", "max(3, 5) + 2"."""
        glued = following is not None and following.start == token.end
        before = self.ahead(-1) if self.position else None
        unread = before is not None and (before.text in _ENDS or (token.text == "+" and not glued))
        doubtful = bool(self.lead)
        run = self.begin(token)
        run.invalid = token.text not in "+-" or (doubtful and not glued) or unread
        run.doubtful = doubtful
        run.tokens.append(token)

    def percent(self, token: Token) -> None:
        if self.run and self.run.complete:
            self.run.tokens.append(token)

    def open(self, token: Token) -> None:
        run = self.run
        if run is None:
            run = self.begin(token)
        elif run.complete:
            if not self.follow(run, token):
                return
            run = self.run or self.begin(token)
        if self.is_applied(token):
            run.invalid = True
        run.tokens.append(token)
        run.depth += 1
        run.tail = []

    def is_applied(self, token: Token) -> bool:
        """Whether a word is glued to the bracket, a function to its argument: sqrt(16), f(3)."""
        before = self.ahead(-1) if self.position else None
        glued = before is not None and before.kind == "word" and before.end == token.start
        return glued and token.text not in ("frac", "{")

    def follow(self, run: Run, token: Token) -> bool:
        """A bracket after an operand: a remark, a factor, a mixed number or a new beginning. False: skipped."""
        close = self.closing.get(self.position)
        inner = self.ahead()
        if close is not None and inner and inner.kind == "word":
            words = [t.text.lower() for t in self.tokens[self.position : close] if t.kind == "word"]
            run.words.extend(words)
            run.doubtful |= denies(["is", *words])
            run.doubtful |= token.start == run.tokens[-1].end  # 2(losses)
            run.doubtful |= any(
                t.kind in ("num", "opaque") or (t.kind == "word" and len(t.text) == 1)  # 2 (x)
                for t in self.tokens[self.position : close]
            )
            self.position = close
            return False
        last = run.tokens[-1]
        if close is None or run.tail:
            run.doubtful |= self.is_applied(token)  # 2 sqrt(16): the operand before it is no sum of its own
            self.juxtaposed(token)
        elif token.text == "frac" and last.kind == "num" and last.value.denominator == 1:
            run.tokens.append(operator("&", token))
        else:
            run.doubtful |= token.start > last.end
            run.tokens.append(operator("*", token))
        return True

    def close(self, token: Token) -> None:
        run = self.run
        if run is None:
            return
        if not run.depth:
            self.stop(token)
        elif all(t.kind == "(" for t in run.tokens):  # only words in it: a label, not an operand
            self.run, self.lead = None, run.lead + run.words
        else:
            run.invalid |= not run.complete
            run.tokens.append(token)
            run.depth -= 1
            run.tail = []

    def word(self, token: Token) -> None:
        text = token.text
        if text.lower() in _CLAUSES:
            self.stop(token)
            return
        if self.run is None:
            self.lead.append(text.lower())
            self.money = None
            return
        run = self.run
        text = "inch" if self.is_inch(run, token) else text
        run.words.append(text.lower())
        glued = run.complete and token.start == run.tokens[-1].end
        named = text in _STAND_ALONE_LETTERS or (run.tail and text.isupper())  # "24 students got B"
        if (len(text) == 1 and (glued or not named)) or (glued and text[1:2].isdigit()):
            run.invalid = True
        elif run.complete:
            run.units += [] if run.tail else [text.lower()]
            run.tail.append(text.lower())
        else:
            run.doubtful = True

    def is_inch(self, run: Run, token: Token) -> bool:
        """Whether "in" is the unit: right behind a number, and no words or numbers follow, as in "6 in + 3 in"."""
        following = self.ahead()
        ends = following is None or following.kind in ("op", ")", "break")
        return token.text == "in" and run.complete and not run.tail and ends

    def of(self, token: Token) -> None:
        """A fraction or percentage "of" a number is a product; of anything else it is an unknown quantity."""
        run = self.run
        if run is None or not run.complete:
            self.word(token)
            return
        skipped = 1
        while (word := self.ahead(skipped)) and (word.kind == "currency" or word.text.lower() in _DETERMINERS):
            skipped += 1
        if not run.tail and is_share(run.tokens) and word and word.kind in ("num", "("):
            run.tokens.append(operator("*", token))
            self.position += skipped - 1
        else:
            run.words.append("of")
            run.tail.append("of")

    def opaque(self, token: Token) -> None:
        run = self.run or self.begin(token)
        if run.complete:
            run = self.juxtaposed(token)
        run.invalid = True
        run.tokens.append(Token("num", token.text, token.start, token.end))

    def subscript(self, token: Token) -> None:
        """An index or a base: the operand before it is a variable, or another number than its digits say."""
        if self.run and self.run.complete:
            self.run.invalid = True
            self.run.tokens[-1] = Token("num", token.text, token.start, token.end)
        else:
            self.opaque(token)

    def currency(self, token: Token) -> None:
        if self.run:
            self.run.words.append("dollars")
            self.run.units.append("dollars")
        else:
            self.lead.append("$")
            self.money = token
