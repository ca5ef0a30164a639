# Sourced by the scripts beside it. Makes .venv hold exactly what requirements.lock and pyproject.toml say, and leaves the
# caller in the repository root. PYTHON names another interpreter; otherwise the first of python3, python3.13, 3.12, 3.11
# that is new enough. Costs some milliseconds when nothing has changed.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONHOME PYTHONPATH

_usable() { command -v "$1" >/dev/null && "$1" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
_identity() { "$1" -c 'import platform, sys; print(sys.implementation.name, platform.python_version(), platform.machine())'; }

_find_python() {
    local candidate candidates=(python3 python3.13 python3.12 python3.11)
    [[ -n ${PYTHON:-} ]] && candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if _usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "setup: no Python 3.11 or newer with venv among: ${candidates[*]}. Nothing was changed." \
        "Install python3 and python3-venv, or say PYTHON=/path/to/python3." >&2
    return 1
}

_make_venv() {
    local python wanted stamp=.venv/.stamp
    # An existing environment keeps its interpreter unless PYTHON asks for one.
    if [[ -z ${PYTHON:-} && -f $stamp ]] && .venv/bin/python -c '' 2>/dev/null; then
        python=.venv/bin/python
    else
        python=$(_find_python)
    fi
    # The place is part of the stamp: an environment does not survive being moved or copied.
    wanted="$PWD $(_identity "$python") $(cat requirements.lock pyproject.toml | cksum)"
    [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && return

    if [[ ! -f $stamp || $(<"$stamp") != "$PWD $(_identity "$python") "* ]]; then
        echo "setup: making .venv with $("$python" --version)" >&2
        "$python" -m venv --clear .venv
    fi
    echo "setup: installing the locked packages (up to a minute the first time)" >&2
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-deps --require-hashes -r requirements.lock
    .venv/bin/python -m pip check --disable-pip-version-check >/dev/null ||
        { echo "setup: requirements.lock is incomplete: run .venv/bin/python -m pip check" >&2; return 1; }
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-index --no-deps --no-build-isolation -e .
    echo "$wanted" >"$stamp"
}

# One at a time, where the system has flock: two scripts started together must not install into one another.
if command -v flock >/dev/null; then
    (flock 9 && _make_venv 9>&-) 9>.venv.lock
else
    _make_venv
fi
