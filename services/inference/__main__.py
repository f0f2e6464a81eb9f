"""``python -m services.inference``"""

from libs.common.runtime.main import main
from services.inference.config import InferenceConfig
from services.inference.shell import build

if __name__ == "__main__":
    main("inference", InferenceConfig, build)
