"""Kustomer source: `python main_kustomer.py spec|check|discover|read`."""

import sys

from http_source import launch
from source_kustomer import SourceKustomer

if __name__ == "__main__":
    launch(SourceKustomer(), sys.argv[1:])
