# One file, two images:  docker build --build-arg SOURCE=kustomer -t airbyte/source-kustomer:dev .
ARG BASE_IMAGE=docker.io/airbyte/python-connector-base:4.1.0@sha256:1d1aa21d34e851df4e8a87b391c27724c06e2597608e7161f4d167be853bd7b6

FROM ${BASE_IMAGE} AS builder
USER root
WORKDIR /build
# The environment keeps its path from here to the final stage, and has no pip of its own.
RUN python -m venv --without-pip /airbyte/venv
COPY requirements/run.txt requirements/run.txt
RUN python -m pip --python /airbyte/venv/bin/python install --no-cache-dir \
      --require-hashes --requirement requirements/run.txt
COPY . .
RUN python -m pip --python /airbyte/venv/bin/python install --no-cache-dir \
      --no-deps --no-build-isolation .

FROM ${BASE_IMAGE}
ARG SOURCE
USER root
RUN case "${SOURCE}" in \
      courier|kustomer) ;; \
      *) echo "Say which source: --build-arg SOURCE=courier or SOURCE=kustomer" >&2; exit 1 ;; \
    esac \
 && { id airbyte >/dev/null 2>&1 || useradd --uid 1000 --create-home airbyte; } \
 && mkdir -p /airbyte/integration_code \
 && ln -s "/airbyte/venv/bin/source-${SOURCE}" /airbyte/entrypoint
COPY --from=builder /airbyte/venv /airbyte/venv
WORKDIR /airbyte/integration_code
USER airbyte

LABEL io.airbyte.name="airbyte/source-${SOURCE}" io.airbyte.version="1.0.0"
# Airbyte runs what this variable names; docker run does what ENTRYPOINT says.
ENV AIRBYTE_ENTRYPOINT="/airbyte/entrypoint"
ENTRYPOINT ["/airbyte/entrypoint"]
