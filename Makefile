# The commands people type. Each installs what it needs and says so before it does.

INSTALL := deploy/install-dependencies.sh

.DEFAULT_GOAL := help
.PHONY: help demo test bench check audit

## help: this list
help:
	@sed -n 's/^## \([a-z]*\): /\1\t/p' Makefile | expand -t 10

## demo: broker, sandbox of four vendors and worker together, with 7,828 events (KEEP=1 leaves them up)
demo:
	@$(INSTALL) rust cc rabbitmq
	cargo run --release --locked --bin sluice -- demo $(if $(KEEP),--keep)

## test: all tests, those against real RabbitMQ nodes too
test:
	@$(INSTALL) rust cc rabbitmq promtool schemathesis pika amqp-tools node node-packages chromium
	cargo test --locked --all-features

## bench: Sluice against a bare loop of the same crates, with a table of the figures (QUICK=1, MILLION=1)
bench:
	@$(INSTALL) rust cc rabbitmq
	cargo bench --locked --all-features --bench '*' -- $(if $(QUICK),--quick) $(if $(MILLION),--million)

## check: format, lints, documentation, licences and dependencies
check:
	@$(INSTALL) rust cc cargo-deny
	cargo fmt --check
	cargo clippy --locked -- -D warnings
	cargo clippy --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --all-features --locked
	cargo deny --locked check --hide-inclusion-graph licenses bans sources
	@if command -v shellcheck >/dev/null; then shellcheck $(INSTALL) .ci/run; \
	else echo "shellcheck is not installed: the shell scripts are not checked"; fi

## audit: known vulnerabilities in the dependencies (fetches the advisory database)
audit:
	@$(INSTALL) rust cc cargo-deny
	cargo deny --locked check advisories
