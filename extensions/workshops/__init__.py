"""The workshops service: plans classes, knows the people in them, and tells the link about both.

The service is a separate process with its own database. It starts no session itself and grants no right: the service
writes a table with the people, times and factories of each workshop, and asks the link to start and stop sessions. The
link decides what these people may run.
"""
