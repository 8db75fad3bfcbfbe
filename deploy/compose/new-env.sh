#!/bin/sh
# Makes .env of .env.example, with a fresh secret for each variable, readable by nobody else. Leaves one that is there alone.
set -eu
cd "$(dirname "$0")/../.."
[ ! -e .env ] || { echo "sluice: .env is there already; its secrets stay as they are" >&2; exit 0; }

umask 077
while IFS= read -r line; do
    case $line in
        *_KEY=) printf '%s%s\n' "$line" "$(head -c 32 /dev/urandom | base64)" ;;
        *=) printf '%s%s\n' "$line" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
        *) printf '%s\n' "$line" ;;
    esac
done <.env.example >.env.new
mv .env.new .env
echo "sluice: wrote .env with fresh secrets" >&2
