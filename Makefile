# The commands people type. Each installs what it needs and says so before it does.

INSTALL := deploy/install-dependencies.sh
# Most tests wait, for a broker or for time to pass: five at a time use two cores well.
THREADS = $(shell n=$$(nproc); [ "$$n" -gt 5 ] && echo "$$n" || echo 5)
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

.DEFAULT_GOAL := help
.PHONY: help demo unit test bench check audit image kubernetes-rules

## help: this list
help:
	@sed -n 's/^## \([a-z]*\): /\1\t/p' Makefile | expand -t 10

## demo: broker, sandbox of four vendors and worker together, with 7,828 events (KEEP=1 leaves them up)
demo:
	@$(INSTALL) rust cc rabbitmq
	cargo run --release --locked --bin sluice -- demo $(if $(KEEP),--keep)

## unit: the tests that need no service and no other program, and a tenth of the random schedules
unit:
	@$(INSTALL) rust cc
	SLUICE_FEW_SCHEDULES=1 cargo test --locked --all-features --lib --test it -- --skip mapping::jq::tests --skip rules::promtool

## test: all tests, those against real RabbitMQ nodes too (RABBITMQ=4.0 or 4.3: of that version; ONLY="lease dead": live ones)
test:
	@$(INSTALL) rust cc rabbitmq promtool schemathesis pika jq amqp-tools node node-packages chromium $(RABBITMQ:%=rabbitmq-%)
	$(RABBITMQ:%=SLUICE_TEST_RABBITMQ=%) RUST_TEST_THREADS=$(THREADS) cargo test --locked --all-features $(if $(ONLY),--test live -- $(ONLY))

## bench: Sluice against a bare loop of the same crates, with a table of the figures (QUICK=1, MILLION=1, ONLY="quota bursts", COMPARE=an earlier run's JSON)
bench:
	@$(INSTALL) rust cc rabbitmq
	cargo bench --locked --all-features --bench sluice -- $(if $(QUICK),--quick) $(if $(MILLION),--million) $(ONLY:%=--only %) $(COMPARE:%=--compare %)

## check: format, lints, documentation, licences, dependencies and the files to deploy with
check:
	@$(INSTALL) rust cc cargo-deny kubernetes-schemas
	cargo fmt --check
	cargo clippy --locked -- -D warnings
	cargo clippy --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --all-features --locked
	cargo deny --locked check --hide-inclusion-graph licenses bans sources
	deploy/check.sh
	@if command -v shellcheck >/dev/null; then shellcheck $(INSTALL) .ci/run deploy/check.sh deploy/compose/*.sh; \
	else echo "shellcheck is not installed: the shell scripts are not checked"; fi

## audit: known vulnerabilities in the dependencies (fetches the advisory database)
audit:
	@$(INSTALL) rust cc cargo-deny
	cargo deny --locked check advisories

## image: the container image, as sluice:<version>
image:
	docker build --file deploy/Dockerfile --tag sluice:$(VERSION) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git rev-parse HEAD) .

# The rules in the form of the Prometheus Operator: below the head that is there. A test compares the two.
kubernetes-rules: RULE := deploy/kubernetes/monitoring/prometheusrule.yml
kubernetes-rules:
	{ sed '/^spec:/q' $(RULE) && sed 's/^./  &/' deploy/prometheus/rules/sluice.yml; } >$(RULE).new
	mv $(RULE).new $(RULE)
