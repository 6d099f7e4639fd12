"""`python -m score_local`."""

import sys

from score_local.cli import main

sys.exit(main())
