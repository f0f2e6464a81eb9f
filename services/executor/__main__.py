"""``python -m services.executor``"""

from libs.common.runtime.main import main
from services.executor.config import ExecutorConfig
from services.executor.shell import build

if __name__ == "__main__":
    main("executor", ExecutorConfig, build)
