"""The fake vendors as a process: `python -m fake_vendor --help`."""

from __future__ import annotations

import argparse
import signal
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from fake_vendor import courier, kustomer
from fake_vendor.courier import DEMO_KEY, Courier, CourierSwitches
from fake_vendor.data import LIST_KINDS, PLURALS, SEARCH_KINDS
from fake_vendor.faults import Fault, FaultKind
from fake_vendor.kustomer import DEMO_TOKEN, Kustomer, KustomerSwitches
from fake_vendor.limits import ResetForm
from fake_vendor.server import FakeVendor


def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = _parser()
    args = parser.parse_args(argv)
    tls = None
    if args.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(args.tls_cert, args.tls_key)
    try:
        org = _kustomer(args)
    except ValueError as error:
        parser.error(str(error))
    workspace = Courier(
        args.courier_rows,
        seed=args.seed,
        tables=args.courier_tables,
        years=args.courier_years,
        key=args.api_key,
        switches=CourierSwitches(latency_ms=args.latency_ms, faults=tuple(args.fault)),
    )
    org.warm()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with FakeVendor(org, workspace, port=args.port, tls=tls) as vendor:
        print(vendor.url, flush=True)
        if args.ready_file:
            _announce(args.ready_file, vendor.url)
        stopped.wait()


def _announce(path: Path, url: str) -> None:
    """Write the file in one step, so that no reader sees half a URL."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(f"{url}\n")
    draft.replace(path)


def _kustomer(args: argparse.Namespace) -> Kustomer:
    count, every = args.touch
    return Kustomer(
        args.rows,
        list_rows=args.list_rows,
        setting_rows=args.setting_rows,
        child_rows=args.child_rows,
        event_rows=args.event_rows,
        seed=args.seed,
        years=args.years,
        ties=args.ties,
        token=args.api_token,
        switches=KustomerSwitches(
            latency_ms=args.latency_ms,
            search_limit=args.search_limit,
            org_limit=args.org_limit,
            page_size_max=args.page_size_max,
            row_bytes=args.row_bytes,
            page_bytes=args.page_bytes,
            tie_order=args.tie_order,
            touch_count=count,
            touch_every=every,
            reset_form=args.reset_form,
            faults=tuple(args.fault),
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fake_vendor",
        description="Serve a made-up Kustomer (/v1/...) and Courier (other paths) on loopback.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="0 is any free port")
    add(
        "--seed", type=int, default=7, help="the same seed makes the same data, dated back from now"
    )
    add("--rows", type=_Rows(_named(SEARCH_KINDS), 1000), default="1000", metavar="N|STREAM=N,...",
        help="rows per search stream; 1000 where not given")  # fmt: skip
    add("--list-rows", type=_Rows(_named(LIST_KINDS), 25), default="25", metavar="N|STREAM=N,...",
        help="rows per list stream; 25 where not given")  # fmt: skip
    add("--setting-rows", type=int, default=3, help="rows per list of settings")
    add("--child-rows", type=int, default=30, help="attachments, spread over the conversations")
    add("--event-rows", type=int, default=1000, help="entries of the log of changes")
    add("--courier-rows", type=int, default=1000, help="Courier messages")
    add("--courier-tables", type=_Rows(_COURIER_TABLES), default="", metavar="N|STREAM=N,...",
        help="rows per other Courier stream, or per parent for a stream below a parent; by "
        "default 12 to 130 rows, and 2 or 3 per parent")  # fmt: skip
    add("--courier-years", type=float, default=0.1, help="how far back Courier messages reach")
    add("--ties", type=_numbers, default="", metavar="N,N,...",
        help="sizes of groups sharing one updatedAt, placed in each search stream")  # fmt: skip
    add("--years", type=float, default=3.0, help="how far back updatedAt reaches")
    add("--latency-ms", type=float, default=0.0, help="added to every answer")
    add(
        "--search-limit",
        type=int,
        help="searches a minute (the vendor: 100); unlimited if not given",
    )
    add(
        "--org-limit",
        type=int,
        help="requests a minute (the vendor: 300 to 2,000); unlimited if not given",
    )
    add("--page-size-max", type=int, default=500, help="a larger pageSize is cut to this")
    add("--row-bytes", type=int, default=0, help="text added to every row")
    add("--page-bytes", type=int, help="a page is cut short at so many bytes")
    add("--tie-order", choices=("stable", "shuffled"), default="stable",
        help="order of rows with equal sort values")  # fmt: skip
    add("--touch", type=_touch, default="0/0", metavar="N/M",
        help="update N random rows on every Mth search")  # fmt: skip
    add("--fault", type=_fault, action="append", default=[], metavar="KIND:EVERY[:ENDPOINT]",
        help=f"break every nth request; repeatable. Kinds: {', '.join(get_args(FaultKind))}. "
        f"Endpoints: {', '.join(kustomer.ENDPOINTS + courier.ENDPOINTS)}")  # fmt: skip
    add("--reset-form", choices=get_args(ResetForm), default="epoch",
        help="spelling of x-ratelimit-reset")  # fmt: skip
    add("--api-token", default=DEMO_TOKEN, help="Kustomer's")
    add("--api-key", default=DEMO_KEY, help="Courier's")
    add("--tls-cert", type=Path, help="serve https with this certificate")
    add("--tls-key", type=Path, help="its key, unless the certificate file holds it")
    add("--ready-file", type=Path, help="write the URL here once listening")
    return parser


def _named(kinds: tuple[str, ...]) -> dict[str, str]:
    return {PLURALS[kind]: kind for kind in kinds}


_COURIER_TABLES = {name: name for name in courier.TABLES}


class _Rows:
    """Reads `9000`, `customers=9000,notes=0` or `100,notes=0` into rows per kind.

    Without a default, kinds that are not given are left out.
    """

    def __init__(self, kinds: Mapping[str, str], default: int | None = None) -> None:
        self._kinds = kinds
        self._default = default

    def __call__(self, text: str) -> dict[str, int]:
        rows: dict[str, int] = {}
        if self._default is not None:
            rows = dict.fromkeys(self._kinds.values(), self._default)
        for part in text.split(",") if text else ():
            stream, equals, count = part.rpartition("=")
            if not equals:
                rows = dict.fromkeys(self._kinds.values(), int(count))
            elif stream in self._kinds:
                rows[self._kinds[stream]] = int(count)
            else:
                raise argparse.ArgumentTypeError(f"no stream {stream!r} in {list(self._kinds)}")
        return rows


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def _touch(text: str) -> tuple[int, int]:
    count, _, every = text.partition("/")
    return int(count), int(every)


def _fault(text: str) -> Fault:
    try:
        return Fault.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
