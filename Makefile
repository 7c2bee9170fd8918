# The commands for people who work on the code. tests/with-postgres provides every database: it uses
# DATABASE_URL if that is set, else a private PostgreSQL. ARGS="…" is appended to a target's last
# command.

export PATH := $(PATH):$(HOME)/.cargo/bin
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/keap-intercom-sync
DENY := $(CACHE)/cargo-deny-0.20.2
DEB := $(CACHE)/cargo-deb-3.8.0
TARGET := $(or $(CARGO_TARGET_DIR),target)
# The groups of tests in tests/main.rs that need no database.
QUICK_GROUPS := contracts:: layers:: sim::
# PostgreSQL refuses to run as root, and the account that runs it instead cannot enter root's home.
STATE := $(if $(filter 0,$(shell id -u)),/var/lib,$(or $(XDG_STATE_HOME),$(HOME)/.local/state))/keap-intercom-sync

.PHONY: help demo demo-stay run test soak worlds pooler-test quick check deny bench screenshots deb tools package-test static static-test tarball ci rust

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

demo: rust ## syncs invented contacts from a stand-in Keap to a stand-in Intercom; needs no account
	@echo "building keap-intercom-sync and the demo around it: some minutes the first time"
	cargo build --locked --bin keap-intercom-sync --example demo
	exec tests/with-postgres cargo run --quiet --locked --example demo -- $(ARGS)

demo-stay: ## the same, then keeps running and prints the commands to try, which work as printed
	@$(MAKE) --no-print-directory demo ARGS="--stay $(ARGS)"

run: rust ## the daemon on your own accounts (keys in the environment), with a database in your state folder
	cargo build --release --locked
	exec tests/with-postgres --keep "$(STATE)" "$(TARGET)/release/keap-intercom-sync" run $(ARGS)

test: rust ## all tests, on a private PostgreSQL
	tests/with-postgres.test
	cargo test --locked --no-run
# Six threads even on two cores, because most tests wait rather than compute. Each gets the stack of a main thread, on which
# the daemon runs: without optimization, frames are large.
	exec env RUST_TEST_THREADS="$${RUST_TEST_THREADS:-6}" RUST_MIN_STACK="$${RUST_MIN_STACK:-8388608}" tests/with-postgres cargo test --locked $(ARGS)

soak: rust ## kills and cuts the daemon at every call and commit, and in random worlds; ARGS=kills, ARGS=commits, ARGS="--seed 7 --worlds 20"; WORLDS=100000 is for the merge of both sides
	$(if $(WORLDS),$(MAKE) --no-print-directory worlds)
	cargo build --locked --example soak
	exec tests/with-postgres "$(TARGET)/debug/examples/soak" $(ARGS)

worlds: rust ## random edits on both sides, decided by the merge alone and by whole processes; WORLDS=100000
	MERGE_WORLDS=$(or $(WORLDS),100000) cargo test --locked --lib sync::merge::tests::random
	TWO_WAY_WORLDS=$$(($(or $(WORLDS),100000) / 1000 + 1)) tests/with-postgres cargo test --locked --test tests two_way::random

pooler-test: rust ## the program behind a real PgBouncer, which must be installed
	tests/pooler.test

# A group without a test is an error, so that renaming a module cannot switch its tests off. Without
# DATABASE_URL, a test in these groups that needs a database fails.
quick: check ## format, lints and the tests that need no database; the other tests need `make test`
	cargo test --quiet --locked --no-run --lib --test tests
	@tests=$$(cargo test --quiet --locked --test tests -- --list) || exit 1; for group in $(QUICK_GROUPS); do \
	  echo "$$tests" | grep "^$$group.*: test\$$" >/dev/null || \
	    { echo "make quick: no test has a name that starts with $$group" >&2; exit 1; }; \
	done
	env -u DATABASE_URL cargo test --quiet --locked --lib
	env -u DATABASE_URL cargo test --quiet --locked --test tests -- $(QUICK_GROUPS)

check: rust ## format and lints, as errors
	cargo fmt --all --check
	cargo clippy --all-targets --locked -- -D warnings $(ARGS)

deny: $(DENY)/bin/cargo-deny ## licences, banned crates and sources of all dependencies
	cargo fetch --locked
	$< --offline check $(ARGS) licenses bans sources

$(DENY)/bin/cargo-deny: | rust
	@echo "building cargo-deny, once; this takes about a minute"
	cargo install --quiet --locked --debug --root "$(DENY)" cargo-deny@$(lastword $(subst -, ,$(DENY)))

bench: rust ## measures speed and memory against the stand-ins, in a release build
# The program is built apart, else it would get the features that only tests need.
	cargo build --release --locked
	cargo build --release --locked --example bench
	exec tests/with-postgres cargo run --release --quiet --locked --example bench -- $(ARGS)

screenshots: rust ## pictures of the operator's page in docs/images, with invented people; needs chromium and chromium-driver
	SCREENSHOTS="$(CURDIR)/docs/images" tests/with-postgres cargo test --quiet --locked --test tests -- --ignored ui::browser::screenshots::

deb: rust $(DEB)/bin/cargo-deb ## a Debian package in target/debian
	rm -rf "$(TARGET)/debian"
	cargo build --release --locked
	"$(TARGET)/release/keap-intercom-sync" docs target/docs
	"$(DEB)/bin/cargo-deb" --no-build --locked $(ARGS)

$(DEB)/bin/cargo-deb: | rust
	@echo "building cargo-deb, once; this takes less than a minute"
	cargo install --quiet --locked --debug --root "$(DEB)" cargo-deb@$(lastword $(subst -, ,$(DEB)))

tools: $(DENY)/bin/cargo-deny $(DEB)/bin/cargo-deb ## builds the tools of `make deny` and `make deb`, once

package-test: deb tarball ## tests both on a Debian machine that boots in a folder; needs root and a few minutes
	cargo build --locked --example demo
	exec tests/with-postgres tests/package.test "$(TARGET)"/debian/*.deb "$(TARGET)"/keap-intercom-sync-*.tar.gz \
	  "$(TARGET)/debug/examples/demo" --stand-ins

static: rust ## one file for any Linux on this kind of machine, without any library, in target/static
# The parts are built as for every release. The program alone is linked anew.
	cargo rustc --release --locked --bin keap-intercom-sync -- -C target-feature=+crt-static
	mkdir -p "$(TARGET)/static"
	cp "$(TARGET)/release/keap-intercom-sync" "$(TARGET)/static/"

static-test: static ## tests it in an empty folder; needs root
	cargo build --locked --example demo
	tests/static.test "$(TARGET)/static/keap-intercom-sync" "$(TARGET)/debug/examples/demo" --stand-ins

tarball: rust ## the same files as a tarball in target/, for other distributions
	cargo build --release --locked
	rm -f "$(TARGET)"/keap-intercom-sync-*.tar.gz
	systemd/tarball "$(TARGET)"

ci: ## everything that CI runs
	.ci/run

rust:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.88 or newer, with rustup or your system's packages" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: install gcc (Debian: apt-get install build-essential)" >&2; exit 1; }
