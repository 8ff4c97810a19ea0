"""A user's mistake ends as one clear line and exit code 2, never as a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

EXIT_FAILURE = 1
EXIT_USER_ERROR = 2
EXIT_PREEMPTED = 85


class UserError(ValueError):
    """A mistake of the user's; the message says what is wrong and what to do."""


class PreemptedError(Exception):
    """A signal has asked the run to stop, and its state is saved."""


class LostContactError(RuntimeError):
    """Another process of the same run has ended, or did not answer in time."""


def first_line(error: BaseException) -> str:
    """What an error says, without what follows in further lines; its kind when it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def run_tool(main: Callable[[list[str]], None]) -> NoReturn:
    """Call ``main(argv)`` and exit, with one line unless all went well.

    0 when it returns, 2 for a :class:`UserError` or an OSError (a full disk, a folder that cannot be written), 85 when
    a signal has stopped it and it can be resumed, 1 when another process of the same run is gone. Of several processes
    one speaks.
    """
    code, line = 0, ""
    try:
        main(sys.argv[1:])
    except PreemptedError as error:
        code, line = EXIT_PREEMPTED, str(error)
    except (UserError, OSError) as error:
        code, line = EXIT_USER_ERROR, f"error: {error}"
    except LostContactError as error:
        code, line = EXIT_FAILURE, f"error: {error}"
    except KeyboardInterrupt:
        print("\nstopped by the user", file=sys.stderr)
        sys.exit(130)
    # only tools that use it have others to think of, and it takes seconds to import
    distributed = sys.modules.get("isnas.base.distributed")
    if line and (distributed is None or distributed.speaks(code)):
        print(f"{os.path.basename(sys.argv[0])}: {' '.join(line.split())}", file=sys.stderr, flush=True)
    if distributed is not None:
        distributed.leave(code)
    sys.exit(code)
