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

# Each peer of the benchmarks alone, with the newest redis-py that it takes.
peer() {
    name=$1
    shift
    printf '%s\n' "$@" | compile - --output-file "benchmarks/requirements/$name.txt"
}

peer apscheduler 'apscheduler>=3.11.3,<3.12' 'redis[hiredis]>=8.1,<9'
peer docket 'pydocket>=0.27,<0.28' 'redis[hiredis]>=8.1,<9'
peer arq 'arq>=0.28,<0.29' 'redis[hiredis]<6'
# SAQ imports typing_extensions without asking for it.
peer saq 'saq[hiredis]>=0.26.4,<0.27' 'redis<8' 'typing-extensions>=4'
peer taskiq 'taskiq>=0.13,<0.14' 'taskiq-redis>=1.2.4,<1.3' 'redis[hiredis]>=8.1,<9'
peer streaq 'streaq>=7.2,<8'
peer dramatiq 'dramatiq>=2.2.1,<2.3' 'redis[hiredis]>=8.1,<9'
peer celery 'celery[redis]>=5.7,<5.8' 'redis[hiredis]>=8.1,<9'

if grep -nE '://|^-|file:|@ ' requirements/*.txt benchmarks/requirements/*.txt; then
    echo "The locks above name an address or a path; they must not." >&2
    exit 1
fi
