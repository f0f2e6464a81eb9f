"""``python -m tickwire`` is the same as ``tickwire``."""

from tickwire.main import main

main()
