"""Courier source: `python main_courier.py spec|check|discover|read`."""

import sys

from http_source import launch
from source_courier import SourceCourier

if __name__ == "__main__":
    launch(SourceCourier(), sys.argv[1:])
