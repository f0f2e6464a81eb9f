#!/bin/sh
# install: runs the terminal's installer that you mounted, once.    run: terminal, ingest and executor.
# doctor: says what is wrong.    Anything else is run as it is, with a display and Wine at hand.
set -eu

TERMINAL="$TERMINAL_DIR/terminal64.exe"
INSTALLER="${INSTALLER:-/installer/mt5setup.exe}"

display() {
  rm -f /tmp/.X99-lock
  Xvfb :99 -screen 0 1280x800x16 -nolisten tcp >/dev/null 2>&1 &
  i=0
  while [ ! -e /tmp/.X11-unix/X99 ]; do
    i=$((i + 1))
    [ "$i" -lt 100 ] || { echo "the display (Xvfb) did not start" >&2; exit 1; }
    sleep 0.1
  done
}

windows_path() {
  # Wine maps drive Z: to the root folder.
  printf 'Z:%s' "$1" | tr / '\\'
}

install_terminal() {
  [ -f "$INSTALLER" ] || { echo "mount your broker's installer: -v \$PWD/mt5setup.exe:$INSTALLER:ro" >&2; exit 2; }
  wineboot --init
  wine "$INSTALLER" /auto
  wineserver -w
  [ -f "$TERMINAL" ] || {
    echo "the installer left no $TERMINAL; if it went elsewhere, set TERMINAL_DIR to that folder" >&2
    exit 1
  }
  echo "installed: $TERMINAL"
}

need_terminal() {
  [ -f "$TERMINAL" ] || { echo "no terminal here yet: run this image once with the word install" >&2; exit 2; }
  TICKWIRE_MT5__PATH="$(windows_path "$TERMINAL")"
  export TICKWIRE_MT5__PATH
}

run() {
  need_terminal
  # The workers start the terminal themselves (mt5.path); starting it first saves the first one the wait.
  wine "$TERMINAL" /portable >/dev/null 2>&1 &
  mkdir -p "$NUMBA_CACHE_DIR"
  TICKWIRE_NATS_PASSWORD="${TICKWIRE_NATS_INGEST_PASSWORD:-}" TICKWIRE_HTTP_PORT=8080 \
    python -m services.ingest --config "$TICKWIRE_CONFIG" &
  ingest=$!
  TICKWIRE_NATS_PASSWORD="${TICKWIRE_NATS_EXECUTOR_PASSWORD:-}" TICKWIRE_HTTP_PORT=8081 \
    python -m services.executor --config "$TICKWIRE_CONFIG" &
  executor=$!
  trap 'kill -TERM $ingest $executor 2>/dev/null' TERM INT
  # When one ends the container does: its restart policy starts everything again, and everything picks up where it was.
  while kill -0 "$ingest" 2>/dev/null && kill -0 "$executor" 2>/dev/null; do
    sleep 1 &
    wait $! || true
  done
  kill -TERM "$ingest" "$executor" 2>/dev/null || true
  wait "$executor" && code=0 || code=$?
  wait "$ingest" || true
  wineserver -k || true
  exit "$code"
}

case "${1:-run}" in
  install) display; install_terminal ;;
  run) display; run ;;
  doctor) shift; display; need_terminal; exec tickwire doctor mt5 --config "$TICKWIRE_CONFIG" --wait 180 "$@" ;;
  *) display; exec "$@" ;;
esac
