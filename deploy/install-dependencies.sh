#!/usr/bin/env bash
# Installs what Sluice's make targets need, if it is missing, and says so first. Debian and Ubuntu only; elsewhere it
# names what to install. It must never leave a service running: the project starts its own private brokers.
#
# Usage: deploy/install-dependencies.sh NAME…
set -euo pipefail

readonly NAMES='rust cc rabbitmq promtool cargo-deny amqp-tools node chromium schemathesis pika jq kubernetes-schemas node-packages rabbitmq-4.0 rabbitmq-4.3'

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
# What only this project needs is kept here, each in a folder of its own, where the tests look for it.
readonly TOOLS=$ROOT/target/tools
# The project runs the broker by this path, in private nodes.
readonly RABBITMQ_SERVER=/usr/lib/rabbitmq/bin/rabbitmq-server
# Other releases of it, each with the Debian that holds it, are kept here for all checkouts: src/demo/release.rs looks there.
readonly RELEASES=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/sluice
# The newest release that Rust 1.95 builds; pinned so that a check says the same thing everywhere, as are those below.
readonly CARGO_DENY_VERSION=0.20.2
readonly SCHEMATHESIS_VERSION=4.32.5
# As docs/producers.md tells its readers to install it.
readonly PIKA_VERSION=1.4.4
# The Python package, of which this one holds jq 1.7.1, and its sources in whole.
readonly JQ_VERSION=1.8.0
# What else the tests publish with; JavaScript's stands in tests/node/package.json.
readonly CLOUDEVENTS_VERSION=2.2.0

# Debian's maintainer scripts ask this program before they start a service: see invoke-rc.d(8).
readonly POLICY=/usr/sbin/policy-rc.d
readonly POLICY_FORBIDS=101
readonly POLICY_MARK='put here by the Sluice installation, for its duration'

say() { printf 'sluice: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

missing() {
    case $1 in
        rust) ! command -v cargo ;;
        cc) ! command -v cc ;;
        rabbitmq) ! test -x "$RABBITMQ_SERVER" ;;
        promtool) ! command -v promtool ;;
        cargo-deny) ! cargo deny --version ;;
        rabbitmq-*) ! is_release "$1" "$RELEASES/$1" ;;
        amqp-tools) ! command -v amqp-publish ;;
        node) ! { command -v node && command -v npm; } ;;
        chromium) ! { command -v chromium && command -v chromedriver; } ;;
        # The interpreter may have gone since. Starting it to ask would take longer than most tests.
        jq) ! { test -x "$TOOLS/$1/bin/python" && test -s "$TOOLS/$1/tests/jq.test" && is_as_pinned "$1"; } ;;
        schemathesis | pika | kubernetes-schemas) ! { test -x "$TOOLS/$1/bin/python" && is_as_pinned "$1"; } ;;
        node-packages) ! is_as_pinned "$1" ;;
    esac >/dev/null 2>&1
}

# What is to be in a folder of $TOOLS: another list is another installation.
pinned() {
    case $1 in
        schemathesis) echo "schemathesis==$SCHEMATHESIS_VERSION" ;;
        pika) printf '%s\n' "pika==$PIKA_VERSION" "cloudevents==$CLOUDEVENTS_VERSION" ;;
        jq) echo "jq==$JQ_VERSION" ;;
        kubernetes-schemas) cat "$ROOT/deploy/kubernetes/requirements.txt" ;;
        node-packages) cat "$ROOT/tests/node/package-lock.json" ;;
    esac
}

# Whether a folder holds that release of RabbitMQ, in whole.
is_release() { [[ $(dpkg-query --admindir="$2/var/lib/dpkg" -W -f '${db:Status-Abbrev}${Version}' rabbitmq-server) == "ii ${1#rabbitmq-}."* ]]; }

# The list that was installed is kept beside what it brought.
is_as_pinned() { pinned "$1" | cmp --silent - "$TOOLS/$1/installed"; }

# The Debian packages that hold it.
packages_of() {
    case $1 in
        cc) echo gcc libc6-dev ;;
        rabbitmq) echo rabbitmq-server ;;
        promtool) echo prometheus ;;
        rabbitmq-*)
            command -v debootstrap >/dev/null || echo debootstrap
            test -e /usr/share/keyrings/debian-archive-keyring.gpg || echo debian-archive-keyring
            ;;
        amqp-tools) echo amqp-tools ;;
        node) command -v node >/dev/null || echo nodejs; command -v npm >/dev/null || echo npm ;;
        chromium) echo chromium chromium-driver ;;
        schemathesis | pika | jq | kubernetes-schemas)
            python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3 python3-venv ;;
    esac
}

