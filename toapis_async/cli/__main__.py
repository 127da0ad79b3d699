"""`python -m toapis_async.cli` is `toapis`."""

from . import main

if __name__ == "__main__":
    main()
