"""What a conversion is tried on: texts that tokenizers trip over, conversations that chat templates trip over, and a
held-back text on which logits are compared and a loss is measured.

All of it was written for this purpose, so no model was trained on it.
"""

from __future__ import annotations

from score_local.engine.protocol import Message

NUMBERS = (
    "0",
    "7 8 9",
    "2024",
    "12345678901234567890",
    "1,234,567.89",
    "-0.001e-12",
    "3.14159265358979",
    "1/2 + 1/3 = 5/6",
    "007 0x1F 0b1010",
    "£12.50, €3 and $1,000",
    "99.9% of 250 is 249.75",
    "2²³ and x₁₀ and ½ of ⅔",
    "٣٤٥ १२३ 四百二十 Ⅻ",
)
LATEX = (
    r"$\frac{a}{b}$",
    r"\boxed{\dfrac{3}{4}}",
    r"$$\int_{0}^{\infty} e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}$$",
    r"\begin{align*} x &= 1 \\ y &\le 2 \end{align*}",
    r"\sum_{i=1}^{n} i^2 = \frac{n(n+1)(2n+1)}{6}",
    r"$\{x \in \mathbb{R} \mid x^2 < 2\}$",
    "∀x∈ℝ: x²≥0 ⇒ ¬(x²<0), ∑∏∫√∞≈≠≤",
)
LANGUAGES = (
    "안녕하세요, 세계!",
    "철수는 사과를 3개, 영희는 5개 가지고 있습니다.",
    "한국어와English를 섞어 쓴 문장",
    "ㅋㅋㅋ ㅠㅠ",
    "你好，世界。三加五等于八！",
    "日本語のテキスト、カタカナとひらがな。",
    "Привет, мир! Сколько будет 2 + 2?",
    "مرحبا بالعالم، كم يساوي ٢ + ٢؟",
    "שלום עולם",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "naïve café, Straße, Łódź, Ærø, İstanbul, ﬁn",
    "ﾊﾝｶｸ and ＦＵＬＬＷＩＤＴＨ １２３",
)
EMOJI = (
    "🙂",
    "🙂🙃 text 🚀!",
    "👩‍👩‍👧‍👦 and 🏳️‍🌈",
    "👍🏽👍🏿",
    "🇰🇷🇩🇪",
    "1️⃣ 2️⃣ ❤️",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟛𝟜",
)
WHITESPACE = (
    "",
    " ",
    "  ",
    "   leading",
    "trailing   ",
    "a  b   c    d",
    "\n",
    "\n\n\n",
    "line\nline\n\nline\n",
    "line\r\nline\r\n",
    "\ttab\t\ttab",
    " \n \t\n mixed \n\n\t ",
    "no\u00a0break\u2003em\u3000ideographic",
    "zero\u200bwidth\u200djoiner\ufeffmark",
    "    def f(x):\n        return x  # four, eight\n",
)
WORDS = (
    "Hello, world!",
    "I'm, you're, he'll, we've, they'd, it's",
    "I'M YOU'RE HE'LL",
    "don’t “quote” ‘me’ — or…",
    "CamelCase snake_case kebab-case SCREAMING_CASE",
    "supercalifragilisticexpialidocious",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "!!!???...---===###",
    "(a) [b] {c} <d> «e»",
    "https://example.org/path?q=1&r=%20#top",
    "someone@example.org",
    "C:\\dir\\file.txt and /usr/bin",
    "def f(x: int) -> int:\n\treturn x ** 2 // 3 % 4",
    '{"key": [1, 2.5, null], "text": "\\u00e9\\n"}',
    "for (int i = 0; i < n; ++i) { s += a[i] != 0; }",
    "<p class='x'>5 &lt; 6</p>",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "▁ is not a space",
)
# The marks of several families on purpose: what is a special token to one is plain text to the others.
SPECIAL = (
    "<|im_start|>user\nWhat is 2 + 3?<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>",
    "text<|endoftext|>text",
    "<s>[INST] What is 2 + 3? [/INST] 5</s>",
    "<s>",
    " </s> ",
    "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
    "<eos>",
    "<|user|>\nHi<|end|>\n<|assistant|>\n",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
    "<unk><pad><|pad|><0x0A>",
    "<think>\nTwo and three.\n</think>\n\n5",
    "<tool_call>{}</tool_call>",
    "<|im_start|",
    "<|im_end|><|im_end|>",
)
TRICKY = NUMBERS + LATEX + LANGUAGES + EMOJI + WHITESPACE + WORDS + SPECIAL
"""Texts on which a tokenizer has to agree with its reference, id for id."""

DECOMPOSED = ("cafe\u0301", "A\u030angstro\u0308m", "\u1112\u1161\u11ab\u1100\u1173\u11af")
"""Text that is not in Unicode's composed form (NFC). Some tokenizers compose it first, llama.cpp never does: a
difference here is no conversion's fault."""