# The services that a package would bring to this machine.
new_services_of() {
    case $1 in
        rabbitmq-server) echo rabbitmq-server.service; is_installed erlang-base || echo epmd.service epmd.socket ;;
        prometheus) echo prometheus.service ;;
    esac
}

is_debian() { grep -qsE '^ID(_LIKE)?=.*\<(debian|ubuntu)\>' /etc/os-release && command -v apt-get >/dev/null; }

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]; }

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# Forbids services to start until the script ends. A policy of the machine's own stays as it is, but must forbid too.
forbid_services() {
    local service answer
    if [[ -e $POLICY ]] && ! grep -qF "$POLICY_MARK" "$POLICY"; then
        for service in "${packages[@]}"; do
            answer=0
            "$POLICY" "$service" start >/dev/null 2>&1 || answer=$?
            ((answer == POLICY_FORBIDS)) || fail "$POLICY of this machine lets $service start when it is installed." \
                "Install it by hand, stop the service, then repeat: apt-get install --no-install-recommends ${packages[*]}"
        done
        return
    fi
    trap 'as_root rm -f "$POLICY"' EXIT
    # The shell runs the EXIT trap only when it ends by itself.
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\n# %s\nexit %d\n' "$POLICY_MARK" "$POLICY_FORBIDS" | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive SLUICE_INSTALLATION=$$ apt-get install --yes --quiet \
        --no-install-recommends -o DPkg::Lock::Timeout=300 "${packages[@]}" </dev/null
}

# A service that is new on this machine must not come up at the next boot either.
disable_services() {
    local service
    command -v systemctl >/dev/null || return 0
    for service in "$@"; do
        as_root systemctl disable --quiet "$service" || say "could not disable $service: it may start at boot."
    done
}

# Erlang's name server outlives whatever called it; the mark in its environment tells this installation's from others.
end_our_epmd() {
    local process pid
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        if grep -qx epmd "$process/comm" 2>/dev/null &&
            as_root grep -qzx "SLUICE_INSTALLATION=$$" "$process/environ" 2>/dev/null; then
            as_root kill "$pid"
            say "ended epmd ($pid), which the installation had started."
        fi
    done
}

install_packages() {
    is_debian || fail "this system is neither Debian nor Ubuntu. Install by its own means, then repeat: ${wanted[*]}" \
        "(rabbitmq: RabbitMQ 3.10 or newer with $RABBITMQ_SERVER; promtool: comes with Prometheus; cc: any C compiler;" \
        "rabbitmq-4.0, rabbitmq-4.3: let SLUICE_TEST_AMQP_URL name a broker of that release instead; amqp-tools: comes with rabbitmq-c; node: Node.js 18 or newer with npm; chromium: with its chromedriver;" \
        "schemathesis, pika, jq and kubernetes-schemas: Python 3.11 or newer with its venv module)."
    ((EUID == 0)) || command -v sudo >/dev/null ||
        fail "installing needs root and there is no sudo. As root, run: $0 ${wanted[*]}"

    local package new_services=()
    for package in "${packages[@]}"; do
        # shellcheck disable=SC2207 # the names hold no spaces
        new_services+=($(new_services_of "$package"))
    done

    say "installing with apt-get: ${packages[*]}. No service is left running or enabled."
    forbid_services
    if ! apt_install; then
        say "the package lists are missing or old: updating them, then once more."
        { as_root apt-get update --quiet && apt_install; } ||
            fail "apt-get could not install ${packages[*]}: its lines above say why."
    fi
    disable_services "${new_services[@]}"
    end_our_epmd
}

