"""A turn on the screen: a problem with its phases, or a question with its reply.

A card shows the record of its turn (`show`), and what is written meanwhile (`hear`). It decides nothing: what the
person wants of it is posted as `Wanted`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from score_local.trace import Attempt, Round, Trace
from tui.literal import literal, one_line
from tui.records import Phase, Turn
from tui.session import Began, Grew
from tui.widgets.actions import Actions
from tui.widgets.answer import Answer
from tui.widgets.growing import Growing
from tui.widgets.phase import Pace, PhaseBox, numbers
from tui.widgets.prose import Prose
from tui.widgets.steps import changed_steps, marked_steps
from tui.widgets.verdict import VerdictView, doubt
from tui.widgets.votes import VotesView

Want = Literal["accept", "refine", "hint", "seed", "vote", "branch", "copy-answer", "copy-card", "copy-code"]


class Card(Vertical, Growing, can_focus=True):
    """`gate` is the threshold that its verdicts are shown against."""

    DEFAULT_CSS = """
    Card { height: auto; padding: 0 1; margin-bottom: 1; border-left: outer $panel; }
    Card:focus-within { border-left: outer $primary; }
    Card.-failed, Card.-cancelled { border-left: outer $error; }
    Card > .question { height: auto; text-style: bold; }
    Card > .error, Card > Answer, Card > Actions { display: none; }
    Card > .-told { display: block; }
    Card > .error { height: auto; color: $text-error; }
    Card.-folded > PhaseBox, Card.-folded > .-told { display: none; }
    """
    BINDINGS = [
        Binding("enter,space", "fold", "Fold"),
        Binding("a", "want('accept')", "Keep first"),
        Binding("r", "want('refine')", "Refine"),
        Binding("h", "want('hint')", "Hint"),
        Binding("s", "want('seed')", "Seed"),
        Binding("v", "want('vote')", "Vote"),
        Binding("m", "source", "Source"),
        Binding("c", "want('copy-answer')", "Copy", show=False),
        Binding("C", "want('copy-card')", "Copy card", show=False),
        Binding("k", "want('copy-code')", "Copy code", show=False),
        Binding("b", "want('branch')", "Branch", show=False),
    ]
    folded: reactive[bool] = reactive(False, init=False)

    @dataclass
    class Wanted(Message):
        """The person wants something done with a card."""

        card: Card
        what: Want

    def __init__(self, turn: Turn, gate: float, *, folded: bool = False) -> None:
        super().__init__(id=f"card-{turn.id}")
        self.turn, self._gate = turn, gate
        self._opened = False
        self.set_reactive(Card.folded, folded)
        self.set_class(folded, "-folded")
        self._written: dict[str, str] = {}
        self._pace: dict[str, Pace] = {}
        self._boxes: dict[str, PhaseBox] = {}

    def compose(self) -> ComposeResult:
        yield Static(classes="question")

    async def on_mount(self) -> None:
        await self._open()

    async def _open(self) -> None:
        """What is under the question, made when it is first unfolded: a long conversation opens at once."""
        if not self.folded and not self._opened:
            await self.mount_all([Answer(), Static(classes="error", markup=False), Actions()])
            self._opened = True
        self.show(self.turn)

    # -- the record -------------------------------------------------------------------------------------------------

    def show(self, turn: Turn) -> None:
        """Shows a turn as far as it has come."""
        self.turn = turn
        self.set_class(turn.state == "failed", "-failed")
        self.set_class(turn.state == "cancelled", "-cancelled")
        self._headline()
        if self._opened:
            self._show_body(turn)

    def _show_body(self, turn: Turn) -> None:
        if turn.trace and turn.trace.initial:
            self._show_trace(turn.trace, turn.trace.initial)
        else:
            self._show_phases(turn)
        over = turn.state != "running"
        if over and turn.phases and turn.phases[-1].cut_off:
            self._show_cut_off(turn.phases[-1])
        if over and turn.trace and turn.trace.initial:
            self.query_one(Answer).show(turn)
        self._show_error(turn)
        self.query_one(Actions).show(turn)

    def _show_trace(self, trace: Trace, before: Attempt) -> None:
        if before.thought:
            self._prose("thought").become(before.thought)
        self._prose("solve").show(marked_steps(before, trace.rounds[0] if trace.rounds else None))
        self._tell_numbers("solve", "solve")
        for index, round_ in enumerate(trace.rounds):
            self._show_verdict(index, round_)
            if round_.refinement:
                if round_.critique:
                    self._prose(f"critique-{index}").become(round_.critique)
                self._prose(f"refine-{index}").show(changed_steps(before, round_.refinement))
                self._tell_numbers(f"refine-{index}", "refine", index)
                before = round_.refinement
        if trace.candidates:
            votes = self._box("votes").body
            assert isinstance(votes, VotesView)
            votes.show(trace)
            self._box("votes").tell(f"{len(trace.candidates)} solutions")

    def _show_verdict(self, index: int, round_: Round) -> None:
        if round_.signals or round_.error:
            box = self._box(f"verdict-{index}")
            assert isinstance(box.body, VerdictView)
            box.body.show(round_, self._gate)
            box.tell(doubt(round_, self._gate))

    def _show_phases(self, turn: Turn) -> None:
        """Of a turn without a solution (a chat, or one that was cut off): what its phases wrote."""
        for phase in turn.phases:
            if phase.text:
                self._write(phase.name, phase.text)
        if turn.reply:
            self._write("solve", turn.reply)
        self._tell_numbers("solve", "solve")

    def _show_cut_off(self, phase: Phase) -> None:
        self._write(phase.name, phase.text)
        keys = reversed(self._refining()) if phase.name == "refine" else ("solve",)
        box = next((self._boxes[key] for key in keys if key in self._boxes), None)
        if box:
            box.tell(f"cut off after {phase.generated:,} token{'s' * (phase.generated != 1)}")

    def _tell_numbers(self, key: str, name: str, index: int = 0) -> None:
        phases = [phase for phase in self.turn.phases if phase.name == name and not phase.cut_off]
        if key in self._boxes and len(phases) > index:
            self._boxes[key].tell(numbers(phases[index].generated, phases[index].seconds))

    def _show_error(self, turn: Turn) -> None:
        words = {"failed": turn.error or "failed", "cancelled": "cancelled", "running": "", "done": ""}[turn.state]
        error = self.query_one(".error", Static)
        error.set_class(bool(words), "-told")
        error.update(Content(literal(words)))

    # -- what is being written --------------------------------------------------------------------------------------

    def hear(self, news: Began | Grew) -> None:
        """Shows what a phase writes while it runs."""
        if not self._opened:
            return
        if isinstance(news, Began):
            if self._written.pop(news.phase, None) is not None:  # another round of it
                self._begin_again(news.phase)
            self._pace.setdefault(news.phase, Pace())
            if news.phase in ("verify", "sample"):
                self._box(self._asking()).tell("asking")
            return
        self._pace.setdefault(news.phase, Pace()).count(news.tokens)
        if news.text:
            self._write(news.phase, self._written.get(news.phase, "") + news.text)

    def _begin_again(self, phase: str) -> None:
        """Takes away what an attempt that was cut off has left; other rounds have boxes of their own."""
        self._pace.pop(phase, None)
        for key in self._refining() if phase == "refine" else ():
            if key in self._boxes:
                self._prose(key).become("")
                self._boxes[key].tell("")

    def tick(self) -> None:
        """Tells how fast it goes: now and then, for nobody reads numbers that change with every word."""
        for phase, pace in self._pace.items() if self.turn.state == "running" else ():
            key = {"solve": "solve", "refine": self._refining()[1]}.get(phase, self._asking())
            if key in self._boxes:
                self._boxes[key].tell(pace.text())

    def _write(self, phase: str, text: str) -> None:
        """Shows all that a phase has written so far."""
        from score_local.answers import split_thought  # not before the first screen

        self._written[phase] = text
        thought, rest = split_thought(text)
        if thought:
            self._prose("thought").become(thought)
        if phase == "solve":
            self._prose("solve").become(rest)
        elif phase == "refine":
            self._write_refinement(rest)

    def _write_refinement(self, text: str) -> None:
        from score_local import prompts

        critique, refined = self._refining()
        said, solution = prompts.split_refinement(text) if prompts.holds_correction(text) else (text.lstrip(), "")
        self._prose(critique).become(said.removeprefix("Critique:").lstrip())
        if solution:
            self._prose(refined).become(solution)

    def _refining(self) -> tuple[str, str]:
        """The boxes of the refinement that is written: of the last verdict, or of one round more."""
        rounds = self.turn.trace.rounds if self.turn.trace else ()
        index = len(rounds) - 1 if rounds and rounds[-1].refinement is None else len(rounds)
        return f"critique-{index}", f"refine-{index}"

    def _asking(self) -> str:
        trace = self.turn.trace
        return "votes" if trace and trace.method != "refine" else f"verdict-{len(trace.rounds) if trace else 0}"

    # -- boxes ------------------------------------------------------------------------------------------------------

    def _prose(self, key: str) -> Prose:
        body = self._box(key).body
        assert isinstance(body, Prose)
        return body

    def _box(self, key: str) -> PhaseBox:
        """The box of a phase, made when it is first needed."""
        if key not in self._boxes:
            name, _, number = key.partition("-")
            heading = self._headings()[name] + (f" {int(number) + 1}" if number not in ("", "0") else "")
            body = {"verdict": VerdictView, "votes": VotesView}.get(name, Prose)()
            self._boxes[key] = PhaseBox(key, heading, body, folded=name == "thought")
            self.mount(self._boxes[key], before=self.query_one(Answer))
        return self._boxes[key]

    def _headings(self) -> dict[str, str]:
        reply = "Reply" if self.turn.kind == "chat" else "Solution"
        return {
            "thought": "Thought",
            "solve": reply,
            "verdict": "Verdict",
            "critique": "Critique",
            "refine": "Refined solution",
            "votes": "Vote",
        }

    # -- what the person does ---------------------------------------------------------------------------------------

    def action_fold(self) -> None:
        self.folded = not self.folded

    async def watch_folded(self, folded: bool) -> None:
        self.set_class(folded, "-folded")
        await self._open()

    def action_source(self) -> None:
        """Shows what the model wrote, instead of how it is read."""
        for prose in self.query(Prose):
            prose.source = not prose.source

    def action_want(self, what: Want) -> None:
        self.post_message(self.Wanted(self, what))

    def on_actions_chosen(self, event: Actions.Chosen) -> None:
        event.stop()
        self.action_want(event.what)

    def texts(self) -> Iterator[str]:
        """All that is written on the card, part by part."""
        yield self.turn.question
        yield from (prose.text for prose in self.query(Prose))
        if self.turn.answer:
            yield f"Answer: {self.turn.answer}"

    def _headline(self) -> None:
        """The question; on a folded card, its first line and the answer."""
        if self.folded:
            came_to = self.turn.answer or one_line(self.turn.reply, 40) or self.turn.state
            line = Content.assemble(
                one_line(self.turn.question, 60), ("  = ", "dim"), (one_line(came_to, 40), "$text-success")
            )
            self.query_one(".question", Static).update(line)
        else:
            hint = f"\nHint: {self.turn.hint}" if self.turn.hint else ""
            self.query_one(".question", Static).update(Content(literal(self.turn.question + hint)))
