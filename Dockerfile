# The daemon in a container: docker build -t keap-intercom-sync . (docs/docker.md)
# Settings come from the environment. Give secrets as files: KEAP_API_KEY_FILE=/run/secrets/…
# All state is in Postgres.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY migrations migrations
COPY config config
COPY src src
RUN cargo build --release --locked --bin keap-intercom-sync

FROM debian:bookworm-slim
# TLS to Keap and Intercom trusts the system's certificate authorities: take the newest list.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /build/target/release/keap-intercom-sync /usr/local/bin/
# An account that has no name, owns no file and has no rights.
USER 65532:65532
# Loopback would be reachable only from inside the container.
ENV HTTP_LISTEN=0.0.0.0:8080
EXPOSE 8080
# Checks only that the daemon is alive, because a restart cannot repair Keap or Intercom. GET /ready
# says whether contacts are synced.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["keap-intercom-sync", "health"]
# On SIGTERM the daemon finishes and records what is under way, within 5 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["keap-intercom-sync"]
CMD ["run"]
