"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Seconds by the clock say how busy the machine is, and never whether the code is right.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
