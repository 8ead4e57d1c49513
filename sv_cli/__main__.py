"""The entry point of `svtool` and of `python -m sv_cli`, the form that torchrun starts."""

import os
import sys


def main() -> None:
    """Run the command line; Ctrl-C while modules are loaded ends it as it ends a command."""
    _hold_closed_streams()
    try:
        from sv_cli.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("svtool: error: interrupted\n")
        sys.exit(130)


def _hold_closed_streams() -> None:
    """Open /dev/null in place of closed descriptors 0 to 2, which a file would take otherwise.

    `sys.stdin` and `sys.stdout` stay None, and who needs them says so; messages go nowhere.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main()
