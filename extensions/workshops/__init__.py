"""The service for workshops: who teaches when and where, who takes part, and what the link is told about that.

The service is a process of its own with a database of its own. It enters no server, starts none and grants no right: it
writes which people a workshop has, and the link decides what these people may run.
"""
