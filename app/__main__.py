"""`python -m app`: the `dc-relay` command where the project itself is not installed (Heroku)."""

from app.cli import main

if __name__ == "__main__":
    main()
