#!/usr/bin/env bash
# Gets a fresh Debian or Ubuntu machine ready for CodeB, as root or not. It says what it installs before it installs it,
# leaves alone what is there, and may be run again at any time. FOLDER is seen from the root of the repository.
#
#   scripts/bootstrap.sh server-venv          .venv with what CodeB needs to run
#   scripts/bootstrap.sh venv                 .venv with the tools for tests and checks as well
#   scripts/bootstrap.sh docker FOLDER        a Docker Engine that answers; one that we start is remembered in FOLDER
#   scripts/bootstrap.sh docker-stop FOLDER   stop the Engine remembered in FOLDER, never another one
#   scripts/bootstrap.sh with-docker CMD...   run CMD as this user, with the right to use Docker's socket
#   scripts/bootstrap.sh parts                what else the tests use: Debian's Caddy, programs of PostgreSQL and PowerDNS, Redis, busybox,
#                                             nftables, iproute2 and iptables; with CODEB_RELEASE_TESTS=1 mmdebstrap, shellcheck, npm too
#
# CODEB_PYTHON: the interpreter to use. CODEB_DOCKER_HOST, DOCKER_HOST: unix:///path of the Engine's socket.
# CODEB_DOCKERD_ARGS: more arguments for a dockerd that we start (then also without systemd, where systemd runs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin"

MISSING=3
FORBIDDEN=4
STARTED=
PYTHON=

say() { printf 'bootstrap: %s\n' "$*"; }

