"""The service's database: its tables, their migrations, and all queries."""
