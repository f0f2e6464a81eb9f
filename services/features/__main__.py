"""``python -m services.features``."""

from libs.common.runtime.main import main
from services.features.config import FeaturesConfig
from services.features.shell import build

if __name__ == "__main__":
    main("features", FeaturesConfig, build)