fail() {
    printf 'bootstrap: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

may_be_root() {
    ((EUID == 0)) || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

# --- packages of the system ------------------------------------------------------------------------------------------

apt_install() { # WHAT-FOR PACKAGE...
    local why=$1 log
    shift
    command -v apt-get >/dev/null || fail "$why needs $*: this machine has no apt-get, please install it in your way."
    may_be_root || fail "$why needs $*, and this user may not install it." \
        "Please run: sudo apt-get install --no-install-recommends $*"
    log=$(mktemp)
    say "installing with apt-get: $* ($why). None of their services is started."
    if ! (apt_quietly "$@") </dev/null >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "apt-get could not install $*; all it said is in $log."
    fi
    rm -f "$log"
}

# Services are kept from starting in Debian's own way: a policy-rc.d for the time of the installation, unless there is one.
apt_quietly() (
    policy=/usr/sbin/policy-rc.d
    cluster=/etc/postgresql-common/createcluster.d/codeb.conf
    ours=()
    trap 'as_root rm -f -- "${ours[@]}"' EXIT
    if [[ ! -e $policy ]]; then
        ours+=("$policy")
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy"
        as_root chmod 755 "$policy"
    fi
    if [[ " $* " == *" postgresql "* ]]; then
        ours+=("$cluster")
        as_root mkdir -p "${cluster%/*}"
        echo 'create_main_cluster = false' | as_root tee "$cluster"
    fi
    apt=(as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1)
    apt+=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    # A list that cannot be fetched need not be one of those that matter: the installation will tell.
    "${apt[@]}" update || true
    "${apt[@]}" install --no-install-recommends "$@"
)

# --- Python ----------------------------------------------------------------------------------------------------------

# The system's own interpreter is preferred: one below a user's home cannot be run by other users. Prints its path.
find_python() {
    local candidate first='' candidates=(/usr/bin/python3 python3 python3.13 python3.12 python3.11)
    [[ -z ${CODEB_PYTHON:-} ]] || candidates=("$CODEB_PYTHON")
    for candidate in "${candidates[@]}"; do
        candidate=$(command -v "$candidate") || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        [[ -n $first ]] || first=$candidate
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            first=$candidate
            break
        fi
    done
    [[ -n $first ]] || fail "CodeB needs Python 3.11 or newer, and none was found (CODEB_PYTHON=/path/to/python3 names one)."
    printf '%s\n' "$first"
}

make_venv() {
    local python
    if [[ -e .venv/made-for && $(<.venv/made-for) != "$PWD" ]]; then
        say ".venv was made for $(<.venv/made-for): making it anew."
        rm -rf .venv
    fi
    if .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return; fi
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if command -v apt-get >/dev/null && may_be_root; then
            apt_install "making .venv" python3-venv
        elif ! "$python" -m pip --version >/dev/null 2>&1; then
            fail "$python can make no virtual environment. Please run: sudo apt-get install python3-venv"
        fi
    fi
    say "making .venv with $python"
    rm -rf .venv
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv .venv
    else
        "$python" -m venv --without-pip .venv
    fi
    printf '%s\n' "$PWD" >.venv/made-for
}

in_venv() { # PIP-ARGUMENT...
    local pip=(.venv/bin/python -m pip)
    if ! "${pip[@]}" --version >/dev/null 2>&1 && ! .venv/bin/python -m ensurepip >/dev/null 2>&1; then
        pip=("$(find_python)" -m pip --python .venv/bin/python)
    fi
    # Twice quiet: errors only. Warnings are about this machine's pip.conf.
    "${pip[@]}" -qq --disable-pip-version-check --no-input "$@"
}

hash_of() { sha256sum "$1" | cut -d ' ' -f 1; }

is_installed() { # LOCK
    [[ -e .venv/installed-$1 && $(<".venv/installed-$1") == "$(hash_of "requirements/$1.txt")" ]]
}

install_lock() { # LOCK
    local lock=requirements/$1.txt
    # All that is in server.txt is in dev.txt, with the same versions.
    if is_installed dev || is_installed "$1"; then return; fi
    say "installing $(grep -c '==' "$lock") Python packages of $lock into .venv (hashes checked)"
    in_venv install --no-deps --only-binary :all: --require-hashes -r "$lock"
    rm -f .venv/installed-*
    hash_of "$lock" >".venv/installed-$1"
}

install_project() {
    local stamp=.venv/installed-project
    if [[ -e $stamp && $(<"$stamp") == "$(hash_of pyproject.toml)" ]]; then return; fi
    say "installing CodeB itself into .venv (editable)"
    in_venv install --no-deps --no-index --no-build-isolation --editable .
    hash_of pyproject.toml >"$stamp"
}

venv() { # LOCK
    local turn
    # Two makes at once take turns.
    exec {turn}<.
    flock "$turn"
    make_venv
    install_lock "$1"
    install_project
    exec {turn}<&-
}

# --- Docker ----------------------------------------------------------------------------------------------------------

docker_socket() {
    local host=${CODEB_DOCKER_HOST:-${DOCKER_HOST:-unix:///var/run/docker.sock}}
    [[ $host == unix:///* ]] || fail "$host is not a unix socket." \
        "Please set CODEB_DOCKER_HOST=unix:///path, or unset DOCKER_HOST."
    printf '%s\n' "${host#unix://}"
}

ping_docker() { "$PYTHON" scripts/docker_ping.py "$1"; } # SOCKET

started_at() { # PID
    cut -d ' ' -f 22 "/proc/$1/stat" 2>/dev/null
}

runs() { # NAME PID
    [[ -n $2 && $(cat "/proc/$2/comm" 2>/dev/null) == "$1" ]]
}

# Prints the pid of a running dockerd of this machine's own folders, whoever started it.
other_dockerd() {
    local file pid
    for file in /var/run/docker.pid /var/run/docker-ssd.pid; do
        pid=$(cat "$file" 2>/dev/null) || continue
        if runs dockerd "$pid"; then
            printf '%s\n' "$pid"
            return 0
        fi
    done
    return 1
}

# After a power cut a number in these files may be that of another program by now, and dockerd would wait for it.
forget_dead_daemons() {
    local file pid
    pid=$(cat /var/run/docker.pid 2>/dev/null) && ! runs dockerd "$pid" && as_root rm -f /var/run/docker.pid
    for file in /var/run/docker/containerd/containerd.pid /var/run/docker/containerd/docker-containerd.pid; do
        pid=$(as_root cat "$file" 2>/dev/null) && ! runs containerd "$pid" && as_root rm -f "$file"
    done
    return 0
}

start_dockerd() { # FOLDER
    local extra=() log=$1/dockerd.log arguments=(--pidfile "$1/dockerd.pid")
    read -r -a extra <<<"${CODEB_DOCKERD_ARGS:-}"
    ((EUID == 0)) || arguments+=(--group "$(id -g)")
    as_root rm -f "$1/dockerd.pid"
    say "starting dockerd without systemd (log: $log)"
    as_root setsid dockerd "${arguments[@]}" "${extra[@]}" >>"$log" 2>&1 </dev/null &
    STARTED=$!
}

# Up to 60 s, less when the dockerd we started has ended.
wait_for_docker() { # SOCKET
    local code tries
    for ((tries = 0; tries < 120; tries++)); do
        code=0
        ping_docker "$1" >/dev/null || code=$?
        ((code != 0 && code != FORBIDDEN)) || return 0
        [[ -z $STARTED || -d /proc/$STARTED ]] || return 1
        sleep 0.5
    done
    return 1
}

start_docker() { # FOLDER SOCKET
    local package=docker.io pid
    if pid=$(other_dockerd) && [[ -z ${CODEB_DOCKERD_ARGS:-} ]]; then
        say "dockerd ($pid) runs already: waiting for its answer"
        wait_for_docker "$2" || fail "dockerd ($pid) runs, but nothing answers on $2." \
            "Please look at it, or set CODEB_DOCKER_HOST."
        return
    fi
    may_be_root || fail "Docker is not running, and this user may not start it. Please run as root:" \
        "apt-get install $package; usermod -aG docker $(id -un). Then log in again."
    if ! command -v dockerd >/dev/null; then
        apt_install "the container engine" "$package" iptables
    fi
    mkdir -p "$1"
    if [[ -d /run/systemd/system && -z ${CODEB_DOCKERD_ARGS:-} ]]; then
        say "starting the service docker"
        as_root systemctl start docker
        echo systemd >"$1/started"
        wait_for_docker "$2" || fail "The service docker was started, but nothing answers on $2. See: journalctl -u docker"
        return
    fi
    [[ -n ${CODEB_DOCKERD_ARGS:-} ]] || forget_dead_daemons
    start_dockerd "$1"
    if ! wait_for_docker "$2"; then
        if remember "$1"; then docker_stop "$1"; fi
        tail -n 15 "$1/dockerd.log" >&2
        fail "dockerd was started, but nothing answers on $2; its log is in $1/dockerd.log."
    fi
    remember "$1"
}

# The time of start tells our daemon from a later process with its number.
remember() { # FOLDER
    local pid
    pid=$(cat "$1/dockerd.pid" 2>/dev/null) || return 1
    printf '%s %s\n' "$pid" "$(started_at "$pid")" >"$1/started"
}

docker_up() { # FOLDER
    local socket version code=0
    PYTHON=$(find_python)
    socket=$(docker_socket)
    version=$(ping_docker "$socket") || code=$?
    if ((code == MISSING)); then
        if [[ $socket != /var/run/docker.sock && -z ${CODEB_DOCKERD_ARGS:-} ]]; then
            fail "No Docker answers on $socket, the socket that CODEB_DOCKER_HOST or DOCKER_HOST names." \
                "Please start it, or unset the variable."
        fi
        start_docker "$(realpath -m "$1")" "$socket"
        code=0
        version=$(ping_docker "$socket") || code=$?
    fi
    if ((code == FORBIDDEN)); then
        has_group "$socket" || may_be_root || fail "Docker runs, but $(id -un) may not use $socket." \
            "Please run: sudo usermod -aG $(stat -c %G "$socket") $(id -un), and log in again."
        version="(used through the group $(stat -c %G "$socket"))"
    fi
    say "Docker $version is there."
}

docker_stop() { # FOLDER
    local pid='' birth='' tries
    [[ -e $1/started ]] || return 0
    read -r pid birth <"$1/started" || true
    if [[ $pid == systemd ]]; then
        say "stopping the service docker, which was started for this"
        as_root systemctl stop docker.socket docker.service
    elif [[ -n $birth && $(started_at "$pid") == "$birth" ]]; then
        say "stopping dockerd ($pid), which was started for this"
        # bash's own kill: the program is in a package that small machines lack.
        # shellcheck disable=SC2016 # it is the inner bash that expands
        as_root bash -c 'kill -TERM "$1"' stop "$pid"
        for ((tries = 0; tries < 120; tries++)); do
            [[ $(started_at "$pid") == "$birth" ]] || break
            sleep 0.5
        done
        [[ $(started_at "$pid") != "$birth" ]] || fail "dockerd ($pid) was told to stop, but still runs after 60 s."
    fi
    rm -f "$1/started"
}

# Whether this user is in the socket's group by now, although this session may have begun before that.
has_group() { # SOCKET
    local group
    group=$(stat -c %G "$1")
    [[ " $(id -nG "$(id -un)") " == *" $group "* ]] && command -v sg >/dev/null
}

with_docker() { # CMD...
    local socket code=0
    PYTHON=$(find_python)
    socket=$(docker_socket)
    ping_docker "$socket" >/dev/null || code=$?
    ((code == FORBIDDEN)) || exec "$@"
    if has_group "$socket"; then
        exec sg "$(stat -c %G "$socket")" -c "exec $(printf '%q ' "$@")"
    fi
    may_be_root || fail "$(id -un) may not use $socket." \
        "Please run: sudo usermod -aG $(stat -c %G "$socket") $(id -un), and log in again."
    # For this one command only: nothing about the user's account is changed.
    exec sudo -n -E env HOME="$HOME" PATH="$PATH" USER="$(id -un)" LOGNAME="$(id -un)" \
        setpriv --reuid "$(id -u)" --regid "$(id -g)" --groups "$(id -G | tr ' ' ','),$(stat -c %g "$socket")" -- "$@"
}

# --- what the tests use ----------------------------------------------------------------------------------------------

is_static() { [[ -x $1 ]] && ! ldd "$1" >/dev/null 2>&1; }

missing_parts() {
    local each programs=(pdns_server:pdns-server redis-server:redis-server ldd:libc-bin nft:nftables ip:iproute2 iptables:iptables)
    [[ -z ${CODEB_RELEASE_TESTS:-} ]] || programs+=(mmdebstrap:mmdebstrap shellcheck:shellcheck npm:npm)
    [[ -x /usr/bin/caddy ]] || echo caddy
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
    [[ -e /usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql ]] || echo pdns-backend-sqlite3
    is_static /bin/busybox || echo busybox-static
    [[ -x /usr/bin/docker-registry ]] || echo docker-registry
    for each in "${programs[@]}"; do command -v "${each%:*}" >/dev/null || echo "${each#*:}"; done
}

# Prints which tests cannot pass without this package.
tests_with() { # PACKAGE
    case $1 in
    caddy) echo "those on Debian's Caddy, the second version of the proxy (marker: proxy)" ;;
    docker-registry) echo "those of the image registry (marker: images)" ;;
    postgresql) echo "those of the store on PostgreSQL (marker: postgres)" ;;
    pdns-server | pdns-backend-sqlite3) echo "those of domains on a real PowerDNS (marker: dns)" ;;
    redis-server) echo "those of Redis users (marker: redis)" ;;
    mmdebstrap | shellcheck | npm) echo "those of a builder with a cache in the image registry, and of workflows (make workflows)" ;;
    nftables | iproute2 | iptables) echo "those of the firewall on real nftables (marker: netns)" ;;
    *) echo "those that make images and run containers (marker: docker)" ;;
    esac
}

