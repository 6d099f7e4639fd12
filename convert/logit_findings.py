"""What measurements of logits say of the files, in findings. Computes nothing with a model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convert.bounds import KEPT, KEPT_MOST, NOISE, kl_bound
from convert.comparison import Comparison, Estimate, Floats, Measured
from convert.findings import Finding, unknown

PER_OUTPUT = ("logits", "adapter kept", "held-back loss")


def active_finding(base: Measured | None, noise: float) -> Finding:
    """Whether the adapter moves the logits by more than equal models may show (`noise`, a KL divergence). `base` is the
    model without the adapter, measured like the outputs."""
    if base is None:
        return unknown("active", "", "there is no base model to compare with, or no adapter")
    moved = float(base.kl.mean())
    remark = "mean KL divergence of the model with the adapter from the one without, in nats a token"
    passed = True if moved > noise else None if moved > NOISE["F32"] else False
    if passed is None:
        remark = f"rounding alone may do as much: {remark}"
    elif not passed:
        remark = f"the adapter changes nothing: {remark}"
    return Finding(name="active", passed=passed, value=moved, bound=noise, remark=remark)


def output_findings(
    file: str, result: Measured, base: Measured | None, *, quantisation: str, active: bool | None
) -> Iterator[Finding]:
    """What the measurement of an output of that type of weights says; `active` as `active_finding` has it."""
    yield _logits(file, result.summary(), quantisation)
    if base is None or not active:
        why = "there is no base model to compare with" if base is None else "no effect of the adapter was found"
        yield from (unknown(name, file, why) for name in PER_OUTPUT[1:])
    else:
        yield _kept(file, result, base)
        yield _loss(file, result, base)


def _logits(file: str, comparison: Comparison, quantisation: str) -> Finding:
    bound = kl_bound(quantisation)
    remark = (
        f"mean KL divergence in nats a token, at most {comparison.max_kl:.2g};"
        f" likeliest token the same in {comparison.top1_agreement:.1%} of {comparison.tokens:,}"
    )
    if comparison.left_out:
        remark += f"; over {comparison.vocabulary:,} tokens, without {comparison.left_out:,} that only one of them has"
    if bound is None:
        remark = f"no bound is known for type {quantisation}: {remark}"
    passed = None if bound is None else comparison.mean_kl <= bound
    return Finding(name="logits", file=file, passed=passed, value=comparison.mean_kl, bound=bound, remark=remark)


def _kept(file: str, result: Measured, base: Measured) -> Finding:
    """The part of the adapter's change of the log-probabilities that is there: too little of it, or too much."""
    kept = result.adapter_kept()
    if kept is None:
        return unknown("adapter kept", file, "the adapter changes no log-probability")
    passed = _within(kept, KEPT_MOST)
    remark = f"{_percent(kept)} of the adapter's change of the log-probabilities is there"
    if passed is False and kept.value > 1:
        remark += ": is its scale right?"
    if result.kl.mean() >= base.kl.mean():
        remark += "; what else differs moves the logits further than the adapter does"
    return Finding(name="adapter kept", file=file, passed=passed, value=kept.value, bound=KEPT, remark=remark)


def _loss(file: str, result: Measured, base: Measured) -> Finding:
    """The share of the adapter's gain on the held-back text that is left, where the gain can be told from chance."""
    gain, lost = _mean(base.nll - base.reference_nll), _mean(result.nll - result.reference_nll)
    before, merged, here = (float(nll.mean()) for nll in (base.nll, base.reference_nll, result.nll))
    losses = f"loss {before:.4f} without the adapter, {merged:.4f} with it, {here:.4f} here"
    if gain.value <= 2 * gain.error:
        why = f"the adapter gains {gain.value:+.4f} ± {gain.error:.4f} on this text, give one of its task (--text)"
        return unknown("held-back loss", file, f"{why}: {losses}")
    share = Estimate(value=1 - lost.value / gain.value, error=lost.error / gain.value)
    passed = _within(share)
    remark = f"{_percent(share)} of the adapter's gain survives: {losses}"
    if passed is False:
        remark = f"most of the adapter is lost here, choose a larger type: {remark}"
    return Finding(name="held-back loss", file=file, passed=passed, value=share.value, bound=KEPT, remark=remark)


def _within(share: Estimate, most: float = np.inf) -> bool | None:
    """Whether a share lies between KEPT and `most`; None where its error (two standard errors) leaves that open."""
    if not np.isfinite(share.value):
        return False
    margin = min(share.value - KEPT, most - share.value)
    return bool(margin >= 0) if abs(margin) >= 2 * share.error else None


def _mean(values: Floats) -> Estimate:
    return Estimate(value=float(values.mean()), error=float(values.std(ddof=1) / np.sqrt(len(values))))


def _percent(share: Estimate) -> str:
    return f"{share.value:.0%} ± {share.error:.0%}"
