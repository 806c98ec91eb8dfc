"""What both sources share of reading a vendor's HTTP API: configuration, waiting, failing."""

# Importing the CDK makes a million objects, none of them garbage, and takes a fifth longer while
# the collector looks for some (`make bench`, scenario start-up). So it rests meanwhile.
import gc

_collects = gc.isenabled()
gc.disable()
try:
    from http_source.budget import RateBudget
    from http_source.config import ApiKey, ApiUrl, SourceConfig, config_error
    from http_source.mixin import BackoffMixin, BrokenBodyError, UnfinishedBodyError, parsed_body
    from http_source.progress import ProgressLog, announce_rate_limit, estimate
    from http_source.source import HttpSourceMixin, launch, saved_states, state_message
finally:
    if _collects:
        gc.enable()

__all__ = [
    "ApiKey",
    "ApiUrl",
    "BackoffMixin",
    "BrokenBodyError",
    "HttpSourceMixin",
    "ProgressLog",
    "RateBudget",
    "SourceConfig",
    "UnfinishedBodyError",
    "announce_rate_limit",
    "config_error",
    "estimate",
    "launch",
    "parsed_body",
    "saved_states",
    "state_message",
]
