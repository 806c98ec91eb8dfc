"""Kustomer source: `python main_kustomer.py spec|check|discover|read`."""

from http_source.start import start


def main() -> None:
    """Run the command in `sys.argv`. The console script `source-kustomer` calls this too."""
    start("source_kustomer", "SourceKustomer")


if __name__ == "__main__":
    main()