parts() {
    local missing part
    mapfile -t missing < <(missing_parts)
    ((${#missing[@]})) || return 0
    if command -v apt-get >/dev/null && may_be_root; then
        apt_install "used by the tests" "${missing[@]}"
        # Enabled by their packages, to be started at the next boot: a test machine should not begin to serve port 80.
        for part in caddy postgresql pdns-server redis-server docker-registry; do
            if [[ " ${missing[*]} " == *" $part "* ]] && command -v systemctl >/dev/null; then
                as_root systemctl disable --quiet "${part/pdns-server/pdns}.service" 2>/dev/null || say "$part.service could not be disabled"
            fi
        done
        mapfile -t missing < <(missing_parts)
    fi
    for part in "${missing[@]}"; do say "MISSING: $part. Untested without it: $(tests_with "$part")."; done
    ((${#missing[@]} == 0)) || {
        say "please run: sudo apt-get install --no-install-recommends ${missing[*]}"
        return "$MISSING"
    }
}

case ${1:-} in
venv) venv dev ;;
server-venv) venv server ;;
docker) docker_up "${2:?a folder to remember a started Engine in}" ;;
docker-stop) docker_stop "${2:?the folder of the Engine to stop}" ;;
with-docker) shift && with_docker "$@" ;;
parts) parts ;;
*)
    sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
