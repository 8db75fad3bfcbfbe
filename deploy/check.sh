#!/usr/bin/env bash
# Checks the files under deploy/ and docker-compose.yml with the programs they are for. A program that is not installed is
# named and left out, but for the Kubernetes schemas, which install-dependencies.sh brings.
set -euo pipefail
cd "$(dirname "$0")/.."

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
left_out() { echo "$1 is not installed: $2"; }

# What kustomize makes of the manifests.
if command -v kubectl >/dev/null; then
    for folder in base monitoring example; do
        kubectl kustomize "deploy/kubernetes/$folder" >"$made/$folder.yml"
    done
else
    left_out kubectl "the kustomizations are not built"
fi

# They and every manifest as it is, against the published schemas. (A kustomization ends in .yaml and is no manifest.)
shopt -s nullglob
target/tools/kubernetes-schemas/bin/python deploy/kubernetes/validate.py deploy/kubernetes/*/*.yml "$made"/*.yml

# systemd reads the unit, and rates what it could still do from 0 to 100 (its table says 0.0 to 10.0).
if command -v systemd-analyze >/dev/null; then
    # The program need not be installed here.
    sed 's|^ExecStart=/usr/local/bin/sluice|ExecStart=/bin/true|' deploy/systemd/sluice.service >"$made/sluice.service"
    systemd-analyze verify "$made/sluice.service"
    systemd-analyze security --offline=true --no-pager --threshold=20 "$made/sluice.service" | tail -n 1
else
    left_out systemd-analyze "the unit is not checked"
fi

if command -v promtool >/dev/null; then
    promtool check config --syntax-only deploy/prometheus/prometheus.yml
else
    left_out promtool "prometheus.yml is not checked"
fi

# Both Compose programs, each where it is.
export RABBITMQ_PASSWORD=x SLUICE_ADMIN_TOKEN=x SLUICE_LEDGER_KEY=x GRAFANA_PASSWORD=x
checked=
for compose in "docker compose" docker-compose; do
    # shellcheck disable=SC2086 # two words
    if $compose version >/dev/null 2>&1; then
        $compose --file docker-compose.yml config --quiet
        checked="$checked $compose"
    fi
done
if [[ -n $checked ]]; then echo "docker-compose.yml is read by:$checked"; else left_out "Docker Compose" "docker-compose.yml is not checked by it"; fi
