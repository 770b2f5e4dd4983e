"""One factory: when and how the link asks its scheduler and gives it orders, by a dialect and a transport."""
