#!/bin/sh
# Pin every dependency by version and hash, for all platforms. Pinned versions stay unless UPGRADE is set.
# The locks name no index, no host and no path: whoever installs uses the index that is configured there.
set -eu

uv=$1
cd "$(dirname "$0")/.."

compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate ${UPGRADE:+--upgrade} "$@"
}

compile pyproject.toml --all-extras --output-file requirements/runtime.txt
compile pyproject.toml --all-extras --group dev --output-file requirements/dev.txt
echo uv | compile - --output-file requirements/uv.txt
printf '%s\n' 'apscheduler>=3.11.3,<3.12' 'redis[hiredis]>=8.1,<9' | compile - --output-file benchmarks/requirements/apscheduler.txt
printf '%s\n' 'pydocket>=0.27,<0.28' 'redis[hiredis]>=8.1,<9' | compile - --output-file benchmarks/requirements/docket.txt

if grep -nE '://|^-|file:|@ ' requirements/*.txt benchmarks/requirements/*.txt; then
    echo "The locks above name an address or a path; they must not." >&2
    exit 1
fi
