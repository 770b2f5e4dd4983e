"""The networks and login sides of isolated factories."""
