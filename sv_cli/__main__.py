"""`python -m sv_cli`, the form that torchrun starts."""

from sv_cli.cli import main

if __name__ == "__main__":
    main()
