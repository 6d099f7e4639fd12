"""The problem file that ships with score-local; read through `importlib.resources`.

`problems.jsonl` is a random sample of MAWPS (Koncel-Kedziorski et al., NAACL 2016), drawn with seed 0 and not looked at
before: `score-local batch mawps/dev.jsonl --limit 40 --shuffle 0` asks the same 40 of 1,743. Five of them are among the
first 400, which adapters were measured on.
"""
