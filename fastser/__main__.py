"""Command `python -m fastser`: the list of all commands."""

from fastser.cli.doors import main

if __name__ == "__main__":
    main()