def _turns(*contents: str, system: str | None = None) -> tuple[Message, ...]:
    """The contents as turns of the user and the assistant, in turn."""
    opening = (Message("system", system),) if system is not None else ()
    return opening + tuple(Message("assistant" if i % 2 else "user", text) for i, text in enumerate(contents))


CONVERSATIONS = {
    "one turn": _turns("What is 2 + 3?"),
    "a system turn": _turns("What is 2 + 3?", system="You solve problems in small steps."),
    "several turns": _turns("What is 2 + 3?", "2 + 3 = 5", "And doubled?"),
    "a system turn and several": _turns("Hi", "Hello!", "안녕 🙂", "네.", "$x^2$?", system="Be brief."),
    "edges": _turns("  spaces around  \n", "\nline\n\n", "{{ braces }} <b>&amp;</b> {% if %}"),
}
"""Conversations whose last turn is the user's; they are rendered up to where the assistant begins."""

PASSAGES = (
    "The ferry to the northern islands leaves twice a day in winter, and four times a day from May on. On Sundays the"
    " first boat waits for the train, which is late more often than not. Those who know the crossing bring a blanket,"
    " sit on the side away from the wind, and drink their tea before the harbour wall is behind them.",
    "A farmer keeps hens and rabbits in one yard. He counts 35 heads and 94 feet. If all of them were hens, there would"
    " be 35 × 2 = 70 feet. That is 94 - 70 = 24 feet too few. Each rabbit in place of a hen adds two feet, so there are"
    " 24 / 2 = 12 rabbits. The remaining 35 - 12 = 23 animals are hens. Check: 23 × 2 + 12 × 4 = 46 + 48 = 94.",
    "To show that the square root of two is irrational, suppose it were a fraction p/q in lowest terms. Then p² = 2q²,"
    " so p² is even, and p is even as well. Write p = 2r. Then 4r² = 2q², that is q² = 2r², and q is even too. But then"
    " p and q share the factor two, which contradicts the choice of lowest terms.",
    "Mira reads 18 pages on Monday, twice as many on Tuesday, and on Wednesday 7 pages fewer than on Tuesday. The book"
    " has 120 pages. On Tuesday she reads 2 * 18 = 36 pages. On Wednesday she reads 36 - 7 = 29 pages. Together that is"
    " 18 + 36 + 29 = 83 pages. So 120 - 83 = 37 pages are left. The answer is 37.",
    "Old stone bridges fail from below. Floods carry away the gravel on which the piers stand, long before the arches"
    " show a crack. An engineer who inspects one therefore begins with a pole and a boat, and looks at the vault only"
    " when the river bed has been measured from bank to bank.",
    "We want the sum of the first n odd numbers. For n = 1 it is 1, for n = 2 it is 1 + 3 = 4, for n = 3 it is"
    " 1 + 3 + 5 = 9. The guess is n². Assume it holds for n. The next odd number is 2n + 1, and n² + 2n + 1 = (n + 1)²,"
    " so it holds for n + 1 as well. Hence $\\sum_{k=1}^{n} (2k - 1) = n^2$.",
    "def mean(values):\n    total = 0\n    for value in values:\n        total += value\n    return total / len(values)"
    "\n\n\ndef variance(values):\n    m = mean(values)\n    return mean([(value - m) ** 2 for value in values])\n",
    "A tank holds 240 litres. One pump fills it in 6 hours, another in 4 hours. In one hour the first brings 240 / 6 ="
    " 40 litres, the second 240 / 4 = 60 litres, both together 100 litres. They therefore need 240 / 100 = 2.4 hours,"
    " which is 2 hours and 24 minutes.",
)
"""The held-back text: plain English, worked problems, a proof, code."""

SOLUTIONS = (
    _turns(
        "A baker makes 14 trays of 12 rolls and sells 150 rolls. How many are left?",
        "The baker makes 14 × 12 = 168 rolls. After 150 are sold, 168 - 150 = 18 rolls are left. The answer is 18.",
    ),
    _turns(
        "Tickets cost 8 euros, and children pay half. What do 3 adults and 5 children pay together?",
        "A child pays 8 / 2 = 4 euros. The adults pay 3 × 8 = 24 euros and the children 5 × 4 = 20 euros. Together they"
        " pay 24 + 20 = 44 euros. The answer is 44.",
    ),
    _turns(
        "Solve 3x - 7 = 2x + 5.",
        "Subtract 2x on both sides: x - 7 = 5. Add 7: x = 12. Check: 3 × 12 - 7 = 29 and 2 × 12 + 5 = 29. The answer"
        " is 12.",
        "Is that answer correct?",
        "Both sides give 29, so the answer is correct.",
    ),
)
"""Held-back conversations that end with the assistant's reply, the form that most adapters were trained on."""
