"""The entry point of the command line."""

from foldpress.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
