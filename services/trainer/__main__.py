"""``python -m services.trainer``"""

from libs.common.runtime.main import main
from services.trainer.config import TrainerConfig
from services.trainer.shell import build

if __name__ == "__main__":
    main("trainer", TrainerConfig, build)
