"""``python -m asyncsyft`` is the command ``asyncsyft``."""

from .cli import main

if __name__ == "__main__":
    main()
