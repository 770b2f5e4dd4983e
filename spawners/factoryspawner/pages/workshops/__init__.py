"""The pages of workshops. They ask the workshops service over its socket, and work without JavaScript, but the room."""
