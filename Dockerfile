# One image per service, all from this file:
#   docker build --build-arg SERVICE=risk -t tickwire/risk .
# SERVICE is ingest, features, inference, risk, executor or trainer, or `tools`: the `tickwire` command alone.

FROM python:3.11-slim-bookworm AS base
ARG SERVICE
# LightGBM's library is linked with OpenMP, which the slim image lacks.
RUN case "$SERVICE" in inference|trainer) \
      apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* ;; esac


FROM base AS build
ARG SERVICE
ENV PATH=/opt/tickwire/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN test -n "$SERVICE" || { echo "Say which image: --build-arg SERVICE=risk (or another service, or tools)." >&2; exit 1; } \
    && python -m venv /opt/tickwire

# Packages first and our code after them: a changed line of ours installs nothing again.
COPY pyproject.toml requirements/constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c "import os, tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies'].get(os.environ['SERVICE'], []), sep='\n')" > wanted.txt \
    && pip install -c constraints.txt -r wanted.txt
COPY LICENSE README* ./
COPY libs libs
COPY services services
COPY tickwire tickwire
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps .

# A service compiles its kernels when its modules are imported. Done here, it never compiles on a live tick.
RUN mkdir /opt/tickwire/compiled \
    && if [ "$SERVICE" != tools ]; then cd / && NUMBA_CACHE_DIR=/opt/tickwire/compiled python -c "import services.$SERVICE.shell"; fi


FROM base
ARG SERVICE
LABEL org.opencontainers.image.title="tickwire-$SERVICE" org.opencontainers.image.licenses="MIT"
# Volumes that are mounted here for the first time take over these folders' owner and mode.
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/tickwire --shell /usr/sbin/nologin tickwire \
    && install -d -o tickwire -g tickwire -m 0700 \
         /var/lib/tickwire /var/lib/tickwire/keys /keys /keys/risk /keys/trainer /keys/executor /keys/public
COPY --from=build /opt/tickwire /opt/tickwire
COPY --chmod=0755 deploy/entrypoint.sh /usr/local/bin/tickwire-entrypoint
ENV PATH=/opt/tickwire/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SERVICE=$SERVICE \
    TICKWIRE_CONFIG=/etc/tickwire/config.yaml \
    TICKWIRE_SYSTEM__DATA_DIR=/var/lib/tickwire \
    TICKWIRE_HTTP_HOST=0.0.0.0 \
    TICKWIRE_HTTP_PORT=8080 \
    NUMBA_CACHE_DIR=/tmp/compiled
USER tickwire
WORKDIR /var/lib/tickwire
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=120s --retries=3 CMD ["python", "-ISc", "import http.client, os, sys; probe = http.client.HTTPConnection('127.0.0.1', int(os.environ['TICKWIRE_HTTP_PORT']), timeout=3); probe.request('GET', '/readyz'); sys.exit(probe.getresponse().status != 200)"]
ENTRYPOINT ["tickwire-entrypoint"]
