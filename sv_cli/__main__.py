"""The entry point of `svtool` and of `python -m sv_cli`, the form that torchrun starts."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while modules are loaded ends it as it ends a command."""
    try:
        from sv_cli.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("svtool: error: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
