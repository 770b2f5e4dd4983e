"""The service's database: its tables, their migrations, and the queries of workshops, their people and their log.

Other folders have the queries of their own topics, for example ``seats.rows``.
"""
