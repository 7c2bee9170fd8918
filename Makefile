# What one types here. Every database comes from tests/with-postgres: DATABASE_URL if it is set, else
# a private PostgreSQL. ARGS="…" is added to the last command of a target.

export PATH := $(PATH):$(HOME)/.cargo/bin
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/keap-intercom-sync
DENY := $(CACHE)/cargo-deny-0.20.2
DEB := $(CACHE)/cargo-deb-3.8.0
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Root's home is closed to the account that runs PostgreSQL for root.
STATE := $(if $(filter 0,$(shell id -u)),/var/lib,$(or $(XDG_STATE_HOME),$(HOME)/.local/state))/keap-intercom-sync

.PHONY: help demo demo-stay run test check deny bench deb package-test tarball ci rust

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

demo: rust ## invented contacts flow from a stand-in Keap to a stand-in Intercom; needs no account
	cargo build --locked --example demo
	exec tests/with-postgres cargo run --quiet --locked --example demo -- $(ARGS)

demo-stay: ## the same, and it keeps running and prints calls to try
	@$(MAKE) --no-print-directory demo ARGS="--stay $(ARGS)"

run: rust ## the daemon on your own accounts, its database in your state folder (keys in the environment)
	cargo build --release --locked
	exec tests/with-postgres --keep "$(STATE)" "$(TARGET)/release/keap-intercom-sync" run $(ARGS)

test: rust ## all tests, on a private PostgreSQL
	tests/with-postgres.test
	cargo test --locked --no-run
# Tests wait more than they compute.
	exec env RUST_TEST_THREADS="$${RUST_TEST_THREADS:-4}" tests/with-postgres cargo test --locked $(ARGS)

check: rust ## format and lints, as errors
	cargo fmt --all --check
	cargo clippy --all-targets --locked -- -D warnings $(ARGS)

deny: $(DENY)/bin/cargo-deny ## licences, banned crates and sources of all dependencies
	cargo fetch --locked
	$< --offline check $(ARGS) licenses bans sources

$(DENY)/bin/cargo-deny: | rust
	@echo "building cargo-deny once, about a minute"
	cargo install --quiet --locked --debug --root "$(DENY)" cargo-deny@$(lastword $(subst -, ,$(DENY)))

bench: rust ## speed and memory against the stand-ins, in a release build
# The program apart, else it has the features that only tests need.
	cargo build --release --locked
	cargo build --release --locked --example bench
	exec tests/with-postgres cargo run --release --quiet --locked --example bench -- $(ARGS)

deb: rust $(DEB)/bin/cargo-deb ## a Debian package in target/debian
	rm -rf "$(TARGET)/debian"
	cargo build --release --locked
	"$(TARGET)/release/keap-intercom-sync" docs target/docs
	"$(DEB)/bin/cargo-deb" --no-build --locked $(ARGS)

$(DEB)/bin/cargo-deb: | rust
	@echo "building cargo-deb once, less than a minute"
	cargo install --quiet --locked --debug --root "$(DEB)" cargo-deb@$(lastword $(subst -, ,$(DEB)))

package-test: deb tarball ## both on a Debian machine that boots in a folder; as root, a few minutes
	cargo build --locked --example demo
	exec tests/with-postgres tests/package.test "$(TARGET)"/debian/*.deb "$(TARGET)"/keap-intercom-sync-*.tar.gz \
	  "$(TARGET)/debug/examples/demo" --stand-ins

tarball: rust ## the same files without a package, for other distributions, in target/
	cargo build --release --locked
	rm -f "$(TARGET)"/keap-intercom-sync-*.tar.gz
	systemd/tarball "$(TARGET)"

ci: ## what CI runs
	.ci/run

rust:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.88 or newer, with rustup or your system's packages" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: install gcc (Debian: apt-get install build-essential)" >&2; exit 1; }
