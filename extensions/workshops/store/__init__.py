"""The service's database: its tables, their migrations, and most queries; other folders have more (``seats.rows``)."""
