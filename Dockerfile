# The service's image: one binary, built from source, that runs without root.
#   docker build -t pacegate .
#   docker run -p 127.0.0.1:8080:8080 -v pacegate:/data pacegate
# The build command is the Makefile's `release`; tests/lint.mjs checks that they are equal.

FROM rust:1.95-slim-bookworm AS build

# SQLite and aws-lc are compiled from C.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /build

COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY migrations migrations
COPY templates templates
COPY src src
# The cache mounts keep registry and build products between builds, so that a change of the
# sources rebuilds only what it touches.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked \
    && cp target/release/pacegate /usr/local/bin/pacegate


FROM debian:bookworm-slim

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin pacegate \
    && install -d --owner=pacegate --group=pacegate /data

COPY --from=build /usr/local/bin/pacegate /usr/local/bin/pacegate
COPY LICENSE LICENSE-MIT LICENSE-APACHE /usr/share/doc/pacegate/

# A numeric id, so that an orchestrator can verify that it is not root.
USER 10001
# The default paths of the database and of raw traces are relative to this folder.
WORKDIR /data
VOLUME /data

# Listens on all addresses: senders need a token, and `docker run -p` decides which ports are reachable.
ENV PACEGATE_LISTEN=0.0.0.0:8080 \
    PACEGATE_OTLP_GRPC_LISTEN=0.0.0.0:4317 \
    PACEGATE_OTLP_HTTP_LISTEN=0.0.0.0:4318 \
    PACEGATE_ZIPKIN_LISTEN=0.0.0.0:9411 \
    PACEGATE_JAEGER_HTTP_LISTEN=0.0.0.0:14268 \
    PACEGATE_JAEGER_GRPC_LISTEN=0.0.0.0:14250
EXPOSE 8080 4317 4318 9411 14268 14250

# The image has no curl, so bash opens the connection.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$(echo $PACEGATE_LISTEN | sed s/.*://) && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^alive' <&3"]

ENTRYPOINT ["pacegate"]
CMD ["serve"]
