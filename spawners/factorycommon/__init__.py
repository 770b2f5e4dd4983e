"""What hub, link and notebook share: pydantic and the standard library only."""