# A small Debian with that release in it, from the packages of the mirror that apt uses. Nothing of it ever starts by itself: tests run single
# programs inside. The mounts that it needs while it is made end with the command.
install_rabbitmq() {
    local folder=$RELEASES/$1 debian mirror
    case $1 in
        rabbitmq-4.0) debian=trixie ;;
        rabbitmq-4.3) debian=sid ;;
    esac
    mirror=$({ apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>/dev/null || true; } | sed -n 's/ Debian Debian$//p' | sed -n 1p)
    mirror=${mirror:-http://deb.debian.org/debian}
    say "making a Debian $debian with RabbitMQ ${1#rabbitmq-} in $folder from $mirror, as root: some minutes and 500 MB, once." \
        "To be rid of it: sudo rm -r $folder"
    mkdir -p "$RELEASES"
    as_root rm -rf --one-file-system "$folder" "$folder.new"
    if ! as_root unshare --mount env DEBIAN_FRONTEND=noninteractive debootstrap --variant=minbase --include=rabbitmq-server \
        "$debian" "$folder.new" "$mirror" >"$RELEASES/$1.log" 2>&1 </dev/null; then
        tail -n 5 "$RELEASES/$1.log" >&2
        fail "$1 could not be installed: the lines above and $RELEASES/$1.log say why. It needs root, a mirror of Debian, and leave to mount" \
            "(a container must be privileged). Elsewhere let SLUICE_TEST_AMQP_URL name a broker of that release."
    fi
    is_release "$1" "$folder.new" || fail "Debian $debian does not hold RabbitMQ ${1#rabbitmq-} any more. Let SLUICE_TEST_AMQP_URL name a broker of that release."
    as_root rm -rf --one-file-system "$folder.new/var/cache/apt" "$folder.new/var/lib/apt/lists"
    # The machine's own is mounted there.
    as_root touch "$folder.new/etc/hosts"
    as_root mv "$folder.new" "$folder"
}

install_cargo_deny() {
    say "building cargo-deny $CARGO_DENY_VERSION with cargo: this takes some minutes, once."
    cargo install --locked cargo-deny --version "=$CARGO_DENY_VERSION"
}

# A Python environment of its own, from PyPI.
install_in_venv() {
    local venv=$TOOLS/$1
    say "installing $1 from PyPI into $venv, once."
    if ! { python3 -m venv --clear "$venv" && pinned "$1" >"$venv/pinned" && "$venv/bin/python" -m pip install --quiet \
        --disable-pip-version-check --no-input --requirement "$venv/pinned" && mv "$venv/pinned" "$venv/installed"; }; then
        fail "$1 could not be installed: the lines above say why. It needs Python 3.11 or newer, and PyPI."
    fi
}

# The real jq for Python, and beside it the tests that came with its sources.
install_jq() {
    local folder=$TOOLS/jq sources
    install_in_venv jq
    rm "$folder/installed"
    sources=$(mktemp -d)
    if ! { "$folder/bin/python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps --no-binary :all: \
        --dest "$sources" "$(pinned jq)" && tar -xzf "$sources/jq-$JQ_VERSION.tar.gz" -C "$sources" &&
        tar -xzf "$sources/jq-$JQ_VERSION/deps/jq-1.7.1.tar.gz" -C "$sources" jq-1.7.1/tests &&
        rm -rf "$folder/tests" && cp -r "$sources/jq-1.7.1/tests" "$folder/tests" && pinned jq >"$folder/installed"; }; then
        fail "jq's own tests could not be fetched: the lines above say why. They are in the source package of PyPI's jq."
    fi
    rm -rf "$sources"
}

install_node_packages() {
    local folder=$TOOLS/node-packages
    say "installing the packages of tests/node/package-lock.json from npm into $folder, once."
    mkdir -p "$folder"
    cp "$ROOT/tests/node/package.json" "$ROOT/tests/node/package-lock.json" "$folder"
    # Everything is pinned with its digest, and no script of a package is run.
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null) ||
        fail "npm could not install them: the lines above say why. It needs Node.js 18 or newer, and the npm registry."
    pinned node-packages >"$folder/installed"
}

wanted=()
packages=()
for name in "$@"; do
    [[ " $NAMES " == *" $name "* ]] || fail "unknown name '$name': write one of $NAMES."
    if missing "$name"; then
        wanted+=("$name")
        # shellcheck disable=SC2207 # the names hold no spaces
        packages+=($(packages_of "$name"))
    fi
done
((${#wanted[@]})) || exit 0

say "missing: ${wanted[*]}."
[[ " ${wanted[*]} " != *" rust "* ]] || fail "install Rust 1.95 or newer from https://rustup.rs, then repeat."
((${#packages[@]} == 0)) || install_packages
for name in "${wanted[@]}"; do
    case $name in
        cargo-deny) install_cargo_deny ;;
        rabbitmq-*) install_rabbitmq "$name" ;;
        schemathesis | pika | kubernetes-schemas) install_in_venv "$name" ;;
        jq) install_jq ;;
        node-packages) install_node_packages ;;
    esac
done
for name in "${wanted[@]}"; do
    ! missing "$name" || fail "$name is still missing after the installation: install it by hand."
done
say "installed: ${wanted[*]}."
