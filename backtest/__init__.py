"""The second composition root: the live cores, driven in one process in order of event time."""
