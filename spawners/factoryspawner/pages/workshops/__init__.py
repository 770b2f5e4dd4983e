"""The pages of workshops, with data from the workshops service. All but the room work without JavaScript."""
