"""Courier source: `python main_courier.py spec|check|discover|read`."""

from http_source.start import start


def main() -> None:
    """Run the command in `sys.argv`. The console script `source-courier` calls this too."""
    start("source_courier", "SourceCourier")


if __name__ == "__main__":
    main()
