"""Code that hub, link and notebook share; it uses pydantic and the standard library only."""
