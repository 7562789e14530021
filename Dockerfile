# One image for the three commands: `dc-relay serve` (all in one, on SQLite), or on PostgreSQL a
# container each for `gunicorn` and `dc-relay worker` (see compose.yaml).

FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/dc-relay
WORKDIR /build
# The dependencies first: this layer is built again only when the lock changes.
# --build-arg REQUIREMENTS=requirements-extras.txt: with OpenTelemetry.
ARG REQUIREMENTS=requirements.txt
COPY requirements.txt requirements-extras.txt ./
RUN /opt/dc-relay/bin/pip install --require-hashes -r "$REQUIREMENTS"
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
COPY sandbox ./sandbox
RUN /opt/dc-relay/bin/pip install --no-deps .


FROM python:3.11-slim-bookworm

# The id is fixed, so that the owner of a volume's files stays the same over every build.
RUN groupadd --gid 10001 relay \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home \
        --shell /usr/sbin/nologin relay \
    && install --directory --owner 10001 --group 10001 /data
COPY --from=build /opt/dc-relay /opt/dc-relay

ENV PATH=/opt/dc-relay/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATABASE_URL=sqlite:////data/dc-relay.db \
    PORT=8000
# relay.toml, if there is one, is read from here too.
WORKDIR /data
VOLUME /data
# A number, so that a platform can see for itself that it is not root.
USER 10001:10001
EXPOSE 8000
# Not urllib.request: it would ask a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=3); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
CMD ["dc-relay", "serve"]
