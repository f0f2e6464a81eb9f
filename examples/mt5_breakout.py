"""A plain MetaTrader 5 script: buys or sells when the last quarter of an hour is left behind.

It knows nothing of Tickwire. On Windows, with a terminal and a **demo** account:

    python examples/mt5_breakout.py 120

Anywhere, on the simulated terminal, two hours in a second:

    tickwire mt5-sim run examples/mt5_breakout.py 120
"""

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta

import MetaTrader5 as mt5

MAGIC = 20_240_108
LOTS = 0.1
BARS = 15
STOP_POINTS = 150
TARGET_POINTS = 300
PAUSE_S = 1.0


def filling_of(info):
    """Return a filling mode the symbol takes (the package has no names for these flags)."""
    if info.filling_mode & 1:
        return mt5.ORDER_FILLING_FOK
    if info.filling_mode & 2:
        return mt5.ORDER_FILLING_IOC
    return mt5.ORDER_FILLING_RETURN


def send(symbol, side, tick):
    """Open a position with SL and TP and say what came of it."""
    info = mt5.symbol_info(symbol)
    buys = side == mt5.ORDER_TYPE_BUY
    price, sign = (tick.ask, 1) if buys else (tick.bid, -1)
    request = {
        "action": mt5.TRADE_ACTION_DEAL,
        "symbol": symbol,
        "volume": LOTS,
        "type": side,
        "price": price,
        "sl": round(price - sign * STOP_POINTS * info.point, info.digits),
        "tp": round(price + sign * TARGET_POINTS * info.point, info.digits),
        "deviation": 20,
        "magic": MAGIC,
        "comment": "breakout",
        "type_time": mt5.ORDER_TIME_GTC,
        "type_filling": filling_of(info),
    }
    checked = mt5.order_check(request)
    if checked is None or checked.retcode != 0:
        print("order_check refuses:", mt5.last_error() if checked is None else checked.comment)
        return
    result = mt5.order_send(request)
    if result is None:
        print("order_send failed:", mt5.last_error())
    elif result.retcode != mt5.TRADE_RETCODE_DONE:
        print("order_send refused:", result.retcode, result.comment)
    else:
        when = datetime.fromtimestamp(tick.time, UTC)
        print(f"{when:%Y-%m-%d %H:%M:%S} {'buy ' if buys else 'sell'} {result.volume} at {result.price}")


def watch(symbol, until):
    """Poll the market until a moment."""
    seen = 0
    while datetime.now(UTC) < until:
        time.sleep(PAUSE_S)
        tick = mt5.symbol_info_tick(symbol)
        if tick is None or tick.time_msc == seen:
            continue
        seen = tick.time_msc
        if mt5.positions_get(symbol=symbol):
            continue
        bars = mt5.copy_rates_from_pos(symbol, mt5.TIMEFRAME_M1, 1, BARS)
        if bars is None or len(bars) < BARS:
            continue
        if tick.bid > bars["high"].max():
            send(symbol, mt5.ORDER_TYPE_BUY, tick)
        elif tick.bid < bars["low"].min():
            send(symbol, mt5.ORDER_TYPE_SELL, tick)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbol", default="EURUSD")
    parser.add_argument("minutes", type=float, nargs="?", default=120.0)
    options = parser.parse_args()
    if not mt5.initialize():
        print("initialize failed:", mt5.last_error())
        return 1
    try:
        if mt5.account_info().trade_mode != mt5.ACCOUNT_TRADE_MODE_DEMO:
            print("this is an example: it trades on demo accounts only")
            return 1
        if not mt5.symbol_select(options.symbol, True):
            print(f"{options.symbol}:", mt5.last_error())
            return 1
        began = datetime.now(UTC)
        watch(options.symbol, began + timedelta(minutes=options.minutes))
        mt5.Close(options.symbol, comment="breakout")
        deals = mt5.history_deals_get(began - timedelta(days=1), began + timedelta(days=2), group=options.symbol)
        mine = [deal for deal in deals if deal.comment == "breakout" or deal.magic == MAGIC]
        profit = sum(deal.profit + deal.swap + deal.commission + deal.fee for deal in mine)
        print(f"{len(mine)} deals, {profit:+.2f} {mt5.account_info().currency}")
    finally:
        mt5.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
