#!/bin/sh
# Starts what the image was built for: a service, or the `tickwire` command in the image `tools`.
set -eu

if [ "$SERVICE" = tools ]; then
  exec tickwire "$@"
fi

# Numba only uses a cache folder it can write to, and the image is mounted read-only: it gets a copy (3 MB at most).
# On a processor the image was not built for, the kernels are compiled into that copy at the start.
mkdir -p "$NUMBA_CACHE_DIR"
cp -R /opt/tickwire/compiled/. "$NUMBA_CACHE_DIR/"
exec python -m "services.$SERVICE" --config "$TICKWIRE_CONFIG" "$@"
