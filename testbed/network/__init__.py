"""Networks and login sides of isolated factories."""
