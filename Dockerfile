# The daemon in a container: docker build -t keap-intercom-sync . (docs/docker.md)
# Settings come from the environment; secrets best as files: KEAP_API_KEY_FILE=/run/secrets/… . All state is in Postgres.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY migrations migrations
COPY config config
COPY src src
RUN cargo build --release --locked --bin keap-intercom-sync

FROM debian:bookworm-slim
# The remotes are trusted by the system's authorities; their newest version is the right one.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /build/target/release/keap-intercom-sync /usr/local/bin/
# An account without a name, files or rights.
USER 65532:65532
# Loopback would be the container's own.
ENV HTTP_LISTEN=0.0.0.0:8080
EXPOSE 8080
# Alive, not whether contacts flow: a restart does not help a remote. GET /ready tells that.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["keap-intercom-sync", "health"]
# SIGTERM: what is under way is finished and recorded, within 5 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["keap-intercom-sync"]
CMD ["run"]
