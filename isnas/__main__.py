"""``python -m isnas COMMAND ...``."""

from isnas.apps.console import main

if __name__ == "__main__":
    main()
