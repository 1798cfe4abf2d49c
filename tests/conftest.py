"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# The machine that runs the tests may be busy: an example that takes long is no failure. Where CI
# runs, the same examples run each time; elsewhere new ones are tried.
settings.register_profile("popgate", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "popgate")
