"""A user's mistake ends as one clear line and exit code 2, never as a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

EXIT_USER_ERROR = 2


class UserError(ValueError):
    """A mistake of the user's; the message says what is wrong and what to do."""


def run_tool(main: Callable[[list[str]], None]) -> NoReturn:
    """Call ``main(argv)`` and exit: 0 when it returns, 2 with one line for a :class:`UserError` or an OSError."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        line = " ".join(str(error).split())
        print(f"{os.path.basename(sys.argv[0])}: error: {line}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"{os.path.basename(sys.argv[0])}: error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("\nstopped by the user", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
