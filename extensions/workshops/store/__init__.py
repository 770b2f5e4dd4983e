"""The service's database: its tables, their migrations, and most queries; the others are in modules ``rows``."""
