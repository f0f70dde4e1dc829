#!/bin/sh
# Print the Python to build the environment with: $PYTHON, or the newest of 3.13 to 3.11 that actually runs (a version
# manager may put names on the PATH that do not).
set -eu

fits() {
    "$1" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    if fits "$candidate"; then
        "$candidate" -c 'import sys; print(sys.executable)'
        exit 0
    fi
done

if [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON does not run, or is older than 3.11." >&2
else
    echo "No Python 3.11 or newer was found. Install one, or name it: make setup PYTHON=/path/to/python3" >&2
fi
exit 1
