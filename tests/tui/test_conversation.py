"""A person asks, watches and decides, by the keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Button, Input

from score_local.engine.protocol import Generate, Request
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import EngineError, ModelError
from score_local.policy import Policy, Verify
from tests.tui.chat import PROBLEM, REFINED, Chat, chat, eggs
from tests.tui.snapshots import assert_looks_as_before
from tui.session import Began, Grew
from tui.widgets.phase import PhaseBox
from tui.widgets.prompt import Prompt
from tui.widgets.prose import Prose

SIZES = [(80, 24), (140, 45)]


@pytest.mark.parametrize("size", SIZES)
def test_a_problem_is_solved_doubted_and_repaired(tmp_path: Path, size: tuple[int, int]) -> None:
    async def act(app: Chat) -> None:
        card = await app.ask(PROBLEM)
        assert (card.turn.answer, card.turn.state) == ("84", "done")
        for status in app.screen.query("Status, Footer"):
            status.display = False  # the memory is another every time, and the keys are drawn when they may
        for box in card.query(PhaseBox):
            box.tell("")
        await app.pilot.pause()
        assert_looks_as_before(app.app, f"conversation-{size[0]}")

    chat(tmp_path, act, size=size)


def test_the_first_wrong_step_is_marked_and_the_refinement_is_set_against_it(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        card = await app.ask(PROBLEM)
        solution, refined = card.query(Prose).first(), card.query(Prose).last()
        marks = [(section.mark, section.note) for section in solution.sections]
        assert marks[0] == ("", "") and marks[1][0] == "wrong" and "it is 84" in marks[1][1]
        assert [section.mark for section in refined.sections] == ["", "removed", "added"]

    chat(tmp_path, act)


def test_chat_gets_a_reply_without_a_verdict(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        card = await app.ask("hello there")
        assert card.turn.kind == "chat" and card.turn.trace is None and "Ask me a problem" in app.text
        await app.press("escape", "k")
        assert app.app.clipboard == "print('hi')"

    chat(tmp_path, act)


def test_a_follow_up_keeps_the_context(tmp_path: Path) -> None:
    seen: list[Request] = []

    def script(request: Request) -> str | tuple[float, ...]:
        seen.append(request)
        return eggs(request)

    async def act(app: Chat) -> None:
        await app.ask(PROBLEM)
        await app.ask("hello")
        contents = [message.content for message in seen[-1].messages]
        assert contents[1] == PROBLEM and "84" in contents[2] and contents[3] == "hello"
        await app.ask("And 8 boxes?")
        solve = next(r for r in reversed(seen) if isinstance(r, Generate) and r.phase == "solve")
        assert "hello" in [message.content for message in solve.messages]

    chat(tmp_path, act, script)


def test_the_person_decides(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        card = await app.ask(PROBLEM)
        await app.press("escape", "a")
        await app.until(lambda: card.turn.answer == "74")
        assert "from the first solution" in app.text
        await app.press("a")
        await app.until(lambda: card.turn.answer == "84")
        await app.press("r")
        await app.idle()
        assert card.turn.trace and len(card.turn.trace.rounds) == 2 and card.turn.answer == "84"

    chat(tmp_path, act, size=(80, 60))


def test_a_key_typed_twice_starts_one_refinement(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        card = await app.ask(PROBLEM)
        turn, talk = card.turn, app.screen.talk
        talk.refine(turn, [])
        with pytest.raises(ModelError, match="it runs already"):
            talk.refine(turn, [])
        await app.idle()

    chat(tmp_path, act)


def test_a_refinement_that_fails_leaves_what_the_person_chose(tmp_path: Path) -> None:
    replies: list[str | EngineError] = [REFINED, EngineError("too long"), "Critique: no.\n\\boxed{96}"]

    def script(request: Request) -> str | tuple[float, ...] | EngineError:
        refining = isinstance(request, Generate) and request.phase == "refine"
        return replies.pop(0) if refining else eggs(request)

    async def act(app: Chat) -> None:
        card = await app.ask(PROBLEM)
        await app.press("escape", "a")
        await app.until(lambda: card.turn.answer == "74")
        await app.press("r")
        await app.until(lambda: len(replies) == 1)
        await app.idle()
        assert (card.turn.state, card.turn.answer) == ("done", "74") and "too long" in app.text
        await app.press("a")
        await app.until(lambda: card.turn.answer == "84")
        await app.press("r")
        await app.until(lambda: card.turn.answer == "96")

    chat(tmp_path, act, script, size=(80, 60))


def test_a_hint_reaches_the_refiner(tmp_path: Path) -> None:
    seen: list[Request] = []

    def script(request: Request) -> str | tuple[float, ...]:
        seen.append(request)
        return eggs(request)

    async def act(app: Chat) -> None:
        card = await app.ask(PROBLEM)
        await app.press("escape", "h")
        await app.until(lambda: app.app.screen.query(Input))
        await app.type("count again")
        await app.press("enter")
        await app.until(lambda: seen[-1].messages[-1].content.endswith("count again"))
        await app.idle()
        assert card.turn.hint == "count again" and "Hint: count again" in app.text

    chat(tmp_path, act, script)


def test_another_seed_and_a_vote_are_cards_of_their_own(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        await app.ask(PROBLEM)
        await app.press("escape", "s")
        await app.until(lambda: len(app.cards) == 2)
        await app.idle()
        app.cards[0].query_one("Actions").query(Button).last().press()
        await app.until(lambda: app.app.screen.query(Input))
        await app.press("backspace", "3", "enter")
        await app.until(lambda: len(app.cards) == 3)
        await app.idle()
        trace = app.cards[-1].turn.trace
        assert trace and trace.method == "majority" and trace.answer == "74"
        assert "from a vote" in app.text
        app.cards[-1].focus()
        await app.press("r")
        await app.until(lambda: "from the refined solution" in app.text)

    chat(tmp_path, act)


def test_another_round_is_written_afresh(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        card = await app.ask(PROBLEM)
        card.hear(Began(card.turn.id, "refine"))
        card.hear(Grew(card.turn.id, "refine", "Critique: it is", 3))
        card.hear(Grew(card.turn.id, "refine", " 85.", 1))
        await app.until(lambda: card.query(Prose).last().text == "it is 85.")

    chat(tmp_path, act)


def test_cards_and_phases_fold(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        card = await app.ask(PROBLEM)
        await app.press("escape", "enter")
        await app.until(lambda: card.size.height == 1)
        assert "= 84" in app.text
        await app.press("enter", "tab", "enter")
        await app.until(lambda: card.query(PhaseBox).first().folded)
        assert "Step 1" not in app.text.split("Verdict")[0]

    chat(tmp_path, act, size=(80, 50))


def test_the_source_is_a_key_away(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        await app.ask(PROBLEM)
        assert "12 × 7 = 74" in app.text and "\\times" not in app.text
        await app.press("escape", "m")
        await app.until(lambda: "12 \\times 7 = 74" in app.text)

    chat(tmp_path, act, size=(80, 50))


def test_a_conversation_is_found_again_branched_and_begun_anew(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        await app.ask(PROBLEM)
        await app.ask("hello")
        await app.press("ctrl+n")
        await app.until(lambda: not app.cards)
        await app.press("f3")
        await app.until(lambda: "A box holds" in app.text)
        await app.press("enter")
        await app.until(lambda: len(app.cards) == 2)
        assert app.cards[0].folded and not app.cards[1].folded
        await app.press("escape", "up", "b")
        await app.until(lambda: len(app.cards) == 1)
        assert app.screen.talk.title.endswith("(branch)")
        await app.press("up")
        assert app.screen.query_one(Prompt).text == PROBLEM, "what was asked is in the prompt's history"

    chat(tmp_path, act)


def test_a_refinement_that_is_cancelled_says_so(tmp_path: Path) -> None:
    def script(request: Request) -> str | tuple[float, ...]:
        reply = eggs(request)
        refining = isinstance(request, Generate) and request.phase == "refine"
        return f"{reply} {'word ' * 1000}" if refining else reply

    async def act(app: Chat) -> None:
        app.screen.query_one(Prompt).text = PROBLEM
        await app.press("enter")
        await app.until(lambda: "word word" in app.text)
        await app.press("escape")
        await app.until(lambda: "Refined solution  cut off after" in app.text)
        assert app.cards[-1].turn.answer == "74" and "not 74" in app.text and "word word" in app.text

    chat(tmp_path, act, script, size=(80, 60), rate=200)


def test_escape_cancels_within_a_micro_batch_and_keeps_the_text(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        await app.type("hi")
        await app.press("enter")
        await app.until(lambda: "word" in app.text)
        await app.press("escape")
        await app.until(lambda: app.cards[-1].turn.state == "cancelled")
        assert "word" in app.text and "cancelled" in app.text
        kept = app.app.services.history.turns(app.cards[-1].turn.conversation)[0]
        assert kept.phases[-1].text.startswith("word")
        await app.ask("again")
        assert app.cards[-1].turn.state == "cancelled" or app.cards[-1].turn.state == "done"

    chat(tmp_path, act, lambda request: "word " * 60, rate=30)


def test_a_slash_command_that_nobody_knows_is_given_back(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        await app.type("/sing loud")
        await app.press("enter")
        await app.until(lambda: app.screen.query_one(Prompt).text == "/sing loud")
        assert not app.cards

    chat(tmp_path, act)


def test_settings_saved_while_a_turn_runs_leave_it_its_sandbox(tmp_path: Path) -> None:
    def script(request: Request) -> str:
        solving = isinstance(request, Generate) and request.phase == "solve"
        return "word " * 60 + "\\boxed{74}" if solving else "```python\ndef solution():\n    return 84\n```"

    async def act(app: Chat) -> None:
        app.screen.query_one(Prompt).text = PROBLEM
        await app.press("enter")
        await app.until(lambda: "word" in app.text)
        services = app.app.services
        sandbox = services._helpers.sandbox
        assert sandbox
        await services.change(Policy(verify=Verify(verifiers=("arithmetic",))))
        assert app.screen.talk.running
        await app.idle()
        turn = app.cards[-1].turn
        assert turn.state == "done" and turn.trace and turn.trace.rounds[0].signals[0].p_incorrect
        await app.until(lambda: sandbox._threads._shutdown)

    chat(tmp_path, act, script, rate=60, policy_text='[verify]\nverifiers = ["program"]\n[refine]\nwhen = "never"\n')


def test_two_turns_run_side_by_side(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        for _ in range(2):
            await app.type("hi")
            await app.press("enter")
        await app.until(lambda: len(app.cards) == 2)
        await app.idle()
        assert [card.turn.state for card in app.cards] == ["done", "done"]

    chat(tmp_path, act, rate=40)


def test_the_scripted_engine_is_the_seam(tmp_path: Path) -> None:
    """The app asks for an engine once, off the screen's thread, and closes it at the end."""
    opened: list[ScriptedEngine] = []

    def open_engine(*_: object) -> ScriptedEngine:
        opened.append(ScriptedEngine(eggs))
        return opened[-1]

    async def act(app: Chat) -> None:
        await app.until(app.app.services.engine)
        await app.ask("hello")

    chat(tmp_path, act, open_engine=open_engine)
    assert len(opened) == 1 and not any(thread.is_alive() for thread in opened[0]._threads)
