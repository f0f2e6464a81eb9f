"""``python -m services.risk``"""

from libs.common.runtime.main import main
from services.risk.config import RiskConfig
from services.risk.shell import build

if __name__ == "__main__":
    main("risk", RiskConfig, build)
