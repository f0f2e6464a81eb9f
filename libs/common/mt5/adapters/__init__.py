"""The MetaTrader5 package behind a process that can be killed, and a simulated terminal that is one."""
