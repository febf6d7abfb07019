"""The command line: each command parses, calls one public function and prints.

No command's module imports torch before it is needed. Errors become one line on stderr and an exit code
(posezoo.base.errors); `--debug` or POSEZOO_DEBUG=1 adds the traceback.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TextIO

from posezoo.base.errors import (
    DataError,
    FailedElsewhere,
    LostError,
    PosezooError,
    ResourceError,
    UsageError,
    WeightsError,
    out_of_memory,
    redacted,
)

STOPPED = 130


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with a code of posezoo.base.errors."""
    # an unreadable picture is one line of ours that names the file; Pillow's warnings name none
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # read when torch is imported: its warnings about sockets and unused parameters are no lines of ours
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    code = run(sys.argv[1:] if argv is None else argv)
    _say("")  # flushes what is still buffered
    if code == LostError.exit_code:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)  # torchrun starts all again once each has ended; taking torch apart takes seconds
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run the command line; the exit code."""
    from typer import Abort, Exit

    from posezoo.cli.commands import app

    arguments = [argument for argument in argv if argument != "--debug"]
    debug = len(arguments) < len(argv) or os.environ.get("POSEZOO_DEBUG") == "1"
    fail = partial(_fail, debug=debug, argv=arguments)
    try:
        code = app(args=arguments, prog_name="posezoo", standalone_mode=False)
        if code == STOPPED:  # typer's answer to Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, Abort):
        _say("posezoo: stopped\n")
        return STOPPED
    except PosezooError as error:
        return fail(error)
    except MemoryError:
        return fail(ResourceError("out of memory", "try a smaller batch_size="))
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise  # typer turns a broken pipe into an exit
        _discard(sys.stdout)  # the command has done its work
        return 0
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return fail(ResourceError(what, "check the path, the free space and your rights"))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package.startswith("posezoo"):
            return _bug(error, debug)
        return fail(UsageError(f"package {package} is needed and not installed", f"pip install {package}"))
    except RuntimeError as error:
        if out_of_memory(error):
            return fail(ResourceError("out of memory", "try a smaller batch_size="))
        return _bug(error, debug)
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's usage errors; their class is private to typer
            message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")  # pydantic's
            return fail(UsageError(message, _usage_hint(error, arguments)))
        return _bug(error, debug)


def _usage_hint(error: Any, argv: Sequence[str]) -> str:
    """What to type instead: the setting, if it was typed as an option, else the command's help."""
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", "")
    if context is None:
        return "posezoo --help"
    takes_settings = any(parameter.metavar == "KEY=VALUE" for parameter in context.command.params)
    if option in _options(context.find_root().command):  # of another command: no setting
        return f"{context.command_path} --help"
    if option.startswith("--") and takes_settings and not getattr(error, "possibilities", None):
        place = next((n for n, word in enumerate(argv) if word.partition("=")[0] == option), len(argv))
        following = [*argv[place : place + 1], *argv[place + 1 : place + 2]]
        value = next((word.partition("=")[2] or word for word in following if word != option), "VALUE")
        key = option.removeprefix("--").replace("-", "_")
        return f"settings have no dashes, write {key}={'VALUE' if value.startswith('-') else value[:20]}"
    return f"{context.command_path} --help"


def _options(command: Any) -> set[str]:
    """All options of a command and of those below it."""
    own = {option for parameter in command.params for option in parameter.opts}
    return own.union(*map(_options, getattr(command, "commands", {}).values()))


def _for_people(argv: Sequence[str]) -> bool:
    """Whether the answer is a table; with `--format json` or quiet nothing else may stand on stdout."""
    values = [after for word, after in pairwise([*argv, ""]) if word == "--format"]
    values += [word.removeprefix("--format=") for word in argv if word.startswith("--format=")]
    return set(values) <= {"human"}


def _fail(error: PosezooError, debug: bool, argv: Sequence[str] = ()) -> int:
    from posezoo.cli.console import error_line
    from posezoo.cli.tables import Output, escaped, words_within

    if isinstance(error, (DataError, WeightsError)):
        try:
            for finding in error.findings:  # all of them: the error's line names the first
                line = f"{escaped(str(finding))}\n"
                print(line, end="") if _for_people(argv) else _say(line)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has closed the pipe; the error's line still follows
            _discard(sys.stdout)
    if debug:
        _print_trace(error)
    if not isinstance(error, FailedElsewhere):  # the process that failed has said why
        line = error_line(error)  # broken between words where a person reads it, one line for all else
        read = sys.stderr is not None and sys.stderr.isatty()  # none: it was closed before the start
        _say(f"{words_within(line, Output(stderr=True)) if read else line}\n")
    return error.exit_code


def _say(text: str) -> None:
    """Write the text to stderr; if it is closed, the exit code stays the same."""
    if sys.stderr is None:  # `print` would take stdout instead
        return
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Redirect the stream to nowhere: its reader has gone, and Python would complain again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _bug(error: Exception, debug: bool) -> int:
    if debug:
        _print_trace(error)
    reason = PosezooError(f"{type(error).__name__}: {error}", "this is a bug in posezoo; --debug shows where")
    return _fail(reason, False)


def _print_trace(error: Exception) -> None:
    _say(redacted("".join(traceback.format_exception(error))))
