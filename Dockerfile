# One file, two images:  docker build --build-arg SOURCE=kustomer -t airbyte/source-kustomer:dev .
# Any base with Python 3.11, 3.12 or 3.13 will do, also plain Debian: see docs/image.md.
ARG BASE_IMAGE=docker.io/airbyte/python-connector-base:4.1.0@sha256:1d1aa21d34e851df4e8a87b391c27724c06e2597608e7161f4d167be853bd7b6

FROM ${BASE_IMAGE} AS base
USER root
# Debian's own images have no Python.
RUN command -v python3 >/dev/null \
 || { apt-get update && apt-get install --yes --no-install-recommends ca-certificates python3 \
      && rm -rf /var/lib/apt/lists/*; }
# Python's own images have no bytecode of the standard library, and an unprivileged user cannot
# write it. Without it, each start compiles again.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash -x '/(site|dist)-packages/|/test' \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
RUN { id airbyte >/dev/null 2>&1 || useradd --uid 1000 --create-home airbyte; } \
 && mkdir -p /airbyte/integration_code \
 && chown airbyte: /airbyte /airbyte/integration_code

FROM base AS packages
RUN python3 -m pip --version >/dev/null 2>&1 \
 || { apt-get update && apt-get install --yes --no-install-recommends python3-pip; }
# The environment keeps its path from here to the final stage, and has no pip of its own.
RUN python3 -m venv --without-pip /airbyte/venv
COPY requirements/run.txt requirements/run.txt
RUN python3 -m pip --python /airbyte/venv/bin/python install --no-cache-dir --no-compile \
      --require-hashes --requirement requirements/run.txt

# Bytecode that is found valid by the time of its source would be stale here: copies of files have
# times of their own. So it is never compared.
FROM packages AS project
WORKDIR /build
COPY . .
RUN python3 -m pip --python /airbyte/venv/bin/python install --no-cache-dir --no-compile \
      --no-deps --no-build-isolation --target /airbyte/project . \
 && /airbyte/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /airbyte/project

FROM packages AS dependencies
COPY requirements/not-in-image.txt requirements/not-in-image.txt
RUN python3 -m pip --python /airbyte/venv/bin/python uninstall --yes --quiet \
      --requirement requirements/not-in-image.txt \
 && find /airbyte/venv -type d -name tests -prune -exec rm -r {} + \
 && /airbyte/venv/bin/python -c \
      'import sysconfig; print("/airbyte/project", file=open(sysconfig.get_path("purelib") + "/project.pth", "w"))' \
 && /airbyte/venv/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /airbyte/venv/lib

# Both images share all layers but the last.
FROM base
COPY --from=dependencies /airbyte/venv /airbyte/venv
COPY --from=project /airbyte/project /airbyte/project
WORKDIR /airbyte/integration_code
ARG SOURCE
RUN case "${SOURCE}" in \
      courier|kustomer) ;; \
      *) echo "Say which source: --build-arg SOURCE=courier or SOURCE=kustomer" >&2; exit 1 ;; \
    esac \
 && ln -s "/airbyte/project/bin/source-${SOURCE}" /airbyte/entrypoint
USER airbyte

LABEL io.airbyte.name="airbyte/source-${SOURCE}" io.airbyte.version="1.0.0"
# Airbyte runs what this variable names; docker run does what ENTRYPOINT says.
ENV AIRBYTE_ENTRYPOINT="/airbyte/entrypoint"
ENTRYPOINT ["/airbyte/entrypoint"]
